//! Disks that are plugged in and out, and grow.

use std::time::Duration;

use kvm_core::op::{PlanLine, Step};
use kvm_core::{
    Bytes, Device, DeviceRef, DiskLimits, DiskPath, Error, ErrorKind, Host, Impact, IoThread, PoolName, Resize,
    Resource, Result, VmSummary, VolumeInfo, VolumeName, Which,
};
use kvm_xml::Domain;
use kvm_xml::domain::{ControllerType, DeviceBoot, Disk as XmlDisk, DiskBus, DiskDevice};
use kvm_xml::value::DiskName;

use super::{AttachPlan, DETACH_TIMEOUT, Found, Subject, facet};
use crate::build::device::{bus, hard_disk};
use crate::chain::{disk_graph, volume_key};
use crate::copying::check_not_copied;
use crate::create::disk::{Wanted, named, resolve};
use crate::delete::{ON_THE_NETWORK, Volumes};
use crate::place::Places;
use crate::policy::PlanContext;
use crate::secret::{self, NewSecret};
use crate::spec::{DiskOptions, DiskSpec, ImageRef, VolumeRef};
use crate::step::{AddIoThread, AttachDevice, DeleteVolume};
use crate::usage::users;
use crate::volume::resize_volume;

/// A disk that a machine is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskAttach {
    /// What holds its data, and how it is plugged in; on the virtio bus unless it says otherwise.
    pub disk: DiskSpec,
    /// What it is called; the first free name of its bus if left out.
    pub target: Option<DiskName>,
    /// Which documents it goes into; all that there are if left out.
    pub impact: Option<Impact>,
    /// Allows a volume that grows to promise more than its pool has.
    pub allow_overcommit: bool,
}

/// A disk that is taken out of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskDetach {
    /// Which.
    pub target: DiskName,
    /// Which documents it is taken out of; all that there are if left out.
    pub impact: Option<Impact>,
    /// What becomes of its volume.
    pub volume: Volumes,
    /// How long a running guest has to give it up.
    pub timeout: Duration,
}

impl DiskDetach {
    /// Takes the disk out of all documents and keeps its volume.
    #[must_use]
    pub fn new(target: DiskName) -> Self {
        Self { target, impact: None, volume: Volumes::Keep, timeout: DETACH_TIMEOUT }
    }
}

/// Plans a disk for a machine: its volume if it is a new one, and plugging it in.
///
/// Everything that can be checked is, before anything is written: that the pool is active and has room, that an existing
/// image lies where images may lie and is not this machine's already, that the target is free in both documents, and that
/// the bus can take a disk while the machine runs. A new volume is deleted again when the disk cannot be plugged in.
///
/// `InvalidState` when a document that is to change is not there; `AlreadyExists`, `NotFound`, `NoSpace`, `InvalidInput`
/// name what is taken, missing, full or wrong; `Unsupported` for a bus without hotplug.
pub async fn plan_disk_attach(
    host: &Host,
    vm: &VmSummary,
    wanted: &DiskAttach,
    cx: &PlanContext<'_>,
) -> Result<AttachPlan> {
    let host_info = host.hypervisor.capabilities().await?;
    facet(host)?;
    check_not_copied(host, vm).await?;
    let subject = Subject::read(host, vm, wanted.impact).await?;
    let bus = wanted.disk.bus.map_or(DiskBus::Virtio, bus);
    subject.check_bus(bus)?;
    let target = subject.choose_target(wanted.target.as_ref(), bus)?;
    subject.check_boot(&wanted.disk.options)?;
    let thread = wanted.disk.options.iothread.and_then(|thread| subject.new_iothread(thread));

    let places = Places::read(host, &cx.policy.allowed_paths).await?;
    let usage = disk_graph(host).await?;
    let spec = named(host, &vm.name, &wanted.disk, &places, cx.policy).await?;
    let wanted = Wanted {
        vm: &vm.name,
        disks: &[spec],
        graph: &usage,
        overcommit: wanted.allow_overcommit,
        entropy: cx.entropy,
    };
    let disks = resolve(host, &wanted, &places, cx.policy).await?;
    let [disk] = disks.as_slice() else { return Err(Error::internal("one disk was asked for")) };
    if usage.users(&disk.at.key(), None).machines.iter().any(|machine| machine == vm.name.as_str()) {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("VM {} uses {} already", vm.name, disk.at))
            .on(Resource::Field("disk".into())));
    }

    let document = Device::Disk(Box::new(hard_disk(disk, target.clone(), bus)));
    let key = DeviceRef::Disk(target.clone());
    let mut lines: Vec<_> = disk.new_secret().map(NewSecret::line).into_iter().collect();
    lines.push(disk.line(&usage));
    lines.extend(thread.as_ref().map(|step| PlanLine::new("add", "iothread", step.thread.to_string())));
    lines.push(subject.line("attach", "disk", target.as_str(), bus.as_str()));
    let mut steps: Vec<Box<dyn Step>> = disk.new_secret().into_iter().flat_map(NewSecret::steps).collect();
    steps.extend(disk.new_volume().map(|step| Box::new(step) as Box<dyn Step>));
    steps.extend(thread.map(|step| Box::new(step) as Box<dyn Step>));
    // Once it is plugged in the guest may write to it: whoever dies then, it is not taken away again.
    let reversible = steps.len();
    steps.push(Box::new(AttachDevice {
        id: vm.id,
        name: vm.name.clone(),
        device: key.clone(),
        document: document.to_xml(),
        impact: subject.impact,
    }));
    let title = format!("attach {key} to {}", vm.name);
    let plan = subject.plan("vm.attach-disk", title, &host_info, (lines, steps), reversible);
    Ok(AttachPlan { plan, device: key, document })
}

