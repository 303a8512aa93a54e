//! A clone that lies upon the images of its original, which nobody writes to from then on.

use async_trait::async_trait;
use kvm_core::op::{Already, LockKey, Peer, PlanLine, Probe, Step, StepContext};
use kvm_core::{
    DiskPath, Entropy, Error, ErrorKind, Host, Quiesce, Remove, Resource, Result, Secrets, SnapshotKind, SnapshotName,
    Snapshots, View, VmId, VmName, VmState, VmSummary,
};
use kvm_vm::{
    Arrival, CreatePlan, KeepMemory, PlanContext, SnapshotCreate, plan_arrival, plan_snapshot, reserve_volume,
};
use kvm_xml::StorageVolume;
use kvm_xml::rewrite::{Content, Copy, Facts, Location, Policy, Request, policy, rewrite};
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeBackingStore, VolumeFormat, VolumeFormatType, VolumeTarget};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clone::ClonePlan;
use crate::facts::{attached, facts, refused};
use crate::place::{self, Own};
use crate::route::{Route, Way};
use crate::spec::CloneSpec;
use crate::step::{Ends, to_json, unless_gone};
use crate::survey::Survey;
use crate::tally::Tally;
use crate::tpm::check_still;
use crate::work::Work;
use crate::{WhileRunning, moment};

/// Plans a linked clone: another machine on the same host that takes only the room of what it writes.
///
/// The original's images are frozen as they are: it goes on in overlays, as with an external snapshot, and so does the
/// clone. Neither writes to what lies below both, so the original may run, be started, or be deleted. No record of a
/// snapshot stays, for one could be merged into what the clone lies upon. Each linked clone makes the original's chain one
/// image longer; pulling a disk makes it whole again.
///
/// `InvalidState` with snapshots, a saved state, or disks that run otherwise than they are configured; `InvalidInput` for
/// what has no meaning here: limits, and a machine to be replaced. Otherwise as [`plan_clone`](crate::plan_clone).
pub async fn plan_linked_clone(
    host: &Host,
    vm: &VmSummary,
    spec: &CloneSpec,
    cx: &PlanContext<'_>,
) -> Result<ClonePlan> {
    Box::pin(draw_up(host, vm, spec, cx)).await
}

async fn draw_up(host: &Host, vm: &VmSummary, spec: &CloneSpec, cx: &PlanContext<'_>) -> Result<ClonePlan> {
    let attached = attached(host, vm).await?;
    check(vm, spec, attached.snapshots + attached.checkpoints)?;
    if vm.state.is_active() {
        moment::check_same_images(host, vm).await?;
    }
    let secrets = if spec.keep_passwords { Secrets::Show } else { Secrets::Hide };
    let mut survey = Survey::of(host, host, vm, View { secrets, ..View::CONFIG }).await?;
    let default = cx.policy.default_pool()?;
    let images = place::images(&mut survey, spec.pool.as_ref(), &default).await?;
    if images.is_empty() {
        let message = format!("VM {} has no disk that a clone could lie upon", vm.name);
        return Err(Error::new(ErrorKind::Unsupported, message)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail("clone it as it is: without --linked"));
    }
    check_still(vm, &survey.document, spec)?;
    let policy = Policy { chain: policy::Chain::Overlay, ..spec.policy() };
    let mut rewritten = {
        let taken = |path: &str| survey.volumes.contains(path);
        let locate = |request: &Request<'_>| overlay(place::locate(&images, taken, request)?, taken);
        let mut facts = Facts { attached, locate: Box::new(locate), ..facts(&survey, &images, spec, cx) };
        rewrite(&survey.document, &policy, &mut facts).map_err(|e| refused(&e))?
    };
    let name = VmName::parse(rewritten.domain.name.as_deref().unwrap_or_default())?;
    let (frozen, frozen_plan) = freeze(host, vm, cx.entropy).await?;
    let here = Peer::of(&survey.here);
    let ends = Ends { source: here.clone(), target: here.clone() };
    let mut work = Work::new(&survey, &images, (&ends, &Route::SameHost), spec, Tally::default());
    work.lines = frozen_plan.lines.into_iter().filter(|line| line.kind != "snapshot").collect();
    work.steps = frozen_plan.steps;
    work.tpm_of_clone(vm, &mut rewritten).await?;
    for copy in &rewritten.copies {
        match (copy.content, images.get(&copy.from)) {
            (Content::Disk, Some(own)) => upon(&mut work, copy, own)?,
            _ => work.copy(copy).await?,
        }
    }
    let Work { mut lines, steps, placed, .. } = work;
    let note = |text: String| PlanLine::new("note", "domain", name.as_str()).note(text);
    lines.extend(rewritten.warnings.iter().map(|warning| note(warning.to_string())));
    let (kind, verb) = ("clone.linked", "clone");
    let arrival = Arrival { kind, verb, document: rewritten.domain, start: spec.start, images: placed, lines, steps };
    let CreatePlan { mut plan, document, id } = plan_arrival(host, arrival, cx).await?;
    // The point of no return is before this step, or before the start: what a clone lies upon stays frozen.
    plan.steps.push(Box::new(StayFrozen { host: here, id: vm.id, name: vm.name.clone(), snapshot: frozen }));
    plan.title = format!("clone {} to {name} on {}, linked", vm.name, survey.there.target);
    plan.locks.push(LockKey { host: survey.here.host_key(), vm: vm.id });
    let (changes, warnings) = (rewritten.changes, rewritten.warnings);
    Ok(ClonePlan { plan, document, name, id, changes, warnings, way: Way::SameHost, replaced: None })
}

