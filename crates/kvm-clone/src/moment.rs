//! A moment of a machine that runs, held still while its images are copied.

use std::collections::BTreeMap;

use kvm_core::op::{Plan, PlanLine, Step};
use kvm_core::{
    Consistency, Description, Entropy, Error, ErrorKind, Host, Quiesce, Resource, Result, SnapshotKind, SnapshotName,
    View, VmState, VmSummary, disks_to_keep,
};
use kvm_vm::{COPYING, at_peer, check_not_copied, checkpoints, plan_hold};
use kvm_xml::domain::Disk;
use kvm_xml::value::DiskName;

use crate::spec::{Track, WhileRunning};
use crate::step::{Ends, ForgetTracks, ReleaseMoment, TRACK, TrackChanges};

/// A snapshot for the time of a copy.
#[derive(Debug)]
pub(crate) struct MomentPlan {
    pub(crate) name: SnapshotName,
    description: Description,
    pub(crate) plan: Plan,
    pub(crate) line: PlanLine,
    /// In what order the file systems are.
    pub(crate) consistency: Consistency,
    /// A checkpoint that is made first, and those of earlier copies, which go afterwards.
    track: Option<(SnapshotName, Vec<SnapshotName>)>,
}

impl MomentPlan {
    /// Steps with those around them that take the moment and give it up.
    pub(crate) fn around(
        self,
        ends: &Ends,
        vm: &VmSummary,
        steps: impl IntoIterator<Item = Box<dyn Step>>,
    ) -> Vec<Box<dyn Step>> {
        let (source, id, name) = (|| ends.source.clone(), vm.id, || vm.name.clone());
        let mut all: Vec<Box<dyn Step>> = Vec::new();
        let description = Some(self.description.as_str().to_owned());
        let release = ReleaseMoment { ends: ends.clone(), id, name: name(), snapshot: self.name, description };
        let mut after: Vec<Box<dyn Step>> = vec![Box::new(release)];
        if let Some((checkpoint, old)) = self.track {
            // What is written in between is remembered, and in the copy as well.
            all.push(Box::new(TrackChanges { source: source(), id, name: name(), checkpoint }));
            if !old.is_empty() {
                after.push(Box::new(ForgetTracks { source: source(), id, name: name(), old }));
            }
        }
        all.extend(self.plan.steps.into_iter().map(|step| at_peer(source(), step)));
        all.extend(steps);
        all.extend(after);
        all
    }
}

/// How the images of a machine lie still: `None` when they do anyway.
///
/// `InvalidState` when they cannot, `Busy` when somebody else copies the machine.
pub(crate) async fn hold(
    source: &Host,
    vm: &VmSummary,
    (running, track): (WhileRunning, Track),
    entropy: &dyn Entropy,
) -> Result<Option<MomentPlan>> {
    let refuse = |why: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, why)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    // First, and also of one that is off: its top image may be the overlay of a hold, which does not stay.
    check_not_copied(source, vm).await?;
    if vm.has_saved_state || vm.state == VmState::Saved {
        return refuse(
            format!("VM {} is saved: its disks alone are not all of it", vm.name),
            "start it, and copy it while it runs or when it is off",
        );
    }
    if !vm.state.is_active() {
        return Ok(None);
    }
    if running == WhileRunning::Refuse {
        return refuse(
            format!("VM {} is {}", vm.name, vm.state),
            "shut it down first, or have it copied while it runs",
        );
    }
    check_same_images(source, vm).await?;
    if let Some(internal) = current_internal(source, vm).await? {
        return refuse(
            format!(
                "VM {} is at snapshot {internal}, which is internal: one on top of it could not be merged again",
                vm.name
            ),
            "delete that snapshot, or shut the VM down first: one that is off is copied as it is",
        );
    }
    let answers = match source.hypervisor.guest() {
        Some(guest) => vm.state == VmState::Running && guest.ping_agent(&vm.id).await.is_ok(),
        None => false,
    };
    let quiesce = if answers { Quiesce::Yes } else { Quiesce::No };
    let (name, token) = (SnapshotName::parse(COPYING)?, entropy.uuid().simple().to_string());
    let token = format!("kvm-manager-copy-{}", &token[..8]);
    let description = Description::parse(&format!("held while its disks are copied ({token})"))?;
    let held = plan_hold(source, vm, quiesce, description.clone(), &token).await;
    let plan = held.map_err(|e| match (e.kind(), e.detail()) {
        (ErrorKind::Busy, _) | (_, Some(_)) => e,
        (_, None) => e.with_detail("shut it down first: a VM that is off is copied as it is"),
    })?;
    let how = match quiesce {
        Quiesce::Yes => "its file systems in order (application-consistent)",
        Quiesce::No => "no agent answers: as after a power cut (crash-consistent)",
    };
    let line = PlanLine::new("hold", "moment", vm.name.as_str())
        .note(format!("by snapshot {name}, {how}; merged again afterwards"));
    let consistency = if answers { Consistency::Application } else { Consistency::Crash };
    let track = match track {
        Track::Yes => Some(tracked(source, vm, entropy).await?),
        Track::No => None,
    };
    let line = match track {
        Some(_) => PlanLine {
            note: line.note.map(|note| format!("{note}; what is written from then on is remembered")),
            ..line
        },
        None => line,
    };
    Ok(Some(MomentPlan { name, description, plan, line, consistency, track }))
}

