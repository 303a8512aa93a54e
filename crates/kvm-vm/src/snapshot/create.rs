//! Taking a snapshot: internal or external, with memory or without, and whether there is room for it.

use kvm_core::op::{Plan, PlanLine, Step};
use kvm_core::{
    Bytes, Description, DiskPath, Error, ErrorKind, Host, Overlay, PoolInfo, Quiesce, Resource, Result, SnapshotKind,
    SnapshotName, SnapshotPlace, SnapshotSpec, VmSummary, VolumeName, disks_to_keep,
};
use kvm_xml::domain::{Disk, DiskFormat, DiskType, FirmwareFormat};
use kvm_xml::value::DiskName;

use super::Subject;
use crate::copying::{COPYING, check_not_copied, is_copied};
use crate::secret::is_encrypted_disk;
use crate::step::CreateSnapshot;

/// What a memory file takes beside the guest's memory: the state of its devices.
const DEVICES: Bytes = Bytes::from_mib(64);
/// So much of a name goes into the name of a file.
const PART_OF_NAME: usize = 80;

/// A snapshot that a machine is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCreate {
    /// Unique within the machine.
    pub name: SnapshotName,
    /// What people say about it.
    pub description: Option<Description>,
    /// Where it is kept; chosen by what the machine's disks, firmware and snapshots allow if left out.
    pub kind: Option<SnapshotKind>,
    /// Whether the memory of a running machine is kept.
    pub memory: KeepMemory,
    /// Whether the guest brings its file systems in order first.
    pub quiesce: Quiesce,
}

/// Whether a snapshot keeps the memory of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepMemory {
    /// If it runs.
    IfRunning,
    /// Only the disks are kept: going back is like a boot after a power cut, or after a freeze when the guest was quiet.
    No,
}

/// Plans a snapshot. Where nobody chose, it is internal when all disks are qcow2, the firmware's variables are in no raw
/// file, the memory is kept as well and no snapshot of the machine is external yet; else it is external. The plan says
/// which, and why.
///
/// The room for the memory is checked first. What the guest writes from now on takes room, too, which nobody knows before:
/// the plan says how much there is.
///
/// `AlreadyExists` when the name is taken; `Busy` while the machine is copied; `Unsupported` when a disk allows no snapshot of the kind; `NoSpace`;
/// `InvalidInput` for wishes that contradict each other; `InvalidState` when a machine that is off is to be quiet;
/// `Unavailable` when its agent does not answer.
pub async fn plan_snapshot(host: &Host, vm: &VmSummary, wanted: &SnapshotCreate) -> Result<Plan> {
    check_not_copied(host, vm).await?;
    plan_with_files(host, vm, wanted, wanted.name.as_str()).await
}

/// The same, with files that are called after something else than the snapshot.
pub(crate) async fn plan_with_files(host: &Host, vm: &VmSummary, wanted: &SnapshotCreate, files: &str) -> Result<Plan> {
    let subject = Subject::read(host, vm).await?;
    if let Ok(there) = subject.find(&wanted.name) {
        if wanted.name.as_str() == COPYING {
            return Err(is_copied(&vm.name, there));
        }
        let message = format!("VM {} has a snapshot {} already", vm.name, wanted.name);
        return Err(Error::new(ErrorKind::AlreadyExists, message).on(subject.resource(&wanted.name)));
    }
    let with_memory = vm.state.is_active() && wanted.memory == KeepMemory::IfRunning && wanted.quiesce == Quiesce::No;
    let (kind, why) = subject.choose(wanted, with_memory)?;
    subject.check_guest(wanted).await?;

    let pools = host.storage.pools().await?;
    let room = Room { pools: &pools, memory: vm.memory.filter(|_| with_memory) };
    let place = match kind {
        SnapshotKind::Internal => SnapshotPlace::Internal,
        SnapshotKind::External => subject.files(wanted, with_memory, files).await?,
    };
    let spec = SnapshotSpec {
        name: wanted.name.clone(),
        description: wanted.description.clone(),
        place,
        quiesce: wanted.quiesce,
    };
    spec.check()?;

    let mut lines = vec![subject.line(&spec, kind, with_memory, &why)];
    let paths = subject.lines(&spec, &room, &mut lines).await?;
    let step: Box<dyn Step> =
        Box::new(CreateSnapshot { id: vm.id, name: vm.name.clone(), spec, pools: subject.pools(&paths).await? });
    let title = format!("take snapshot {} of {}", wanted.name, vm.name);
    Ok(subject.plan("vm.take-snapshot", &title, (lines, vec![step]), 1))
}