/// Plans to take a disk out of a machine. Of a running one the guest is asked and waited for; when it does not give the
/// disk up in time, the configuration keeps it as well.
///
/// The volume stays unless it is to go, and goes only when nothing else uses it: no machine, this one's other document
/// included, and no overlay.
///
/// `NotFound` when a document that is to change has no such disk, `InvalidState` when such a document is not there.
pub async fn plan_disk_detach(host: &Host, vm: &VmSummary, wanted: &DiskDetach) -> Result<kvm_core::op::Plan> {
    let host_info = host.hypervisor.capabilities().await?;
    facet(host)?;
    check_not_copied(host, vm).await?;
    let subject = Subject::read(host, vm, wanted.impact).await?;
    let key = DeviceRef::Disk(wanted.target.clone());
    let found = subject.find(&key)?;

    let mut lines = vec![subject.line("detach", "disk", wanted.target.as_str(), "")];
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(subject.detach(&key, &found, wanted.timeout))];
    if let Some(image) = image_of(found)? {
        let (line, step) = subject.volume(host, &key, &image, wanted.volume).await?;
        lines.extend(line);
        if let Some(step) = step {
            let volume = host.storage.find_volume(&step.pool, &step.volume).await?;
            steps.push(Box::new(step));
            if let Some((line, step)) = secret::forget(host, &volume).await? {
                lines.push(line);
                steps.push(Box::new(step));
            }
        }
    }
    let title = format!("detach {key} from {}", vm.name);
    Ok(subject.plan("vm.detach-disk", title, &host_info, (lines, steps), 1))
}

/// Makes a disk of a machine larger, together with its image; gives the size that it had, where that is known.
///
/// `InvalidInput` when the disk would not become larger, `NotFound`. Of a machine that is off the image has to be a volume
/// of an active pool (`NotFound`), and none that other volumes share.
pub async fn resize_disk(host: &Host, vm: &VmSummary, target: &DiskName, size: Bytes) -> Result<Option<Bytes>> {
    let key = DeviceRef::Disk(target.clone());
    if !vm.state.is_active() {
        let subject = Subject::read(host, vm, None).await?;
        let Some(image) = image_of(subject.find(&key)?)? else {
            return Err(Error::new(ErrorKind::InvalidState, format!("there is nothing behind {key} of {}", vm.name))
                .on(Resource::Vm(vm.name.as_str().to_owned())));
        };
        let volume = volume_of(host, &image).await?;
        let volume = VolumeRef { pool: volume.pool, volume: volume.name };
        return resize_volume(host, &volume, size, Resize::Grow).await.map(Some);
    }
    let subject = Subject::read(host, vm, Some(Impact::Live)).await?;
    let before = match image_of(subject.find(&key)?)? {
        Some(image) => volume_of(host, &image).await.ok().map(|volume| volume.capacity),
        None => None,
    };
    facet(host)?.resize_disk(&vm.id, target, size).await?;
    Ok(before)
}

