//! I/O threads as part of a plan.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Impact, IoThread, IoThreadChange, Result, View, VmId, VmName, Which};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::to_json;
use crate::device::facet;

/// Adds an I/O thread to a machine that does not have it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AddIoThread {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) thread: IoThread,
    pub(crate) impact: Impact,
}

impl AddIoThread {
    pub(crate) const NAME: &'static str = "add-iothread";

    /// The documents that it is to be in, with whether it is.
    async fn places(&self, cx: &StepContext<'_>) -> Result<Vec<(Impact, bool)>> {
        let vm = cx.host.hypervisor.find(&self.id.into()).await?;
        let mut places = Vec::new();
        for (which, view, impact, exists) in [
            (Which::Live, View::LIVE, Impact::Live, vm.state.is_active()),
            (Which::Config, View::CONFIG, Impact::Config, vm.persistent),
        ] {
            if exists && self.impact.reaches(which) {
                let document = cx.host.hypervisor.definition(&self.id, view).await?;
                places.push((impact, self.thread.is_in(&document)));
            }
        }
        Ok(places)
    }

    async fn change(&self, cx: &StepContext<'_>, change: IoThreadChange) -> Result<()> {
        for (impact, is_there) in self.places(cx).await? {
            if is_there == (change == IoThreadChange::Remove) {
                facet(cx.host)?.change_iothread(&self.id, self.thread, change, impact).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Step for AddIoThread {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("add I/O thread {} to {}", self.thread, self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_done = self.places(cx).await?.iter().all(|(_, is_there)| *is_there);
        Ok(if is_done { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        self.change(cx, IoThreadChange::Add).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.change(cx, IoThreadChange::Remove).await
    }
}
