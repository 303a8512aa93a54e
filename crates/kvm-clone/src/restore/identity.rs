//! As which machine it comes back, and what follows from that for its document and the plan.

use std::collections::BTreeSet;

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{DiskPath, Error, ErrorKind, Host, Resource, Result, View, VmId, VmName, VmRef, VmSummary};
use kvm_vm::{Arrival, CreatePlan, PlanContext, Start, plan_arrival_for};
use kvm_xml::rewrite::{Attached, Policy, policy};
use kvm_xml::{Document as _, Domain};

use super::{Redefine, RestoreSpec, Restored};
use crate::backup::Manifest;
use crate::facts::{attached, variables_of};
use crate::place;
use crate::replace::{Replaced, free_variables};
use crate::spec::CloneSpec;
use crate::survey::{Survey, has};

/// What the target has of it.
pub(super) enum Identity {
    /// It is another machine, which may come in the place of one that has the name.
    Other(VmName, Option<Box<Replaced>>),
    /// It is itself, and not there any more.
    Gone,
    /// It is itself, and there.
    There(VmSummary),
}

impl Identity {
    /// Looks for it. `InvalidState` when the machine that is there cannot be set back, or must not go.
    pub(super) async fn find(target: &Host, manifest: &Manifest, spec: &RestoreSpec) -> Result<Self> {
        Ok(match &spec.identity {
            Restored::New(name) => {
                let replaced = Replaced::find(target, name, spec.replace).await?;
                Self::Other(name.clone(), replaced.map(Box::new))
            }
            Restored::InPlace => present(target, manifest).await?.map_or(Self::Gone, Self::There),
        })
    }

    /// The name that it is to get, if it is another machine.
    pub(super) fn new_name(&self) -> Option<&VmName> {
        match self {
            Self::Other(name, _) => Some(name),
            Self::Gone | Self::There(_) => None,
        }
    }

    /// What of the stored document stays; another machine is like a clone.
    pub(super) fn policy(&self, clone: &CloneSpec) -> Policy {
        match self {
            Self::Other(..) => clone.policy(),
            Self::There(_) => Policy {
                disks: policy::Files::Place,
                nvram: policy::Files::Place,
                chain: policy::Chain::Flatten,
                ..Policy::RESTORE
            },
            Self::Gone => Policy { genid: policy::Genid::New, ..Policy::REPLICA },
        }
    }

    /// Where its UEFI variables go, where that is not as usual.
    pub(super) async fn variables(&self, survey: &Survey<'_>, target: &Host) -> Result<Option<String>> {
        match (self, variables_of(&survey.document)) {
            (Self::Gone | Self::There(_), Some(path)) => same_variables(target, path).await.map(Some),
            (Self::Other(name, Some(_)), Some(path)) => free_variables(target, path, name).await,
            (Self::Other(_, None), _) | (_, None) => Ok(None),
        }
    }

    /// The plan, the document and its uuid, and the images that it will not use any more.
    pub(super) async fn plan(
        &self,
        target: &Host,
        come: Come,
        start: Start,
        cx: &PlanContext<'_>,
    ) -> Result<(Plan, Domain, VmId, Vec<String>)> {
        let replaced = match self {
            Self::There(present) => return set_back(target, present, come).await,
            Self::Other(_, replaced) => replaced.as_deref(),
            Self::Gone => None,
        };
        let Come { document, placed, mut lines, mut steps } = come;
        if let Some((line, step)) = replaced.map(Replaced::set_aside) {
            lines.push(line);
            steps.push(step);
        }
        let arrival = Arrival { kind: "restore.vm", verb: "restore", document, start, images: placed, lines, steps };
        let CreatePlan { plan, document, id } =
            plan_arrival_for(target, arrival, replaced.map(Replaced::id), cx).await?;
        Ok((plan, document, id, Vec::new()))
    }

    /// Adds what happens to a machine in whose place it comes. Gives what that is called until then.
    pub(super) fn finish(self, plan: &mut Plan) -> Option<VmName> {
        let Self::Other(_, Some(replaced)) = self else { return None };
        let aside = replaced.aside();
        replaced.finish(plan);
        Some(aside)
    }
}

/// The machine as it is on the target now. `InvalidState` when it cannot be set back.
async fn present(target: &Host, manifest: &Manifest) -> Result<Option<VmSummary>> {
    let vm = match target.hypervisor.find(&VmRef::Id(manifest.uuid)).await {
        Ok(vm) => vm,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let refuse = |why: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, why)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    if vm.state.is_active() || vm.has_saved_state || !vm.persistent {
        let why = format!("VM {} is {}: what is restored in its place must be off", vm.name, vm.state);
        return refuse(why, "shut it down first, or restore it under another name: --name NAME");
    }
    let Attached { snapshots, checkpoints, .. } = attached(target, &vm).await?;
    if snapshots + checkpoints > 0 {
        let why =
            format!("VM {} has {snapshots} snapshots and {checkpoints} checkpoints of its present disks", vm.name);
        return refuse(why, "delete them first, or restore it under another name: --name NAME");
    }
    Ok(Some(vm))
}

/// A path for the firmware's variables that the target has not.
async fn same_variables(target: &Host, path: &str) -> Result<String> {
    let (stem, ending) = path.rsplit_once('.').map_or((path, String::new()), |(a, b)| (a, format!(".{b}")));
    for number in 0..100 {
        let path = if number == 0 { path.to_owned() } else { format!("{stem}-{number}{ending}") };
        if !has(target, &path).await? {
            return Ok(path);
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "a hundred files of UEFI variables have this name")
        .on(Resource::File(path.to_owned())))
}

/// What has come when the machine is defined.
pub(super) struct Come {
    pub(super) document: Domain,
    pub(super) placed: Vec<DiskPath>,
    pub(super) lines: Vec<PlanLine>,
    pub(super) steps: Vec<Box<dyn Step>>,
}

/// Sets a machine that is there back: its definition is replaced when all images have come.
async fn set_back(target: &Host, vm: &VmSummary, come: Come) -> Result<(Plan, Domain, VmId, Vec<String>)> {
    let capabilities = target.hypervisor.capabilities().await?;
    let now = target.hypervisor.definition(&vm.id, View::CONFIG).await?;
    let Come { mut document, placed, mut lines, mut steps } = come;
    // It may have been renamed since.
    document.name = Some(vm.name.as_str().to_owned());
    let kept: Vec<_> = place::own(&now).filter_map(place::location).map(|location| location.to_string()).collect();
    lines.extend(
        kept.iter().map(|path| PlanLine::new("keep", "image", path).note("the machine does not use it any more")),
    );
    lines.push(PlanLine::new("replace", "domain", vm.name.as_str()));
    let files: BTreeSet<_> = placed.iter().map(|path| path.as_str().to_owned()).collect();
    steps.push(Box::new(Redefine { id: vm.id, name: vm.name.clone(), document: document.to_xml(), files }));
    let plan = Plan {
        kind: "restore.vm",
        title: String::new(),
        target: capabilities.target.clone(),
        locks: vec![LockKey { host: capabilities.host_key(), vm: vm.id }],
        lines,
        // The definition that is replaced may have passwords, and is in no journal.
        reversible: steps.len() - 1,
        steps,
    };
    Ok((plan, document, vm.id, kept))
}
