//! Moving a disk to another pool.

use kvm_core::op::{Plan, PlanLine, Step};
use kvm_core::{Bandwidth, Error, ErrorKind, Host, PoolName, Resource, Result, VmSummary, VolumeName};
use kvm_image::graph::{Access, User};
use kvm_xml::value::DiskName;

use super::{CHECK_IMAGES, OldImages, Target, name};
use crate::create::disk::{Disk, Wanted, named, resolve};
use crate::place::{Places, volume_name};
use crate::policy::PlanContext;
use crate::spec::{DiskSource, DiskSpec, VolumeFormat};
use crate::step::{Mirror, Place};

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
    /// How fast it may go.
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

/// Plans to move a disk to another pool, while its machine runs.
///
/// The new image is complete: what the old one took from below is copied, too. Until the machine goes over to it, the move
/// can be taken back, and the new volume is deleted. The old image goes last, and only when nobody else uses it.
///
/// `InvalidState` when the machine is off, when a snapshot or checkpoint would stay behind, or when another machine writes
/// to the image; `NotFound`, `NoSpace` and `AlreadyExists` about the new volume.
pub async fn plan_disk_move(host: &Host, vm: &VmSummary, wanted: &DiskMove, cx: &PlanContext<'_>) -> Result<Plan> {
    let host_info = host.hypervisor.capabilities().await?;
    let target = Target::read(host, vm, &wanted.target).await?;
    target.check_active()?;
    target.check_alone()?;
    let new = target.new_image(wanted, cx).await?;
    let Some(create) = new.new_volume() else { return Err(Error::internal("a new volume was asked for")) };
    let to = Place { path: new.path.clone(), format: new.format.to_string(), is_block: new.is_block };

    let (kind, shown) = target.shown(&target.image.path);
    let mut lines = vec![new.line(&target.graph)];
    lines.push(
        PlanLine::new("copy", "disk", wanted.target.as_str()).note(format!("from {kind} {shown}, while it runs")),
    );
    let mirror = Mirror {
        disk: target.step_subject(),
        from: target.image.path.clone(),
        to: to.clone(),
        is_commit: false,
        speed: wanted.speed,
    };
    let steps: Vec<Box<dyn Step>> = vec![Box::new(create.for_a_copy()), Box::new(mirror), Box::new(target.pivot(to))];
    let mut parts = (lines, steps);
    target.leave(std::slice::from_ref(&target.image.path), wanted.old, &mut parts);
    let title = format!("move disk {} of {} to pool {}", wanted.target, vm.name, wanted.pool);
    Ok(target.subject.plan("vm.move-disk", title, &host_info, parts, 2))
}

impl Target<'_> {
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
        let source = DiskSource::New { pool: Some(wanted.pool.clone()), name, size: volume.capacity, format };
        let spec = named(host, &self.vm.name, &DiskSpec { source, bus: None, cache: None }, &places, cx.policy).await?;
        let wanted =
            Wanted { vm: &self.vm.name, disks: &[spec], graph: &self.graph, overcommit: wanted.allow_overcommit };
        let mut disks = resolve(host, &wanted, &places, cx.policy).await?;
        disks.pop().ok_or_else(|| Error::internal("one disk was asked for"))
    }
}
