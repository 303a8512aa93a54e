//! Replicas: which there are, and what is done with one on its host alone.

use jiff::Timestamp;
use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{
    Error, ErrorKind, Host, Receipt, Replica, ReplicaState, Replication, Resource, Result, View, VmFilter, VmNotes,
    VmRef, VmState, VmSummary,
};
use kvm_vm::{PlanContext, Start, start_machine};
use serde::Serialize;

use crate::step::{Promote, SettleImage, WAITING, record};
use crate::survey::has;

/// A machine, and what it has to do with copies of itself on other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// The machine.
    pub vm: VmSummary,
    /// `None` when it has nothing to do with any.
    pub replication: Option<Replication>,
    /// What the last trial start of it has shown.
    pub proof: Option<Receipt>,
}

impl ReplicaInfo {
    /// How far a replica is behind its source at most; `None` for what is no replica, or is one no more.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Option<std::time::Duration> {
        match &self.replication {
            Some(Replication::Replica(replica)) if replica.state != ReplicaState::Promoted => {
                Some(now.duration_since(replica.synced).try_into().unwrap_or_default())
            }
            _ => None,
        }
    }
}

/// All machines of a host, with what each has to do with replicas.
pub async fn replicas(host: &Host) -> Result<Vec<ReplicaInfo>> {
    let mut all = Vec::new();
    for vm in host.hypervisor.list(&VmFilter::all()).await? {
        match replica_of(host, vm).await {
            Ok(info) => all.push(info),
            // It has gone since the list was made.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

/// What a machine has to do with replicas. `NotFound`.
pub async fn replica_of(host: &Host, vm: VmSummary) -> Result<ReplicaInfo> {
    let VmNotes { replication, proof, .. } = VmNotes::of(&host.hypervisor.definition(&vm.id, View::CONFIG).await?);
    Ok(ReplicaInfo { vm, replication, proof })
}

/// What is known of a replica's source when the replica is to be promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceSeen {
    /// Its host cannot be reached, for this reason.
    Unreachable(String),
    /// Its host has no such machine any more.
    Gone,
    /// It is in this state.
    There(VmState),
}

impl SourceSeen {
    /// Whether it is known to run: promoted, there would be two of the same machine.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self, Self::There(state) if state.is_active())
    }
}

/// Looks at the source of a replica, on its host.
pub async fn see_source(source: &Host, replica: &VmSummary) -> SourceSeen {
    match source.hypervisor.find(&VmRef::Id(replica.id)).await {
        Ok(vm) => SourceSeen::There(vm.state),
        Err(e) if e.kind() == ErrorKind::NotFound => SourceSeen::Gone,
        Err(e) => SourceSeen::Unreachable(e.to_string()),
    }
}

/// How a replica is promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromoteSpec {
    /// When.
    pub at: Timestamp,
    /// Whether it is started at once.
    pub start: Start,
    /// What is known of its source. One that runs is told; whether that is agreed to is the caller's to find out.
    pub source: SourceSeen,
}

/// A promotion that could be made.
#[derive(Debug)]
pub struct PromotePlan {
    /// What would happen.
    pub plan: Plan,
    /// The replica as it is.
    pub replica: Replica,
}

