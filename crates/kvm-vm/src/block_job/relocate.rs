//! Moving a disk to another pool.

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{Bandwidth, Error, ErrorKind, Host, PoolName, Resource, Result, VmSummary, VolumeName};
use kvm_image::graph::{Access, User};
use kvm_xml::value::DiskName;

use super::{CHECK_IMAGES, OldImages, Target, name};
use crate::create::disk::{Disk, Wanted, named, resolve};
use crate::place::{Places, volume_name};
use crate::policy::PlanContext;
use crate::spec::{DiskOptions, DiskSource, DiskSpec, VolumeFormat, VolumeRef};
use crate::step::{CopyImage, CopyVolume, CreateVolume, Mirror, Place, UseImage};
use crate::volume::{Sharing, content};

/// A disk that goes to another pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskMove {
    /// Which disk.
    pub target: DiskName,
    /// Where to.
    pub pool: PoolName,
    /// The name of the new volume; that of the old one, where it is free, if left out.
    pub name: Option<VolumeName>,
    /// The form of the new volume; as now if left out.
    pub format: Option<VolumeFormat>,
    /// What becomes of the old image.
    pub old: OldImages,
    /// How fast it may go, of a machine that runs.
    pub speed: Bandwidth,
    /// Allows a volume that grows to promise more than its pool has.
    pub allow_overcommit: bool,
}

impl DiskMove {
    /// A move to this pool, after which the old image is deleted.
    #[must_use]
    pub fn new(target: DiskName, pool: PoolName) -> Self {
        Self {
            target,
            pool,
            name: None,
            format: None,
            old: OldImages::Delete,
            speed: Bandwidth::UNLIMITED,
            allow_overcommit: false,
        }
    }
}

/// Plans to move a disk to another pool: while its machine runs, by a job of its hypervisor; else by a copy that the host
/// makes, after which the machine is configured to use that.
///
/// The new image is complete: what the old one took from below is copied, too. Until the machine goes over to it, the move
/// can be taken back, and the new volume is deleted. The old image goes last, and only when nobody else uses it.
///
/// `InvalidState` when a saved state would not fit any more, when a snapshot or checkpoint would stay behind, when another
/// machine writes to the image, or when the pool takes the image for something else than the machine does; `InvalidInput`
/// for a speed when the machine is off; `NotFound`, `NoSpace` and `AlreadyExists` about the new volume.
pub async fn plan_disk_move(host: &Host, vm: &VmSummary, wanted: &DiskMove, cx: &PlanContext<'_>) -> Result<Plan> {
    let host_info = host.hypervisor.capabilities().await?;
    let target = Target::read(host, vm, &wanted.target).await?;
    target.check_alone()?;
    let is_active = vm.state.is_active();
    if !is_active {
        target.check_copyable(wanted.speed)?;
    }
    let new = target.new_image(wanted, cx).await?;
    let Some(create) = new.new_volume() else { return Err(Error::internal("a new volume was asked for")) };
    let to = Place { path: new.at.host_path()?.clone(), format: new.format.to_string(), is_block: new.at.is_device() };
    let locks = [LockKey::volume(host_info.host_key(), &create.pool, &create.volume)];

    let (kind, shown) = target.shown(&target.image.path);
    let how = match (is_active, target.below()?.is_empty()) {
        (true, _) => ", while it runs",
        (false, true) => "",
        (false, false) => ", with all that it lies upon",
    };
    let copy = PlanLine::new("copy", "disk", wanted.target.as_str()).note(format!("from {kind} {shown}{how}"));
    let lines = vec![new.line(&target.graph), copy];
    let (steps, reversible) =
        if is_active { (target.mirror(create, to, wanted.speed), 2) } else { (target.copy(host, create, to)?, 1) };
    let mut parts = (lines, steps);
    target.leave(std::slice::from_ref(&target.image.path), wanted.old, &mut parts);
    let title = format!("move disk {} of {} to pool {}", wanted.target, vm.name, wanted.pool);
    let mut plan = target.subject.plan("vm.move-disk", title, &host_info, parts, reversible);
    plan.locks.extend(locks);
    Ok(plan)
}