fn check(vm: &VmSummary, spec: &CloneSpec, records: usize) -> Result<()> {
    let refuse = |why: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, why)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    if spec.replace.is_some() {
        return Err(Error::invalid("replace", "a linked clone takes no machine's place").with_detail("leave it out"));
    }
    if !vm.persistent {
        return refuse(format!("VM {} is gone when it stops", vm.name), "clone it as it is: without --linked");
    }
    if vm.has_saved_state || vm.state == VmState::Saved {
        let fix = "start it, and clone it while it runs or when it is off";
        return refuse(format!("VM {} is saved: its disks alone are not all of it", vm.name), fix);
    }
    if vm.state.is_active() && spec.running == WhileRunning::Refuse {
        return refuse(
            format!("VM {} is {}", vm.name, vm.state),
            "shut it down first, or have it cloned while it runs",
        );
    }
    if records > 0 {
        let why = format!("VM {} has snapshots, which could be merged into what the clone lies upon", vm.name);
        return refuse(why, "delete them first: kvmctl snap delete; or clone it as it is: without --linked");
    }
    Ok(())
}

/// The overlay of a raw image is none.
fn overlay(place: Location, taken: impl Fn(&str) -> bool) -> Option<Location> {
    let Location::File(path) = &place else { return Some(place) };
    let stem = [".raw", ".img"].iter().find_map(|ending| path.strip_suffix(ending));
    let Some(stem) = stem else { return Some(place) };
    let numbers = (0..).map(|number| if number == 0 { String::new() } else { format!("-{number}") });
    numbers.map(|number| format!("{stem}{number}.qcow2")).find(|path| !taken(path)).map(Location::File)
}

/// An external snapshot of the original, by which its present images are written to no more.
async fn freeze(host: &Host, vm: &VmSummary, entropy: &dyn Entropy) -> Result<(SnapshotName, kvm_core::op::Plan)> {
    let answers = match host.hypervisor.guest() {
        Some(guest) => vm.state == VmState::Running && guest.ping_agent(&vm.id).await.is_ok(),
        None => false,
    };
    let part = entropy.uuid().simple().to_string();
    let name = SnapshotName::parse(&format!("linked-{}", &part[..8]))?;
    let wanted = SnapshotCreate {
        name: name.clone(),
        description: None,
        kind: Some(SnapshotKind::External),
        memory: KeepMemory::No,
        quiesce: if answers { Quiesce::Yes } else { Quiesce::No },
    };
    Ok((name, plan_snapshot(host, vm, &wanted).await?))
}

/// The clone's image upon that of the original.
fn upon(work: &mut Work<'_>, copy: &Copy, own: &Own) -> Result<()> {
    let to = place::reference(&own.pool, &copy.to)?;
    let (Location::File(path) | Location::Block(path)) = &copy.to else {
        return Err(Error::internal("an overlay has no path"));
    };
    work.placed.push(DiskPath::adopt(path)?);
    let format = match own.volume.format.as_deref() {
        Some("qcow2") => VolumeFormatType::Qcow2,
        Some("raw") | None => VolumeFormatType::Raw,
        Some(other) => {
            return Err(Error::new(ErrorKind::Unsupported, format!("images of format {other} get no overlay"))
                .on(Resource::Field("format".into()))
                .with_detail("clone it as it is: without --linked"));
        }
    };
    let named = |format| Some(VolumeFormat { r#type: Some(format), ..VolumeFormat::default() });
    let document = StorageVolume {
        name: Some(to.volume.as_str().to_owned()),
        capacity: Some(Size::from_bytes(own.volume.capacity.get())),
        allocation: Some(Size::from_bytes(0)),
        target: Some(VolumeTarget { format: named(VolumeFormatType::Qcow2), ..VolumeTarget::default() }),
        backing_store: Some(VolumeBackingStore {
            path: Some(own.volume.host_path()?.as_str().to_owned()),
            format: named(format),
            ..VolumeBackingStore::default()
        }),
        ..StorageVolume::default()
    };
    let below = format!("upon {}, {}", own.volume.host_path()?, own.volume.capacity);
    work.lines.push(PlanLine::new("create", "volume", to.as_text()).note(below));
    work.steps.push(reserve_volume(to, own.volume.capacity, &document));
    Ok(())
}

/// Forgets the record of the snapshot by which the original's images were frozen: nobody can merge it any more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StayFrozen {
    pub(crate) host: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) snapshot: SnapshotName,
}

impl StayFrozen {
    pub(crate) const NAME: &'static str = "stay-frozen";
}

#[async_trait]
impl Step for StayFrozen {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("have {} go on in its overlays on {}", self.name, self.host)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let host = cx.peer(&self.host).await?;
        let all = match snapshots(&host)?.list(&self.id).await {
            // The original may be deleted by then.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Probe::Done),
            all => all?,
        };
        let is_there = all.iter().any(|snapshot| snapshot.name == self.snapshot);
        Ok(if is_there { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let host = cx.peer(&self.host).await?;
        unless_gone(snapshots(&host)?.delete(&self.id, &self.snapshot, Remove::Record).await)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("images that a clone lies upon stay as they are"))
    }
}

fn snapshots(host: &Host) -> Result<&dyn Snapshots> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host takes no snapshots");
    host.hypervisor.snapshots().ok_or_else(missing)
}