impl Subject<'_> {
    /// Internal or external, and why.
    fn choose(&self, wanted: &SnapshotCreate, with_memory: bool) -> Result<(SnapshotKind, String)> {
        let obstacle = self.obstacle(wanted, with_memory);
        let external = self.all.iter().find(|other| other.kind() == SnapshotKind::External);
        match (wanted.kind, obstacle, external) {
            (Some(SnapshotKind::Internal), Some(why), _) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("VM {} can have no internal snapshot now", self.vm.name),
            )
            .on(self.resource(&wanted.name))
            .with_detail(why)),
            (Some(kind), ..) => Ok((kind, "as asked".into())),
            (None, Some(why), _) => Ok((SnapshotKind::External, why)),
            (None, None, Some(other)) => Ok((SnapshotKind::External, format!("as {} is", other.name))),
            (None, None, None) => Ok((SnapshotKind::Internal, "all disks are qcow2".into())),
        }
    }

    /// What stands against an internal one.
    fn obstacle(&self, wanted: &SnapshotCreate, with_memory: bool) -> Option<String> {
        let disks: Vec<_> = disks_to_keep(&self.document).collect();
        let nvram = self.document.os.as_ref().and_then(|os| os.nvram.as_ref());
        if let Some((name, _)) = disks.iter().find(|(_, disk)| format(disk) != Some(DiskFormat::Qcow2)) {
            return Some(format!("disk {name} is not qcow2"));
        }
        if nvram.is_some_and(|nvram| nvram.format != Some(FirmwareFormat::Qcow2)) {
            return Some("the firmware's variables are in a raw file".into());
        }
        if disks.is_empty() {
            return Some("there is no disk to hold it".into());
        }
        if wanted.quiesce == Quiesce::Yes {
            return Some("the guest is quiet, so its memory is not kept".into());
        }
        let disks_alone = self.vm.state.is_active() && !with_memory;
        disks_alone.then(|| "an internal one of a running VM has its memory".into())
    }

    /// Whether the guest can be quiet, if it is to be.
    async fn check_guest(&self, wanted: &SnapshotCreate) -> Result<()> {
        if wanted.quiesce == Quiesce::No {
            return Ok(());
        }
        let on = |e: Error| e.on(Resource::Vm(self.vm.name.as_str().to_owned()));
        if !self.vm.state.is_active() {
            let message = format!("VM {} is {}: it writes nothing", self.vm.name, self.vm.state);
            return Err(on(Error::new(ErrorKind::InvalidState, message).with_detail("leave the quiescing out")));
        }
        match self.host.hypervisor.guest() {
            Some(guest) => guest.ping_agent(&self.vm.id).await.map_err(on),
            None => Err(on(Error::new(ErrorKind::Unsupported, "this host cannot ask guests to be quiet"))),
        }
    }

    /// The new files of an external one: beside each image its overlay, and beside the first the memory.
    async fn files(&self, wanted: &SnapshotCreate, with_memory: bool, called: &str) -> Result<SnapshotPlace> {
        // A file that no pool has seen yet would later be taken for one of ours.
        for pool in self.pools(&self.images()).await? {
            self.host.storage.refresh_pool(&pool).await?;
        }
        let (mut overlays, mut memory): (Vec<Overlay>, _) = (Vec::new(), None);
        let (vm, snapshot) = (part(self.vm.name.as_str()), part(called));
        for (name, disk) in disks_to_keep(&self.document) {
            if is_encrypted_disk(disk) {
                let message = format!("disk {name} of {} is encrypted, and its overlay would not be", self.vm.name);
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .on(self.resource(&wanted.name))
                    .with_detail("an internal snapshot keeps what the guest writes encrypted"));
            }
            let image = self.image(name, disk)?;
            let path = free(self.host, &image, &format!("{vm}-{name}.{snapshot}"), "qcow2").await?;
            overlays.push(Overlay { disk: name.clone(), path });
            if with_memory && memory.is_none() {
                memory = Some(free(self.host, &image, &format!("{vm}.{snapshot}"), "mem").await?);
            }
        }
        if overlays.is_empty() {
            let message = format!("VM {} has no disk whose state could be kept", self.vm.name);
            return Err(Error::new(ErrorKind::Unsupported, message).on(self.resource(&wanted.name)));
        }
        Ok(SnapshotPlace::External { overlays, memory })
    }

    /// The file behind a disk, beside which its overlay goes.
    fn image(&self, name: &DiskName, disk: &Disk) -> Result<DiskPath> {
        let file = disk.source.as_ref().and_then(|source| source.file.as_deref());
        let is_file = matches!(disk.r#type, None | Some(DiskType::File));
        match file.filter(|_| is_file) {
            Some(file) => DiskPath::adopt(file),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!("disk {name} of {} is no file, so it can have no overlay", self.vm.name),
            )
            .on(Resource::Vm(self.vm.name.as_str().to_owned()))
            .with_detail("a snapshot has to be able to keep all disks that the VM writes to")),
        }
    }

    fn line(&self, spec: &SnapshotSpec, kind: SnapshotKind, with_memory: bool, why: &str) -> PlanLine {
        let memory = match (self.vm.state.is_active(), with_memory, spec.quiesce) {
            (false, ..) => "the VM is off",
            (true, true, _) => "with memory",
            (true, false, Quiesce::Yes) => "disks only, with the guest's file systems in order",
            (true, false, Quiesce::No) => "disks only, as after a power cut",
        };
        PlanLine::new("take", "snapshot", spec.name.as_str()).note(format!("{kind} ({why}), {memory}"))
    }

    /// What happens to each image, and what room there is; gives all images and files that take part.
    async fn lines(&self, spec: &SnapshotSpec, room: &Room<'_>, lines: &mut Vec<PlanLine>) -> Result<Vec<DiskPath>> {
        let images = self.images();
        let (paths, memory) = match &spec.place {
            SnapshotPlace::Internal => {
                for image in &images {
                    lines.push(super::image_line(self.host, "keep in", image).await?);
                }
                // The first disk has the memory as well.
                (images.clone(), images.first().cloned())
            }
            SnapshotPlace::External { overlays, memory } => {
                for (Overlay { disk, path }, image) in overlays.iter().zip(&images) {
                    lines.push(super::image_line(self.host, "keep", image).await?.note(format!("state of {disk}")));
                    lines.push(room.line("create", path).note(format!("{disk} goes on here")));
                }
                let file = memory.iter().map(|path| room.line("create", path).note("memory"));
                lines.extend(file);
                (overlays.iter().map(|overlay| overlay.path.clone()).collect::<Vec<_>>(), memory.clone())
            }
        };
        let mut told = Vec::new();
        for path in &paths {
            let directory = path.as_path().parent();
            if !told.contains(&directory) {
                let is_here = memory.as_ref().is_some_and(|file| file.as_path().parent() == directory);
                lines.extend(room.check(path, room.memory.filter(|_| is_here))?);
                told.push(directory);
            }
        }
        Ok(paths.iter().chain(&images).cloned().collect())
    }
}

