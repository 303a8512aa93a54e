//! The steps of a move that are no copy.

use async_trait::async_trait;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{
    Autostart, Capabilities, Elsewhere, Error, ErrorKind, Host, Moving, Resource, Result, View, VmId, VmName, VmNotes,
    VmRef, VmSummary, Way,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::step::to_json;

mod leave;
mod stop;

pub(crate) use leave::{LeaveHost, Pair};
pub(crate) use stop::{StopForMove, StopHow};

/// Notes on the source that the machine leaves, and has it not start with its host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MarkLeaving {
    pub(crate) source: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) moving: Moving,
    /// Whether it started with its host before.
    pub(crate) autostart: bool,
}

impl MarkLeaving {
    pub(crate) const NAME: &'static str = "mark-leaving";

    /// What the definition on the other host says.
    pub(crate) fn arriving(&self, here: &Capabilities) -> Moving {
        let other = Elsewhere { target: here.target.clone(), host: here.host_key() };
        Moving { way: Way::Arriving, other, id: self.moving.id }
    }
}

#[async_trait]
impl Step for MarkLeaving {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("note on {} that {} moves to {}", self.source, self.name, self.moving.other)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let source = cx.peer(&self.source).await?;
        // Where it is gone there is nothing to guard any more.
        let Some(vm) = find(&source, &self.id).await? else { return Ok(Probe::Done) };
        let is_off = vm.autostart != Some(true);
        let is_noted = is_off && notes(&source, &self.id).await?.moving.as_ref() == Some(&self.moving);
        Ok(if is_noted { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let source = cx.peer(&self.source).await?;
        let vm = source.hypervisor.find(&VmRef::Id(self.id)).await?;
        if vm.state.is_active() || vm.has_saved_state {
            return Err(refused(&self.name, format!("VM {} is {} by now", vm.name, vm.state)));
        }
        let notes = notes(&source, &self.id).await?;
        if notes.moving.as_ref().is_some_and(|moving| *moving != self.moving) {
            return Err(refused(&self.name, format!("somebody else moves VM {} by now", vm.name)));
        }
        let noted = VmNotes { moving: Some(self.moving.clone()), ..notes };
        source.hypervisor.set_notes(&self.id, &noted).await?;
        match self.autostart {
            true => source.hypervisor.set_autostart(&self.id, Autostart::Off).await,
            false => Ok(()),
        }
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let source = cx.peer(&self.source).await?;
        let notes = match notes(&source, &self.id).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        // Whoever took it over meanwhile decides about it.
        if notes.moving.as_ref().is_some_and(|moving| *moving != self.moving) {
            return Ok(());
        }
        if self.autostart {
            source.hypervisor.set_autostart(&self.id, Autostart::On).await?;
        }
        match notes.moving {
            Some(_) => source.hypervisor.set_notes(&self.id, &VmNotes { moving: None, ..notes }).await,
            None => Ok(()),
        }
    }
}

/// Defines the machine that arrives, with what says so in it. Taken back only as long as it says so: one that somebody
/// uses there by then is not taken away.
#[derive(Debug)]
pub(crate) struct GuardArrival {
    pub(crate) guard: Guard,
    pub(crate) define: Box<dyn Step>,
}

/// What has to be true of a machine that may be taken away again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Guard {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    #[serde(rename = "move")]
    pub(crate) moving: Uuid,
}

/// The journal form of [`GuardArrival`].
#[derive(Deserialize)]
struct Form {
    guard: Guard,
    step: String,
    data: Value,
}

impl GuardArrival {
    pub(crate) const NAME: &'static str = "define-arriving";

    pub(crate) fn decode(data: &Value) -> Result<Box<dyn Step>> {
        let Form { guard, step, data } = serde_json::from_value(data.clone()).map_err(|e| {
            let message = format!("the journal's step {} cannot be read", Self::NAME);
            Error::new(ErrorKind::Corrupt, message).with_source(e)
        })?;
        Ok(Box::new(Self { guard, define: kvm_vm::decode(&step, &data)? }))
    }
}

impl Guard {
    async fn check(&self, target: &Host) -> Result<()> {
        let Some(vm) = find(target, &self.id).await? else { return Ok(()) };
        let is_ours = is_marked(target, &self.id, Way::Arriving, self.moving).await?;
        match is_ours && !vm.state.is_active() {
            true => Ok(()),
            false => Err(refused(&self.name, format!("somebody uses VM {} on {} by now", self.name, self.target))
                .with_detail("see which of both is to stay, and delete the other: kvmctl vm delete")),
        }
    }
}

#[async_trait]
impl Step for GuardArrival {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("{} on {}, not to be started yet", self.define.title(), self.guard.target)
    }

    fn to_json(&self) -> Result<Value> {
        Ok(json!({ "guard": to_json(&self.guard)?, "step": self.define.name(), "data": self.define.to_json()? }))
    }

    fn already(&self) -> Already {
        self.define.already()
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.guard.target).await?;
        self.define.probe(&StepContext { host: &target, ..*cx }).await
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.guard.target).await?;
        self.define.apply(&StepContext { host: &target, ..*cx }).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.guard.target).await?;
        self.guard.check(&target).await?;
        self.define.undo(&StepContext { host: &target, ..*cx }).await
    }
}

/// Makes the machine on the target one like any other: it may be started, and starts with its host if it did before.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Arrive {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    #[serde(rename = "move")]
    pub(crate) moving: Uuid,
    pub(crate) autostart: bool,
}

impl Arrive {
    pub(crate) const NAME: &'static str = "arrive";
}

#[async_trait]
impl Step for Arrive {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("have {} be on {} alone", self.name, self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        match is_marked(&target, &self.id, Way::Arriving, self.moving).await {
            Ok(true) => Ok(Probe::Pending),
            // It may have gone on, even away, since.
            Ok(false) => Ok(Probe::Done),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Probe::Done),
            Err(e) => Err(e),
        }
    }

    /// The note goes last: what is noted is not finished.
    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        if self.autostart {
            target.hypervisor.set_autostart(&self.id, Autostart::On).await?;
        }
        let notes = notes(&target, &self.id).await?;
        target.hypervisor.set_notes(&self.id, &VmNotes { moving: None, ..notes }).await
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a machine that has moved is not brought back"))
    }
}

fn refused(name: &VmName, why: String) -> Error {
    Error::new(ErrorKind::InvalidState, why).on(Resource::Vm(name.as_str().to_owned()))
}

async fn find(host: &Host, id: &VmId) -> Result<Option<VmSummary>> {
    match host.hypervisor.find(&VmRef::Id(*id)).await {
        Ok(vm) => Ok(Some(vm)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

async fn notes(host: &Host, id: &VmId) -> Result<VmNotes> {
    Ok(VmNotes::of(&host.hypervisor.definition(id, View::CONFIG).await?))
}

/// Whether a machine's document says that it is in this move.
async fn is_marked(host: &Host, id: &VmId, way: Way, moving: Uuid) -> Result<bool> {
    Ok(notes(host, id).await?.moving.is_some_and(|noted| noted.way == way && noted.id == moving))
}
