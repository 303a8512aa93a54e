//! One step of an operation: done, probed, taken back.

use std::fmt;
use std::num::NonZeroU8;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::peer::NoPeers;
use super::{Pace, Peer, Peers};
use crate::{Clock, Error, Host, Reporter, Result};

/// One step of an operation, as data that a journal can hold.
///
/// `apply` and `undo` are idempotent as the executor calls them: it probes first, and calls `apply` only when the
/// step is pending. `undo` is also called for a step that may have happened in part, and must bring back what was
/// before, or do nothing when that is already so.
#[async_trait]
pub trait Step: fmt::Debug + Send + Sync {
    /// The stable name in journals, in kebab-case: `create-volume`.
    fn name(&self) -> &'static str;

    /// What it does, in one line: `create volume default/web.qcow2, 10 GiB`.
    fn title(&self) -> String;

    /// The step as a journal keeps it; an engine's [`Decode`] makes the step from it again.
    fn to_json(&self) -> Result<Value>;

    /// What it means when the step proves to be done before it began.
    fn already(&self) -> Already;

    /// How many steps may be under way at the same time, this one and its neighbours in the plan that allow it as well;
    /// among different answers the smallest counts. Only of steps before the point of no return.
    ///
    /// They may end in any order. The first that goes wrong has the others give up; all are waited for, and taken back one
    /// after the other.
    fn at_once(&self) -> NonZeroU8 {
        NonZeroU8::MIN
    }

    /// Looks whether what the step brings about is there now.
    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe>;

    /// Does it. Returns when it is done, not when it is asked for.
    async fn apply(&self, cx: &StepContext<'_>) -> Result<()>;

    /// Takes it back. Only called for steps before the point of no return.
    async fn undo(&self, cx: &StepContext<'_>) -> Result<()>;
}

/// What a step works with.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'a> {
    /// The host that is changed.
    pub host: &'a Host,
    /// For waiting and dating.
    pub clock: &'a dyn Clock,
    /// For news from inside a long step.
    pub reporter: &'a dyn Reporter,
    /// Asks a step that waits to give up with [`Cancelled`](crate::ErrorKind::Cancelled). Not set while undoing, nor after
    /// the point of no return.
    pub cancel: &'a CancellationToken,
    /// The way to other hosts.
    pub peers: &'a dyn Peers,
    /// Whether something of the step may be there from an attempt before.
    pub attempt: Attempt,
    /// What all steps of the operation send is counted here, so that they keep one limit together.
    pub pace: &'a Pace,
}

/// Whether a step is done for the first time in its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Nothing of it was begun: what is there is somebody else's.
    First,
    /// It was begun before, and interrupted or not taken back; so it is while it is being undone.
    Again,
}

impl StepContext<'_> {
    /// Gives a host of the operation, the very one that the plan was made with. An operation on two hosts may be finished
    /// by a command on either of them, so its steps ask for both.
    ///
    /// `Unavailable` when it cannot be reached; `InvalidState` when its target leads to another host by now.
    pub async fn peer(&self, peer: &Peer) -> Result<Host> {
        if peer.check(self.host).await.is_ok() {
            return Ok(self.host.clone());
        }
        let host = self.peers.open(peer).await?;
        peer.check(&host).await?;
        Ok(host)
    }
}

/// What is true now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The step's effect is not there.
    Pending,
    /// The step's effect is there in full.
    Done,
}

/// What it means when a step proves to be done before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Already {
    /// Somebody else made it: refuse, and never take it back.
    Conflict,
    /// Good: nothing to do, and nothing to take back.
    Fine,
}

/// Makes a step from its name and its journal form.
pub type Decode = fn(name: &str, data: &Value) -> Result<Box<dyn Step>>;

/// What any operation needs to be resumed: which engine makes steps for which kinds of operation, and the way to other
/// hosts than the one that it changes first.
#[derive(Clone, Debug)]
pub struct Catalogue {
    engines: Vec<(&'static str, Decode)>,
    peers: Arc<dyn Peers>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self { engines: Vec::new(), peers: Arc::new(NoPeers) }
    }
}

impl Catalogue {
    /// A catalogue without engines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the engine of all kinds that begin with `prefix` (`vm.`).
    #[must_use]
    pub fn with(mut self, prefix: &'static str, decode: Decode) -> Self {
        self.engines.push((prefix, decode));
        self
    }

    /// Sets the way to other hosts; without it no operation reaches one.
    #[must_use]
    pub fn reaching(self, peers: Arc<dyn Peers>) -> Self {
        Self { peers, ..self }
    }

    /// The way to other hosts.
    pub(super) fn peers(&self) -> &dyn Peers {
        &*self.peers
    }

    /// Makes a step of an operation of this kind.
    pub fn decode(&self, kind: &str, name: &str, data: &Value) -> Result<Box<dyn Step>> {
        let (_, decode) = self.engines.iter().find(|(prefix, _)| kind.starts_with(prefix)).ok_or_else(|| {
            Error::new(crate::ErrorKind::Unsupported, format!("no engine here knows operations of kind {kind}"))
        })?;
        decode(name, data)
    }
}