/// Sets how fast a disk may be used, in place of all limits that it had; gives the documents that changed.
///
/// `InvalidInput` for limits that contradict each other, `NotFound` when a document that is to change has no such disk,
/// `InvalidState` when such a document is not there, `Unsupported` when the host cannot limit disks.
pub async fn limit_disk(
    host: &Host,
    vm: &VmSummary,
    target: &DiskName,
    limits: &DiskLimits,
    impact: Option<Impact>,
) -> Result<Impact> {
    limits.check()?;
    let subject = Subject::read(host, vm, impact).await?;
    subject.find(&DeviceRef::Disk(target.clone()))?;
    facet(host)?.limit_disk(&vm.id, target, limits, subject.impact).await?;
    Ok(subject.impact)
}

impl Subject<'_> {
    /// Refuses a bus that cannot take a disk: in a running machine some are wired for good, and some need a controller.
    fn check_bus(&self, bus: DiskBus) -> Result<()> {
        if self.impact != Impact::Config && matches!(bus, DiskBus::Ide | DiskBus::Sata) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a disk on bus {bus} cannot be plugged into a running VM"),
            )
            .on(Resource::Field("bus".into()))
            .with_detail("use virtio, or change the configuration alone"));
        }
        let needed = match bus {
            DiskBus::Scsi => ControllerType::Scsi,
            DiskBus::Usb => ControllerType::Usb,
            _ => return Ok(()),
        };
        let has = |document: &Domain| {
            let mut controllers = document.devices.iter().flat_map(|devices| &devices.controller);
            controllers.any(|controller| controller.r#type == Some(needed))
        };
        match self.documents().all(has) {
            true => Ok(()),
            false => Err(Error::invalid("bus", format!("VM {} has no {needed} controller", self.vm.name))
                .with_detail("use virtio, or add a controller to its definition first")),
        }
    }

    /// What adds an I/O thread to the documents that are reached and have it not.
    fn new_iothread(&self, thread: IoThread) -> Option<AddIoThread> {
        let lacks = |which| self.reached(which).is_some_and(|document| !thread.is_in(document));
        let impact = match (lacks(Which::Live), lacks(Which::Config)) {
            (true, true) => Impact::Both,
            (true, false) => Impact::Live,
            (false, true) => Impact::Config,
            (false, false) => return None,
        };
        Some(AddIoThread { id: self.vm.id, name: self.vm.name.clone(), thread, impact })
    }

    /// Refuses a turn that another device has.
    fn check_boot(&self, options: &DiskOptions) -> Result<()> {
        let reached: Vec<_> = self.impact.documents().iter().filter_map(|which| self.reached(*which)).collect();
        let Some(turn) = options.boot else { return Ok(()) };
        let taken = |document: &&Domain| {
            let os = document.os.as_ref().is_some_and(|os| !os.boot.is_empty());
            let devices = document.devices.iter();
            let has = |boot: &Option<DeviceBoot>| boot.as_ref().is_some_and(|boot| boot.order == Some(turn));
            let mut devices = devices.map(|devices| {
                devices.disk.iter().any(|disk| has(&disk.boot)) || devices.interface.iter().any(|nic| has(&nic.boot))
            });
            os || devices.any(|taken| taken)
        };
        match reached.iter().any(taken) {
            false => Ok(()),
            true => Err(Error::invalid("boot", format!("turn {turn} of VM {} is taken", self.vm.name))
                .with_detail("choose another number, or change the order in its definition")),
        }
    }

    /// A name that is free in both documents.
    fn choose_target(&self, asked: Option<&DiskName>, bus: DiskBus) -> Result<DiskName> {
        let Some(asked) = asked else { return Ok(DiskName::free(bus, self.documents())) };
        let key = DeviceRef::Disk(asked.clone());
        if self.documents().any(|document| key.find(document).is_some()) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("VM {} has {key} already", self.vm.name))
                .on(Resource::Field("target".into()))
                .with_detail("leave the target out to get the next free one"));
        }
        let fits = DiskName::nth(bus, 0).prefix() == asked.prefix() && asked.number().is_some();
        match fits && asked.partition().is_none() {
            true => Ok(asked.clone()),
            false => Err(Error::invalid("target", format!("{asked} is no name of a disk on bus {bus}"))
                .with_detail(format!("such as {}", DiskName::free(bus, self.documents())))),
        }
    }

    /// What becomes of the volume behind a disk that is taken out.
    async fn volume(
        &self,
        host: &Host,
        key: &DeviceRef,
        image: &ImageRef,
        wanted: Volumes,
    ) -> Result<(Option<PlanLine>, Option<DeleteVolume>)> {
        let Ok(volume) = volume_of(host, image).await else {
            let kind = if matches!(image, ImageRef::Volume(_)) { "volume" } else { "file" };
            let kept = PlanLine::new("keep", kind, image.to_string());
            return Ok((Some(if wanted == Volumes::Delete { kept.note("in no active pool") } else { kept }), None));
        };
        let name = crate::place::volume_name(&volume);
        let keep = |why: &str| (Some(PlanLine::new("keep", "volume", name.as_str()).note(why)), None);
        if wanted == Volumes::Keep {
            return Ok(keep(&format!("{} on disk", volume.allocation)));
        }
        let stays = self.documents().filter(|document| key.find(document).is_some()).count();
        if stays > self.impact.documents().len() {
            return Ok(keep("still in the machine's other document"));
        }
        if self.is_fixed(key) {
            return Ok(keep("read-only or shared"));
        }
        if volume.path.is_none() {
            return Ok(keep(ON_THE_NETWORK));
        }
        if let Some(users) = users(host, &volume_key(&volume), Some(&self.vm.id)).await?.objection() {
            return Ok(keep(&users));
        }
        let line = PlanLine::new("remove", "volume", name.as_str()).note(format!("{} on disk", volume.allocation));
        let (pool, path, size) = (volume.pool.clone(), volume.path.clone(), volume.capacity);
        Ok((Some(line), Some(DeleteVolume { pool, volume: volume.name, path, size, vm: None })))
    }

    /// Whether a disk holds what is not the machine's own: media, and what it cannot write or shares.
    fn is_fixed(&self, key: &DeviceRef) -> bool {
        self.documents().any(|document| match key.find(document) {
            Some(Device::Disk(disk)) => {
                disk.readonly || disk.shareable || !matches!(disk.device, None | Some(DiskDevice::Disk))
            }
            _ => false,
        })
    }
}

/// The image behind a disk; `None` for an empty drive, and for what is on the network and of no pool.
fn image_of(found: Found) -> Result<Option<ImageRef>> {
    let Device::Disk(disk) = found.into_base()? else { return Ok(None) };
    if let Some((pool, volume)) = disk.source.as_ref().and_then(|s| Some((s.pool.as_ref()?, s.volume.as_ref()?))) {
        let volume = VolumeRef { pool: PoolName::adopt(pool)?, volume: VolumeName::adopt(volume)? };
        return Ok(Some(ImageRef::Volume(volume)));
    }
    source(&disk).map(|path| DiskPath::adopt(&path).map(ImageRef::Path)).transpose()
}

async fn volume_of(host: &Host, image: &ImageRef) -> Result<VolumeInfo> {
    match image {
        ImageRef::Volume(volume) => host.storage.find_volume(&volume.pool, &volume.volume).await,
        ImageRef::Path(path) => host.storage.volume_at(path).await,
    }
}

/// The file or device that a disk of a document names.
pub(crate) fn source(disk: &XmlDisk) -> Option<String> {
    let source = disk.source.as_ref()?;
    source.file.clone().or_else(|| source.dev.clone())
}