/// What the pools have left.
struct Room<'a> {
    pools: &'a [PoolInfo],
    /// What the guest has, when it is kept.
    memory: Option<Bytes>,
}

impl Room<'_> {
    fn pool(&self, path: &DiskPath) -> Option<&PoolInfo> {
        let holds = |pool: &&PoolInfo| {
            pool.active && pool.target.as_ref().is_some_and(|target| Some(target.as_path()) == path.as_path().parent())
        };
        self.pools.iter().find(holds)
    }

    /// A file that is not there yet.
    fn line(&self, action: &str, path: &DiskPath) -> PlanLine {
        match self.pool(path) {
            Some(pool) => PlanLine::new(action, "volume", format!("{}/{}", pool.name.as_str(), path.file_name())),
            None => PlanLine::new(action, "file", path.as_str()),
        }
    }

    /// Says what room there is beside a file, and refuses when the memory does not fit.
    fn check(&self, path: &DiskPath, memory: Option<Bytes>) -> Result<Option<PlanLine>> {
        let Some(pool) = self.pool(path) else {
            let line = PlanLine::new("check", "room", path.as_str());
            return Ok(Some(line.note("in no active pool: what is left there is not known")));
        };
        let Some(free) = pool.available else { return Ok(None) };
        let line = PlanLine::new("check", "room", pool.name.as_str());
        let Some(memory) = memory else {
            return Ok(Some(line.note(format!("{free} free; what will be written is not known"))));
        };
        let needed = memory.saturating_add(DEVICES);
        if free < needed {
            let message = format!("not enough space in pool {} for the memory", pool.name);
            return Err(Error::new(ErrorKind::NoSpace, message)
                .on(Resource::Pool(pool.name.as_str().to_owned()))
                .during("take-snapshot")
                .with_detail(format!("asked {needed}, free {free}")));
        }
        Ok(Some(line.note(format!("{free} free, memory {memory} at most; what will be written is not known"))))
    }
}

fn format(disk: &Disk) -> Option<DiskFormat> {
    disk.driver.as_ref().and_then(|driver| driver.r#type)
}

/// A path beside an image at which no pool knows a file.
async fn free(host: &Host, image: &DiskPath, stem: &str, suffix: &str) -> Result<DiskPath> {
    let directory = image.as_path().parent().and_then(|path| path.to_str()).unwrap_or_default().trim_end_matches('/');
    for number in 1u32.. {
        let file = if number == 1 { format!("{stem}.{suffix}") } else { format!("{stem}-{number}.{suffix}") };
        let path = DiskPath::adopt(&format!("{directory}/{}", VolumeName::adopt(&file)?.as_str()))?;
        match host.storage.volume_at(&path).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(path),
            Err(e) => return Err(e),
            Ok(_) => {}
        }
    }
    Err(Error::internal("there is no free name for a file"))
}

/// The beginning of a name, as far as every file system and every program takes it.
fn part(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let mut part = String::new();
    for c in name.chars().map(plain) {
        if part.len() + c.len_utf8() > PART_OF_NAME {
            break;
        }
        part.push(c);
    }
    part.trim_start_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_a_part_of_a_file_name() {
        assert_eq!(part("2026-11-21T09:00:00+02:00"), "2026-11-21T09-00-00-02-00");
        assert_eq!(part("$(id)"), "id-");
        assert_eq!(part("снимок"), "снимок");
        assert!(part(&"ж".repeat(200)).len() <= PART_OF_NAME);
    }
}