/// Plans to make a machine of its own of a replica, on its host alone: its source is not needed.
///
/// A sync that was cut short is settled first: one that had wholly arrived is applied, another one is forgotten. From then
/// on the machine takes no syncs.
///
/// `InvalidState` when the machine is no replica, was promoted before, or runs.
pub async fn plan_promote(
    target: &Host,
    vm: &VmSummary,
    spec: &PromoteSpec,
    cx: &PlanContext<'_>,
) -> Result<PromotePlan> {
    let replica = own(target, vm).await?;
    let refuse = |message: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, message)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    if replica.state == ReplicaState::Promoted {
        return refuse(format!("VM {} was promoted before", vm.name), "start it like any other: kvmctl vm start");
    }
    if vm.state.is_active() || vm.has_saved_state {
        return refuse(format!("the replica {} is {}", vm.name, vm.state), "power it off first");
    }
    let there = target.hypervisor.capabilities().await?;
    let peer = Peer::of(&there);
    let (mut lines, mut steps) = (Vec::new(), Vec::<Box<dyn Step>>::new());
    let is_applying = replica.state == ReplicaState::Applying;
    for image in &replica.images {
        if is_applying || has(target, &format!("{}{WAITING}", image.path)).await? {
            let note = if is_applying { "a sync had arrived, and is applied" } else { "a sync that had not arrived" };
            let action = if is_applying { "finish" } else { "forget" };
            lines.push(PlanLine::new(action, "sync", image.path.as_str()).note(note));
            steps.push(Box::new(SettleImage { target: peer.clone(), id: vm.id, path: image.path.clone() }));
        }
    }
    let settled = steps.len();
    let seen = match &spec.source {
        SourceSeen::Unreachable(why) => format!("not reached: {why}; see that it stays off"),
        SourceSeen::Gone => "it is not there any more".to_owned(),
        SourceSeen::There(state) if state.is_active() => {
            format!("it is {state}: two of the same machine, with one identity and one address")
        }
        SourceSeen::There(state) => format!("it is {state}; see that it stays so"),
    };
    let about = PlanLine::new("leave", "source", replica.vm.as_str());
    lines.push(about.note(format!("on {}: {seen}", replica.source)));
    let document = target.hypervisor.definition(&vm.id, View::CONFIG).await?;
    let line = PlanLine::new("promote", "domain", vm.name.as_str());
    lines.push(line.note(format!("as its source was at {:.0}", replica.synced)));
    if document.genid.is_some() {
        lines.push(PlanLine::new("change", "genid", vm.name.as_str()).note("the guest learns that it was set back"));
    }
    steps.push(Box::new(Promote {
        target: peer,
        id: vm.id,
        name: vm.name.clone(),
        at: spec.at,
        genid: cx.entropy.uuid(),
        before: replica.clone(),
        was: document.genid.and_then(|genid| genid.value),
    }));
    if spec.start.is_wanted() {
        lines.push(PlanLine::new("start", "domain", vm.name.as_str()));
        steps.push(start_machine(vm.id, vm.name.clone()));
    }
    let plan = Plan {
        kind: "clone.promote",
        title: format!("promote {} on {}", vm.name, there.target),
        target: there.target.clone(),
        locks: vec![LockKey { host: there.host_key(), vm: vm.id }],
        lines,
        // What was applied to an image stays; a machine that has started may have been used.
        reversible: usize::from(settled == 0),
        steps,
    };
    Ok(PromotePlan { plan, replica })
}

/// Takes no syncs for now. `InvalidState` when the machine is no replica that takes any.
pub async fn pause_replica(target: &Host, vm: &VmSummary) -> Result<Replica> {
    set(target, vm, &[ReplicaState::Current], ReplicaState::Paused).await
}

/// Takes syncs again. One that waits for a sync or a trial that nobody finishes any more is freed of it as well: should a
/// sync go on all the same, it fails before it has touched anything. `InvalidState` when the machine is no replica that was paused or
/// waits.
pub async fn resume_replica(target: &Host, vm: &VmSummary) -> Result<Replica> {
    set(target, vm, &[ReplicaState::Paused, ReplicaState::Receiving, ReplicaState::Proving], ReplicaState::Current)
        .await
}

async fn set(target: &Host, vm: &VmSummary, from: &[ReplicaState], to: ReplicaState) -> Result<Replica> {
    let mut replica = own(target, vm).await?;
    if replica.state == to {
        return Ok(replica);
    }
    if !from.contains(&replica.state) {
        let message = format!("the replica {} is {}", vm.name, replica.state);
        return Err(Error::new(ErrorKind::InvalidState, message).on(Resource::Vm(vm.name.as_str().to_owned())));
    }
    replica.state = to;
    record::write(target, &vm.id, Some(Replication::Replica(replica.clone()))).await?;
    Ok(replica)
}

/// What is noted of a replica. `InvalidState` when the machine is none.
async fn own(target: &Host, vm: &VmSummary) -> Result<Replica> {
    match record::read(target, &vm.id).await? {
        Some(Replication::Replica(replica)) => Ok(replica),
        _ => Err(Error::new(ErrorKind::InvalidState, format!("VM {} is no replica", vm.name))
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail("replicas there are: kvmctl replica list")),
    }
}
