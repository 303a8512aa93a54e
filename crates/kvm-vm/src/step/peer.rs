//! Steps on another host than the one that the operation changes first.

use async_trait::async_trait;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Resource, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::volume::{CreateVolume, find};
use super::{decode, to_json, unless_gone};
use crate::place::{Places, volume_name};
use crate::usage::Usage;

/// A step on another host.
#[derive(Debug)]
pub(crate) struct AtPeer {
    peer: Peer,
    step: Box<dyn Step>,
}

#[derive(Deserialize)]
struct Form {
    peer: Peer,
    name: String,
    data: Value,
}

impl AtPeer {
    pub(crate) const NAME: &'static str = "at-peer";

    pub(crate) fn new(peer: Peer, step: impl Step + 'static) -> Self {
        Self { peer, step: Box::new(step) }
    }

    pub(super) fn decode(data: &Value) -> Result<Box<dyn Step>> {
        let Form { peer, name, data } = serde_json::from_value(data.clone()).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "the journal's step at another host cannot be read").with_source(e)
        })?;
        Ok(Box::new(Self { peer, step: decode(&name, &data)? }))
    }
}

#[async_trait]
impl Step for AtPeer {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("{} on {}", self.step.title(), self.peer)
    }

    fn to_json(&self) -> Result<Value> {
        Ok(json!({ "peer": self.peer, "name": self.step.name(), "data": self.step.to_json()? }))
    }

    fn already(&self) -> Already {
        self.step.already()
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let host = cx.peer(&self.peer).await?;
        self.step.probe(&StepContext { host: &host, ..*cx }).await
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let host = cx.peer(&self.peer).await?;
        self.step.apply(&StepContext { host: &host, ..*cx }).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let host = cx.peer(&self.peer).await?;
        self.step.undo(&StepContext { host: &host, ..*cx }).await
    }
}

/// Makes an empty volume for blocks that another host sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ReceiveVolume {
    pub(crate) volume: CreateVolume,
}

impl ReceiveVolume {
    pub(crate) const NAME: &'static str = "receive-volume";
}

#[async_trait]
impl Step for ReceiveVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        self.volume.title()
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        self.volume.probe(cx).await
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        self.volume.apply(cx).await
    }

    /// Takes away what arrived of a copy that was given up. Unlike in a volume that was made for a machine, what is in it
    /// is also where it came from.
    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let CreateVolume { pool, volume, size, .. } = &self.volume;
        let Some(present) = find(cx, pool, volume).await? else { return Ok(()) };
        let why = if present.capacity == *size {
            let places = Places::read(cx.host, &[]).await?;
            Usage::read(cx.host, &places).await?.of(&present.path, None).describe()
        } else {
            Some("it is not the one that this operation made".into())
        };
        match why {
            None => unless_gone(cx.host.storage.delete_volume(pool, volume).await),
            Some(why) => Err(Error::new(ErrorKind::InvalidState, format!("volume {pool}/{volume} stays: {why}"))
                .on(Resource::Volume(volume_name(&present)))),
        }
    }
}