impl Target<'_> {
    /// The steps while the machine runs.
    fn mirror(&self, create: CreateVolume, to: Place, speed: Bandwidth) -> Vec<Box<dyn Step>> {
        let (disk, from) = (self.step_subject(), self.image.path.clone());
        let mirror = Mirror { disk, from, to: to.clone(), is_commit: false, speed };
        vec![Box::new(create.for_a_copy()), Box::new(mirror), Box::new(self.pivot(to))]
    }

    /// The steps while it is off.
    fn copy(&self, host: &Host, create: CreateVolume, to: Place) -> Result<Vec<Box<dyn Step>>> {
        content(host)?;
        let old = self.graph.volume_at(self.image.path.as_str());
        let old = old.ok_or_else(|| Error::internal("only volumes move"))?;
        let original = VolumeRef { pool: old.pool.clone(), volume: old.name.clone() };
        let copy = CopyVolume {
            from: original.clone(),
            volume: VolumeRef { pool: create.pool, volume: create.volume },
            size: create.size,
            document: create.document,
            sharing: Sharing::Auto,
        };
        let (disk, from, new) = (self.step_subject(), self.image.path.clone(), copy.volume.clone());
        let copy = CopyImage { disk: disk.clone(), copy };
        Ok(vec![Box::new(copy), Box::new(UseImage { disk, original, from, copy: new, to })])
    }

    /// Refuses what only a job of a running machine could do, or what a copy by the host would get wrong.
    fn check_copyable(&self, speed: Bandwidth) -> Result<()> {
        let on = Resource::Vm(self.vm.name.as_str().to_owned());
        if speed != Bandwidth::UNLIMITED {
            let message = format!("VM {} is {}, and its host copies as fast as it can", self.vm.name, self.vm.state);
            return Err(Error::invalid("speed", message).with_detail("leave the speed out, or start the VM first"));
        }
        if self.vm.has_saved_state {
            let message =
                format!("VM {} is {}, and its saved state needs the disk where it is", self.vm.name, self.vm.state);
            return Err(Error::new(ErrorKind::InvalidState, message).on(on).with_detail("start it first"));
        }
        // A guest can write any header into its disk, and a host that copies goes by the header that its pool has found.
        let found = self.graph.volume_at(self.image.path.as_str()).and_then(|volume| volume.format.as_deref());
        match found {
            None => Ok(()),
            Some("iso") if self.image.format == "raw" => Ok(()),
            Some(found) if found == self.image.format => Ok(()),
            Some(found) => Err(Error::new(
                ErrorKind::InvalidState,
                format!(
                    "{} is {} for VM {}, and {found} for its pool",
                    self.image.path, self.image.format, self.vm.name
                ),
            )
            .on(on)
            .with_detail("the VM's own view counts: start it, and move the disk while it runs")),
        }
    }

    /// Refuses to leave behind what belongs to the image, or somebody who writes to it as well.
    fn check_alone(&self) -> Result<()> {
        let graph = self.graph.graph();
        let own = User::vm(self.vm.name.as_str(), self.disk.as_str());
        let image = graph.find(&name(&self.image.path)).map(|at| &graph.images()[at]);
        let others = image.iter().flat_map(|image| &image.users).filter(|(user, _)| **user != own);
        let stay = others.filter(|(user, access)| user.owner() == self.vm.name.as_str() || **access != Access::Read);
        let stay: Vec<_> = stay.map(|(user, _)| user.to_string()).collect();
        if stay.is_empty() {
            return Ok(());
        }
        let message = format!("disk {} of {} cannot move: others need its image where it is", self.disk, self.vm.name);
        Err(Error::new(ErrorKind::InvalidState, message)
            .on(Resource::Vm(self.vm.name.as_str().to_owned()))
            .during(CHECK_IMAGES)
            .with_detail(stay.join("\n")))
    }

    /// The volume that is to take the disk.
    async fn new_image(&self, wanted: &DiskMove, cx: &PlanContext<'_>) -> Result<Disk> {
        let (host, path) = (self.host, &self.image.path);
        let places = Places::read(host, &cx.policy.allowed_paths).await?;
        let pool = places.pool(wanted.pool.as_str())?;
        let Some(volume) = self.graph.volume_at(path.as_str()) else {
            return Err(Error::invalid("target", format!("the image {path} is in no active pool"))
                .with_detail("only volumes move; make a pool of its directory first, or refresh the one that has it"));
        };
        if volume.pool == wanted.pool && wanted.name.is_none() {
            return Err(Error::invalid("pool", format!("{} is in pool {} already", volume_name(volume), wanted.pool)));
        }
        let format = match wanted.format {
            _ if Places::is_block(pool) => None,
            Some(format) => Some(format),
            None if self.image.format == "raw" => Some(VolumeFormat::Raw),
            None => Some(VolumeFormat::Qcow2),
        };
        // The name says the form often enough, so another form gets another name.
        let keeps_form = format.is_some_and(|format| format.as_str() == self.image.format);
        let is_free = async |name: &VolumeName| matches!(host.storage.find_volume(&wanted.pool, name).await, Err(e) if e.kind() == ErrorKind::NotFound);
        let name = match &wanted.name {
            Some(name) => Some(name.clone()),
            None if keeps_form && is_free(&volume.name).await => Some(volume.name.clone()),
            None => None,
        };
        let source =
            DiskSource::New { pool: Some(wanted.pool.clone()), name, size: volume.capacity, format, encrypt: None };
        let spec = DiskSpec { source, bus: None, cache: None, options: DiskOptions::default() };
        let spec = named(host, &self.vm.name, &spec, &places, cx.policy).await?;
        let wanted = Wanted {
            vm: &self.vm.name,
            disks: &[spec],
            graph: &self.graph,
            overcommit: wanted.allow_overcommit,
            entropy: cx.entropy,
        };
        let mut disks = resolve(host, &wanted, &places, cx.policy).await?;
        disks.pop().ok_or_else(|| Error::internal("one disk was asked for"))
    }
}
