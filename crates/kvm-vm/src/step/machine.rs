//! Storing and forgetting definitions.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{
    Autostart, Error, ErrorKind, Existing, Keep, Protection, Resource, Result, View, VmId, VmName, VmNotes, VmRef,
    VmSummary,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{document, to_json, unless_gone};

/// Stores the definition of a new machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Define {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) document: String,
    /// What was there before the machine and outlives an undo.
    pub(crate) keep: Keep,
}

impl Define {
    pub(crate) const NAME: &'static str = "define";
}

#[async_trait]
impl Step for Define {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("define {}", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if find(cx, &self.id).await?.is_some() { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        cx.host.hypervisor.define(&document(&self.document)?, Existing::Reject).await.map(drop)
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        unless_gone(cx.host.hypervisor.undefine(&self.id, self.keep).await)
    }
}

/// Forgets a machine with everything that the hypervisor keeps for it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Undefine {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
}

impl Undefine {
    pub(crate) const NAME: &'static str = "undefine";
}

#[async_trait]
impl Step for Undefine {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("undefine {}", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if find(cx, &self.id).await?.is_some() { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        // Somebody may have protected it since the plan was made.
        let notes = match cx.host.hypervisor.definition(&self.id, View::CONFIG).await {
            Ok(document) => VmNotes::of(&document),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        refuse_protected(&self.name, &notes)?;
        unless_gone(cx.host.hypervisor.undefine(&self.id, Keep::NOTHING).await)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a forgotten machine cannot be brought back"))
    }
}

/// `InvalidState` when a machine must not be deleted.
pub(crate) fn refuse_protected(name: &VmName, notes: &VmNotes) -> Result<()> {
    match notes.protection {
        Protection::Off => Ok(()),
        Protection::On => Err(Error::new(ErrorKind::InvalidState, format!("VM {name} is protected against deletion"))
            .on(Resource::Vm(name.as_str().to_owned()))
            .with_detail("take the protection off first")),
    }
}

/// Lets the host start a machine when it boots.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetAutostart {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
}

impl SetAutostart {
    pub(crate) const NAME: &'static str = "set-autostart";
}

#[async_trait]
impl Step for SetAutostart {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("start {} when the host boots", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_on = find(cx, &self.id).await?.is_some_and(|vm| vm.autostart == Some(true));
        Ok(if is_on { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        cx.host.hypervisor.set_autostart(&self.id, Autostart::On).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        unless_gone(cx.host.hypervisor.set_autostart(&self.id, Autostart::Off).await)
    }
}

pub(super) async fn find(cx: &StepContext<'_>, id: &VmId) -> Result<Option<VmSummary>> {
    match cx.host.hypervisor.find(&VmRef::Id(*id)).await {
        Ok(vm) => Ok(Some(vm)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
