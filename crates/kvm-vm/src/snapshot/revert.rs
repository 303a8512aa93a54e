//! Going back to a snapshot: what is lost, and whether anything else would be.

use std::collections::BTreeSet;

use kvm_core::op::{Plan, PlanLine, Step};
use kvm_core::{
    AfterRevert, DiskPath, Error, ErrorKind, Host, Resource, Result, Revert, SnapshotInfo, SnapshotKind, SnapshotName,
    VmState, VmSummary, disks_to_keep,
};

use kvm_image::graph::Operation;

use super::proof::{Proof, name as image_name};
use super::{Subject, listed, rule, snapshots};
use crate::block_job::CHECK_IMAGES;
use crate::copying::check_not_copied;
use crate::step::{Fingerprint, RevertSnapshot};

/// So many differences of the definition are shown.
const SHOWN: usize = 3;

/// Plans to put a machine back to a snapshot. The plan says what is lost: the memory, what was written since, and what
/// changed in its definition. There is no way back.
///
/// `NotFound`; `InvalidState` when another snapshot, machine or overlay would lose its data, while checkpoints watch the
/// images, and when the machine has a saved state.
pub async fn plan_revert(host: &Host, vm: &VmSummary, name: &SnapshotName, how: Revert) -> Result<Plan> {
    check_not_copied(host, vm).await?;
    let subject = Subject::read(host, vm).await?;
    let snapshot = subject.find(name)?.clone();
    subject.can_go_back(&snapshot).await?;

    let mut lines = vec![PlanLine::new("revert", "domain", vm.name.as_str()).note(afterwards(&snapshot, how))];
    subject.losses(&snapshot, &mut lines).await?;
    let children: Vec<_> = subject.all.iter().filter(|other| other.parent.as_ref() == Some(name)).collect();
    for child in children {
        lines.push(PlanLine::new("keep", "snapshot", child.name.as_str()).note(format!("goes on from {name}")));
    }
    let step: Box<dyn Step> = Box::new(RevertSnapshot {
        id: vm.id,
        name: vm.name.clone(),
        snapshot: name.clone(),
        how,
        before: Fingerprint::read(host, &vm.id).await?,
        pools: subject.pools(&subject.own()).await?,
    });
    let title = format!("revert {} to snapshot {name}", vm.name);
    Ok(subject.plan("vm.revert-snapshot", &title, (lines, vec![step]), 0))
}

/// What the machine is and does then.
fn afterwards(snapshot: &SnapshotInfo, how: Revert) -> String {
    let made = snapshot.created.map(|at| format!("as of {at}, ")).unwrap_or_default();
    let does = match (how.then, snapshot.memory.is_some(), snapshot.state) {
        (AfterRevert::AsItWas, true, VmState::Paused) => "paused, from its memory",
        (AfterRevert::AsItWas | AfterRevert::Running, true, _) => "running, from its memory",
        (AfterRevert::Paused, true, _) => "paused, from its memory",
        (AfterRevert::AsItWas, false, _) => "off",
        (AfterRevert::Running, false, _) => "running, after a boot",
        (AfterRevert::Paused, false, _) => "paused, before a boot",
    };
    format!("{made}{does}")
}

impl Subject<'_> {
    async fn can_go_back(&self, snapshot: &SnapshotInfo) -> Result<()> {
        let refuse = |why: String| Err(self.refuse(&snapshot.name, "cannot be gone back to", why));
        if let Some(why) = rule::against_revert(snapshot, &self.all) {
            return refuse(why);
        }
        let checkpoints = match self.host.hypervisor.checkpoints() {
            Some(checkpoints) => checkpoints.list(&self.vm.id).await?,
            None => Vec::new(),
        };
        if !checkpoints.is_empty() {
            let names = listed(checkpoints.iter().map(|checkpoint| &checkpoint.name));
            return Err(Error::new(ErrorKind::InvalidState, format!("VM {} has checkpoints", self.vm.name))
                .on(Resource::Vm(self.vm.name.as_str().to_owned()))
                .during("revert-snapshot")
                .with_detail(format!("{names}: what they remember would be wrong afterwards; delete them first")));
        }
        let internal = snapshot.disks.iter().filter(|disk| disk.kind == SnapshotKind::Internal);
        let images = internal.filter_map(|disk| disk.image.as_ref());
        let mut operations: Vec<_> = images.map(|image| Operation::Revert { image: image_name(image) }).collect();
        if snapshot.kind() == SnapshotKind::External {
            // The overlay that the machine leaves goes when no snapshot needs it.
            let overlays = self.all.iter().flat_map(|other| &other.disks).filter_map(|disk| disk.overlay.as_ref());
            let overlays: BTreeSet<&DiskPath> = overlays.collect();
            let left = self.images().into_iter().filter(|image| overlays.contains(image));
            operations.push(Operation::delete(left.map(|image| image_name(&image))));
        }
        let proof = Proof::read(self).await?;
        match operations.iter().find_map(|operation| proof.against(operation)) {
            Some(why) => refuse(why).map_err(|e| e.during(CHECK_IMAGES)),
            None => Ok(()),
        }
    }

    /// What the machine has and will not have.
    async fn losses(&self, snapshot: &SnapshotInfo, lines: &mut Vec<PlanLine>) -> Result<()> {
        if self.vm.state.is_active() {
            lines.push(PlanLine::new("lose", "memory", self.vm.name.as_str()).note("what the guest does now"));
        }
        for disk in &snapshot.disks {
            lines.push(PlanLine::new("lose", "disk", disk.disk.as_str()).note("what was written to it since"));
        }
        for (name, _) in disks_to_keep(&self.document) {
            if snapshot.disks.iter().all(|disk| disk.disk != *name) {
                lines.push(PlanLine::new("keep", "disk", name.as_str()).note("the snapshot has no state of it"));
            }
        }
        let document = snapshots(self.host)?.definition(&self.vm.id, &snapshot.name).await?;
        let Some(then) = document.inactive_domain.or(document.domain) else { return Ok(()) };
        let now = self.host.hypervisor.definition(&self.vm.id, kvm_core::View::CONFIG).await?;
        let changes = crate::pending::differences(now, *then);
        // Images are told of as disks.
        let changes: Vec<_> = changes.iter().filter(|change| !change.path.contains(".source.")).collect();
        for change in changes.iter().take(SHOWN) {
            lines.push(PlanLine::new("change", "definition", change.path.as_str()).note(words(change)));
        }
        if changes.len() > SHOWN {
            let more = format!("{} more", changes.len() - SHOWN);
            lines.push(PlanLine::new("change", "definition", more));
        }
        Ok(())
    }
}

fn words(change: &kvm_xml::Change) -> String {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{before} becomes {after}"),
        (None, Some(_)) => "comes back".into(),
        _ => "goes".into(),
    }
}
