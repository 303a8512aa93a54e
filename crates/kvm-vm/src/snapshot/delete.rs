//! Deleting snapshots: what is merged into what, and in which order.

use kvm_core::op::{Plan, PlanLine, Step};
use kvm_core::{
    DeviceRef, DiskPath, Error, ErrorKind, Host, Remove, Resource, Result, SnapshotDisk, SnapshotInfo, SnapshotKind,
    SnapshotName, VmSummary,
};

use kvm_image::graph::Operation;

use super::proof::{Proof, name as image_name};
use super::{Subject, image_line, rule};
use crate::block_job::CHECK_IMAGES;
use crate::step::{DeleteSnapshot, Merge, StepSubject, is_gone};

/// Which snapshots go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotScope {
    /// This one.
    This,
    /// This one and all that go on from it.
    Branch,
    /// This one's record; what images and files hold stays.
    Record,
}

/// Plans to delete a snapshot. The machine stays as it is: what was written since an external one goes into the image that
/// was its state. A branch is deleted from its ends.
///
/// There is no way back: the first step is the point of no return.
///
/// `NotFound`; `InvalidState` when another snapshot, machine or overlay would lose its data, or the hypervisor could not
/// take it out from between the others; `NoSpace` when there is no room for the merge.
pub async fn plan_snapshot_delete(
    host: &Host,
    vm: &VmSummary,
    name: &SnapshotName,
    scope: SnapshotScope,
) -> Result<Plan> {
    let subject = Subject::read(host, vm).await?;
    subject.find(name)?;
    let names = match scope {
        SnapshotScope::Branch => rule::branch(name, &subject.all),
        SnapshotScope::This | SnapshotScope::Record => vec![name.clone()],
    };
    let what = if scope == SnapshotScope::Record { Remove::Record } else { Remove::Everything };
    let pools = subject.pools(&subject.own()).await?;
    let (mut lines, mut steps): (Vec<_>, Vec<Box<dyn Step>>) = (Vec::new(), Vec::new());
    let (mut all, mut now) = (subject.all.clone(), subject.now());
    let is_external = |name| subject.find(name).is_ok_and(|snapshot| snapshot.kind() == SnapshotKind::External);
    let proof = match what == Remove::Everything && names.iter().any(is_external) {
        true => Some(Proof::read(&subject).await?),
        false => None,
    };
    for name in &names {
        let Some(snapshot) = all.iter().find(|snapshot| snapshot.name == *name).cloned() else { continue };
        let (mut merges, mut memory) = (Vec::new(), None);
        match what {
            Remove::Record => lines.push(record(&snapshot)),
            Remove::Everything => {
                subject.remove(&snapshot, (&all, &now), proof.as_ref(), &mut lines).await?;
                merges = subject.merges(&snapshot, &all, &now);
                memory.clone_from(&snapshot.memory_file);
            }
        }
        steps.push(Box::new(DeleteSnapshot {
            id: vm.id,
            name: vm.name.clone(),
            snapshot: name.clone(),
            what,
            pools: pools.clone(),
            merges,
            memory,
        }));
        all = rule::without(name, &all, &mut now);
    }
    for child in all.iter().filter(|other| {
        let before = subject.all.iter().find(|was| was.name == other.name);
        before.is_some_and(|was| was.parent.as_ref() == Some(name))
    }) {
        let place =
            child.parent.as_ref().map_or("is the first then".into(), |parent| format!("goes on from {parent} then"));
        lines.push(PlanLine::new("keep", "snapshot", child.name.as_str()).note(place));
    }
    let title = match names.len() {
        1 => format!("delete snapshot {name} of {}", vm.name),
        count => format!("delete snapshot {name} of {} and {} that go on from it", vm.name, count - 1),
    };
    Ok(subject.plan("vm.delete-snapshot", &title, (lines, steps), 0))
}

fn record(snapshot: &SnapshotInfo) -> PlanLine {
    let left = match snapshot.kind() {
        SnapshotKind::Internal => "only the record: what the images hold stays in them",
        SnapshotKind::External => "only the record: its files stay, and the VM goes on in its overlays",
    };
    PlanLine::new("remove", "snapshot", snapshot.name.as_str()).note(left)
}

