//! Steps on another host than the one that the operation changes first.

use async_trait::async_trait;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::decode;

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
        Self::boxed(peer, Box::new(step))
    }

    pub(super) fn boxed(peer: Peer, step: Box<dyn Step>) -> Self {
        Self { peer, step }
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
