//! A machine in whose place another one comes.

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::op::{Already, LockKey, Peer, Plan, PlanLine, Probe, Step, StepContext};
use kvm_core::{
    Error, ErrorKind, Host, Protection, ReplicaState, Replication, Resource, Result, View, VmId, VmName, VmNotes,
    VmRef, VmSummary,
};
use kvm_vm::{DeleteOptions, Running, Volumes, plan_delete, rename};
use kvm_xml::rewrite::Attached;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::facts::attached;
use crate::step::to_json;
use crate::survey::has;

/// What becomes of a machine that has the name already. It is kept under another name until the new one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replace {
    /// When: it is part of the other name.
    pub at: Timestamp,
    /// Whether it is deleted then, with those of its volumes that nobody else uses.
    pub then: AfterReplacing,
}

/// What happens to a machine whose successor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReplacing {
    /// It is deleted.
    Delete,
    /// It stays under its other name.
    Keep,
}

/// A machine that is to be replaced.
#[derive(Debug)]
pub(crate) struct Replaced {
    vm: VmSummary,
    aside: VmName,
    host: Peer,
    lock: LockKey,
    /// What comes when the new one stands.
    after: Option<Plan>,
}

impl Replaced {
    /// Looks for it; `None` when the name is free. `InvalidState` when it must not go.
    pub(crate) async fn find(target: &Host, name: &VmName, replace: Option<Replace>) -> Result<Option<Self>> {
        let Some(Replace { at, then }) = replace else { return Ok(None) };
        let vm = match target.hypervisor.find(&VmRef::Name(name.clone())).await {
            Ok(vm) => vm,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        check(target, &vm, then).await?;
        let there = target.hypervisor.capabilities().await?;
        let aside = VmName::parse(&format!("{name}.replaced-{}", at.strftime("%Y-%m-%dT%H-%M-%SZ")))?;
        let after = match then {
            AfterReplacing::Keep => None,
            AfterReplacing::Delete => {
                let options = DeleteOptions { volumes: Volumes::Delete, running: Running::Refuse };
                Some(plan_delete(target, &VmSummary { name: aside.clone(), ..vm.clone() }, &options).await?)
            }
        };
        let (host, lock) = (Peer::of(&there), LockKey { host: there.host_key(), vm: vm.id });
        Ok(Some(Self { vm, aside, host, lock, after }))
    }

    /// Which machine it is.
    pub(crate) fn id(&self) -> VmId {
        self.vm.id
    }

    /// Its name from then on.
    pub(crate) fn aside(&self) -> VmName {
        self.aside.clone()
    }

    /// What happens right before the new one is defined.
    pub(crate) fn set_aside(&self) -> (PlanLine, Box<dyn Step>) {
        let line = PlanLine::new("rename", "domain", self.vm.name.as_str());
        let note = match self.after {
            Some(_) => format!("to {}, until the new one stands", self.aside),
            None => format!("to {}, which stays: delete it when all is well", self.aside),
        };
        let (id, name, aside) = (self.vm.id, self.vm.name.clone(), self.aside.clone());
        (line.note(note), Box::new(SetAside { host: self.host.clone(), id, name, aside }))
    }

    /// Adds what happens when the new one stands; from there on nothing is taken back.
    pub(crate) fn finish(self, plan: &mut Plan) {
        plan.locks.push(self.lock);
        if let Some(after) = self.after {
            plan.lines.extend(after.lines);
            plan.steps.extend(after.steps);
        }
    }
}

async fn check(target: &Host, vm: &VmSummary, then: AfterReplacing) -> Result<()> {
    let refuse = |why: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, why)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    if vm.state.is_active() || vm.has_saved_state || !vm.persistent {
        let why = format!("VM {} is {}: what is replaced must be off", vm.name, vm.state);
        return refuse(why, "shut it down first, or choose another name");
    }
    let Attached { snapshots, checkpoints, .. } = attached(target, vm).await?;
    if snapshots + checkpoints > 0 {
        let why = format!("VM {} has snapshots or checkpoints, with which it cannot be renamed", vm.name);
        return refuse(why, "delete them first: kvmctl snap delete; or choose another name");
    }
    let notes = VmNotes::of(&target.hypervisor.definition(&vm.id, View::CONFIG).await?);
    if notes.protection == Protection::On && then == AfterReplacing::Delete {
        let why = format!("VM {} is protected against deletion", vm.name);
        return refuse(why, "take the protection off first, or keep it beside the new one: --keep-replaced");
    }
    match notes.replication {
        Some(Replication::Replica(replica)) if replica.state != ReplicaState::Promoted => {
            let why = format!("VM {} is a replica of {} on {}", vm.name, replica.vm, replica.source);
            refuse(why, "promote or delete it first, or choose another name")
        }
        _ if notes.moving.is_some() => {
            refuse(format!("VM {} is in the middle of a move", vm.name), "finish that first: kvmctl op list --open")
        }
        _ => Ok(()),
    }
}

/// A path for UEFI variables of this name, beside these, that the host has not.
pub(crate) async fn free_variables(target: &Host, beside: &str, name: &VmName) -> Result<Option<String>> {
    let Some((directory, file)) = beside.rsplit_once('/') else { return Ok(None) };
    let ending = file.rsplit_once('.').map_or(String::new(), |(_, ending)| format!(".{ending}"));
    for number in 0..100 {
        let number = if number == 0 { String::new() } else { format!("-{number}") };
        let path = format!("{directory}/{name}_VARS{number}{ending}");
        if !has(target, &path).await? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Gives a machine another name, so that a new one can have its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetAside {
    pub(crate) host: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) aside: VmName,
}

impl SetAside {
    pub(crate) const NAME: &'static str = "set-aside";

    async fn rename(&self, host: &Host, from: &VmName, to: &VmName) -> Result<()> {
        let vm = host.hypervisor.find(&VmRef::Id(self.id)).await?;
        if vm.name == *to {
            return Ok(());
        }
        if vm.name != *from {
            let message = format!("VM {from} was renamed to {} by somebody else", vm.name);
            return Err(Error::new(ErrorKind::InvalidState, message).on(Resource::Vm(vm.name.as_str().to_owned())));
        }
        rename(host, &self.id, to).await
    }
}

#[async_trait]
impl Step for SetAside {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("rename {} to {} on {}", self.name, self.aside, self.host)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let host = cx.peer(&self.host).await?;
        let is_aside = host.hypervisor.find(&VmRef::Id(self.id)).await?.name == self.aside;
        Ok(if is_aside { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        self.rename(&cx.peer(&self.host).await?, &self.name, &self.aside).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.rename(&cx.peer(&self.host).await?, &self.aside, &self.name).await
    }
}
