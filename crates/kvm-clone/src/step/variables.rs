//! The firmware's variables.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Peer, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Host, Resource, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ends, to_json, unless_gone};
use crate::survey::has;
use crate::transfer::{Session, file};

/// No firmware has more of them.
const MOST: Bytes = Bytes::from_mib(64);
/// As libvirt makes such files; it gives them to whom it wants when the machine starts.
const MODE: u32 = 0o600;

/// Copies the file of UEFI variables.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyVariables {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) from: DiskPath,
    pub(crate) to: DiskPath,
}

impl CopyVariables {
    pub(crate) const NAME: &'static str = "copy-variables";
}

#[async_trait]
impl Step for CopyVariables {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("copy {} from {} to {}", self.from, self.ends.source, self.to)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_there = has(&cx.peer(&self.ends.target).await?, self.to.as_str()).await?;
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (source, target) = self.ends.open(cx).await?;
        let sent = source.transport.read_file(self.from.as_path(), MOST).await?;
        if cx.attempt == Attempt::Again {
            unless_gone(target.transport.remove_file(unfinished(&self.to).as_ref()).await)?;
        }
        write(&target, &self.to, &sent).await?;
        if target.transport.read_file(self.to.as_path(), MOST).await? == sent {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, format!("{} and {} differ after the copy", self.from, self.to))
            .on(Resource::File(self.to.as_str().to_owned())))
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.ends.target).await?;
        unless_gone(target.transport.remove_file(unfinished(&self.to).as_ref()).await)?;
        unless_gone(target.transport.remove_file(self.to.as_path()).await)
    }
}

/// Makes a file of variables. By the helper, because what it leaves when this program dies has a name that is known; a file
/// that is written in another way has a random one until it is whole.
async fn write(target: &Host, to: &DiskPath, bytes: &[u8]) -> Result<()> {
    match Session::open(&*target.transport).await {
        Ok(mut session) => session.write(&file(to), bytes).await,
        Err(e) if e.kind() == ErrorKind::Unsupported => target.transport.write_file(to.as_path(), bytes, MODE).await,
        Err(e) => Err(e),
    }
}

fn unfinished(to: &DiskPath) -> String {
    format!("{to}.partial")
}

/// What UEFI variables are called for as long as they wait beside those of a replica.
const WAITING: &str = ".kvm-manager-sync";

/// Brings the file of UEFI variables beside that of a replica.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StageVariables {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) from: DiskPath,
    pub(crate) to: DiskPath,
}

impl StageVariables {
    pub(crate) const NAME: &'static str = "stage-variables";
}

#[async_trait]
impl Step for StageVariables {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("send {} from {} to {}", self.from, self.ends.source, self.ends.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    /// What waits there may be of another moment.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (source, target) = self.ends.open(cx).await?;
        let sent = source.transport.read_file(self.from.as_path(), MOST).await?;
        target.transport.write_file(waiting(&self.to).as_ref(), &sent, MODE).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.ends.target).await?;
        unless_gone(target.transport.remove_file(waiting(&self.to).as_ref()).await)
    }
}

/// Puts the UEFI variables that wait beside those of a replica into their place, on its host alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ApplyVariables {
    pub(crate) target: Peer,
    pub(crate) to: DiskPath,
}

impl ApplyVariables {
    pub(crate) const NAME: &'static str = "apply-variables";
}

#[async_trait]
impl Step for ApplyVariables {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("put the new {} in place on {}", self.to, self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let waits = has(&cx.peer(&self.target).await?, &waiting(&self.to)).await?;
        Ok(if waits { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        let waiting = waiting(&self.to);
        let sent = target.transport.read_file(waiting.as_ref(), MOST).await?;
        target.transport.write_file(self.to.as_path(), &sent, MODE).await?;
        unless_gone(target.transport.remove_file(waiting.as_ref()).await)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("variables that were replaced cannot be brought back"))
    }
}

fn waiting(to: &DiskPath) -> String {
    format!("{to}{WAITING}")
}
