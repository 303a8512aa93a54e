//! Starting and stopping machines as part of a plan.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Error, PowerAction, Result, VmId, VmName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::find;
use super::to_json;
use crate::power::power_off;

/// Starts a machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) paused: bool,
}

impl Start {
    pub(crate) const NAME: &'static str = "start";
}

#[async_trait]
impl Step for Start {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("start {}{}", self.name, if self.paused { ", paused" } else { "" })
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_active = find(cx, &self.id).await?.is_some_and(|vm| vm.state.is_active());
        Ok(if is_active { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let action = if self.paused { PowerAction::StartPaused } else { PowerAction::Start };
        cx.host.hypervisor.power(&self.id, action).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        power_off(cx.host, &self.id, cx.clock).await.map(drop)
    }
}

/// Pulls the plug.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PowerOff {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
}

impl PowerOff {
    pub(crate) const NAME: &'static str = "power-off";
}

#[async_trait]
impl Step for PowerOff {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("power {} off", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_active = find(cx, &self.id).await?.is_some_and(|vm| vm.state.is_active());
        Ok(if is_active { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        power_off(cx.host, &self.id, cx.clock).await.map(drop)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("what a guest had in memory cannot be brought back"))
    }
}
