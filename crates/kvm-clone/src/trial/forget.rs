//! What is left of a trial that is over, as a step.

use async_trait::async_trait;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{DiskPath, Error, ErrorKind, Result};
use kvm_vm::VolumeRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::step::{to_json, unless_gone};
use crate::survey::has;

/// Deletes what a trial was given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForgetTrial {
    pub(crate) target: Peer,
    pub(crate) volumes: Vec<VolumeRef>,
    pub(crate) variables: Option<DiskPath>,
}

impl ForgetTrial {
    pub(crate) const NAME: &'static str = "forget-trial";
}

#[async_trait]
impl Step for ForgetTrial {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("delete what the trial wrote on {}", self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let host = cx.peer(&self.target).await?;
        for VolumeRef { pool, volume } in &self.volumes {
            match host.storage.find_volume(pool, volume).await {
                Ok(_) => return Ok(Probe::Pending),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        match &self.variables {
            Some(path) if has(&host, path.as_str()).await? => Ok(Probe::Pending),
            _ => Ok(Probe::Done),
        }
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let host = cx.peer(&self.target).await?;
        for VolumeRef { pool, volume } in &self.volumes {
            unless_gone(host.storage.delete_volume(pool, volume).await)?;
        }
        match &self.variables {
            Some(path) => unless_gone(host.transport.remove_file(path.as_path()).await),
            None => Ok(()),
        }
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("what a trial wrote cannot be brought back"))
    }
}
