//! A machine that runs goes off for the time of a move.

use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{ErrorKind, HypervisorExt as _, PowerAction, Result, VmId, VmName, VmState};
use kvm_vm::{ShutdownOptions, Then, shutdown};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::find;
use crate::step::to_json;

/// How long pulling the plug may take: the hypervisor flushes what it holds.
const POWER_OFF: Duration = Duration::from_secs(30);

/// How a machine goes off.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(crate) enum StopHow {
    Shutdown { within: Duration },
    PowerOff,
}

/// Has a machine that runs be off for the time of a move. Taken back it runs again, without what it had in memory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StopForMove {
    pub(crate) source: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    #[serde(flatten)]
    pub(crate) how: StopHow,
}

impl StopForMove {
    pub(crate) const NAME: &'static str = "stop-for-move";
}

#[async_trait]
impl Step for StopForMove {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        match self.how {
            StopHow::Shutdown { .. } => format!("shut {} down on {}", self.name, self.source),
            StopHow::PowerOff => format!("power {} off on {}", self.name, self.source),
        }
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let source = cx.peer(&self.source).await?;
        let is_active = find(&source, &self.id).await?.is_some_and(|vm| vm.state.is_active());
        Ok(if is_active { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let source = cx.peer(&self.source).await?;
        match self.how {
            StopHow::Shutdown { within } => {
                let options = ShutdownOptions { timeout: within, then: Then::Fail };
                shutdown(&source, &self.id, &options, cx.clock, cx.cancel).await.map(drop)
            }
            StopHow::PowerOff => match source.hypervisor.power(&self.id, PowerAction::PowerOff).await {
                Err(e) if e.kind() != ErrorKind::InvalidState => Err(e),
                // Or it went off in the very moment.
                _ => {
                    let off = [VmState::Off];
                    source.hypervisor.wait_for(&self.id, &off, POWER_OFF, cx.clock).await.map(drop)
                }
            },
        }
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let source = cx.peer(&self.source).await?;
        match find(&source, &self.id).await? {
            Some(vm) if !vm.state.is_active() => source.hypervisor.power(&self.id, PowerAction::Start).await,
            _ => Ok(()),
        }
    }
}