/// A name for a checkpoint, and the checkpoints of earlier copies.
async fn tracked(source: &Host, vm: &VmSummary, entropy: &dyn Entropy) -> Result<(SnapshotName, Vec<SnapshotName>)> {
    let all = checkpoints(source)?.list(&vm.id).await?;
    let (ours, others): (Vec<_>, Vec<_>) =
        all.into_iter().map(|checkpoint| checkpoint.name).partition(|name| name.as_str().starts_with(TRACK));
    if let Some(other) = others.first() {
        return Err(Error::new(
            ErrorKind::InvalidState,
            format!("VM {} has checkpoint {other}, which another tool goes by", vm.name),
        )
        .on(Resource::Field("track".into()))
        .with_detail("leave track out, or delete that one first: kvmctl checkpoint delete"));
    }
    Ok((SnapshotName::parse(&format!("{TRACK}{}", entropy.uuid().simple()))?, ours))
}

/// `InvalidState` when a machine runs with other images than its definition says, from which copies are made.
pub(crate) async fn check_same_images(source: &Host, vm: &VmSummary) -> Result<()> {
    let Some(disk) = other_image(source, vm).await? else { return Ok(()) };
    let message =
        format!("VM {} runs with another {disk} than it is configured with: the copy would not be what runs", vm.name);
    Err(Error::new(ErrorKind::InvalidState, message)
        .on(Resource::Vm(vm.name.as_str().to_owned()))
        .with_detail("see kvmctl vm pending; power-cycle it, or make both the same"))
}

/// The first disk that a running machine has otherwise than its definition says.
async fn other_image(source: &Host, vm: &VmSummary) -> Result<Option<String>> {
    if !vm.persistent {
        return Ok(None);
    }
    let images = async |view| {
        let document = source.hypervisor.definition(&vm.id, view).await?;
        let image = |(name, disk): (&DiskName, &Disk)| {
            let place = disk.source.as_ref().map(|it| [&it.file, &it.dev, &it.pool, &it.volume].map(Clone::clone));
            (name.to_string(), place)
        };
        Ok::<BTreeMap<_, _>, Error>(disks_to_keep(&document).map(image).collect())
    };
    let (live, configured) = (images(View::LIVE).await?, images(View::CONFIG).await?);
    let differs = |name: &&String| live.get(*name) != configured.get(*name);
    Ok(live.keys().chain(configured.keys()).find(differs).cloned())
}

/// The snapshot that a machine is at, if the images themselves hold it.
async fn current_internal(source: &Host, vm: &VmSummary) -> Result<Option<SnapshotName>> {
    let Some(snapshots) = source.hypervisor.snapshots() else { return Ok(None) };
    let all = snapshots.list(&vm.id).await?;
    let current = all.into_iter().find(|snapshot| snapshot.current && snapshot.kind() == SnapshotKind::Internal);
    Ok(current.map(|snapshot| snapshot.name))
}