impl Subject<'_> {
    /// What goes with one snapshot, while these are there and the disks are in these images.
    async fn remove(
        &self,
        snapshot: &SnapshotInfo,
        (all, now): (&[SnapshotInfo], &[rule::Now]),
        proof: Option<&Proof>,
        lines: &mut Vec<PlanLine>,
    ) -> Result<()> {
        let refuse = |why: String| Err(self.refuse(&snapshot.name, "cannot be deleted", why));
        if let Some(why) = rule::against_delete(snapshot, all, now) {
            return refuse(why);
        }
        if self.vm.state.is_active()
            && let (SnapshotKind::Internal, Some(disk)) = (snapshot.kind(), rule::left_behind(snapshot, now))
        {
            return refuse(format!("the VM runs, and its disk {disk} goes on in another image; shut it down first"));
        }
        lines.push(PlanLine::new("remove", "snapshot", snapshot.name.as_str()).note(snapshot.kind().as_str()));
        if snapshot.kind() == SnapshotKind::Internal {
            return Ok(());
        }
        let goes = rule::goes_away(snapshot, all, now);
        let is_merged = rule::is_before_current(snapshot, all);
        let mut operations = Vec::new();
        for disk in snapshot.disks.iter().filter(|_| is_merged) {
            // As the graph knows it: the image that the machine writes to before anything is merged.
            let active = self.now().into_iter().find(|(name, _)| *name == disk.disk).map(|(_, path)| path);
            let active = active.or_else(|| rule::overlay(snapshot, disk, all, now));
            if let (Some(active), Some(base)) = (active, &disk.image)
                && active != *base
                && !is_gone(self.host, &active, base).await?
            {
                operations.push(Operation::Commit { active: image_name(&active), base: image_name(base) });
            }
        }
        if !is_merged {
            operations.push(Operation::delete(goes.iter().map(image_name)));
        }
        if let Some(why) = proof.and_then(|proof| operations.iter().find_map(|operation| proof.against(operation))) {
            return refuse(why).map_err(|e| e.during(CHECK_IMAGES));
        }
        for disk in &snapshot.disks {
            let (Some(image), true) = (&disk.image, is_merged) else { continue };
            let overlay = rule::overlay(snapshot, disk, all, now);
            let is_gone = match &overlay {
                Some(overlay) => is_gone(self.host, overlay, image).await?,
                None => false,
            };
            if is_gone || now.contains(&(disk.disk.clone(), image.clone())) {
                let line = PlanLine::new("keep", "image", image.as_str());
                lines.push(line.note(format!("{} was merged before", disk.disk)));
                continue;
            }
            let line = image_line(self.host, "change", image).await?;
            lines.push(line.note(format!("what was written to {} since goes into it", disk.disk)));
            self.check_room(image, overlay.as_ref()).await?;
        }
        for path in goes.iter().chain(&snapshot.memory_file) {
            lines.push(image_line(self.host, "remove", path).await?);
        }
        Ok(())
    }

    /// What goes into which image.
    fn merges(&self, snapshot: &SnapshotInfo, all: &[SnapshotInfo], now: &[rule::Now]) -> Vec<Merge> {
        if snapshot.kind() == SnapshotKind::Internal || !rule::is_before_current(snapshot, all) {
            return Vec::new();
        }
        let merge = |disk: &SnapshotDisk| {
            let (overlay, base) = (rule::overlay(snapshot, disk, all, now)?, disk.image.clone()?);
            let device = DeviceRef::Disk(disk.disk.clone());
            Some(Merge { disk: StepSubject { id: self.vm.id, name: self.vm.name.clone(), device }, overlay, base })
        };
        snapshot.disks.iter().filter_map(merge).collect()
    }

    /// Whether what an overlay holds fits into the image below, at worst beside what is there.
    async fn check_room(&self, image: &DiskPath, overlay: Option<&DiskPath>) -> Result<()> {
        let Some(overlay) = overlay else { return Ok(()) };
        let (Ok(base), Ok(above)) =
            (self.host.storage.volume_at(image).await, self.host.storage.volume_at(overlay).await)
        else {
            return Ok(());
        };
        let pool = self.host.storage.find_pool(&base.pool).await?;
        let room = base.capacity.saturating_sub(base.allocation);
        let needed = above.allocation.min(room);
        match pool.available {
            Some(free) if free < needed => {
                Err(Error::new(ErrorKind::NoSpace, format!("not enough space in pool {} to merge", pool.name))
                    .on(Resource::Pool(pool.name.as_str().to_owned()))
                    .during("delete-snapshot")
                    .with_detail(format!("asked {needed}, free {free}")))
            }
            _ => Ok(()),
        }
    }
}
