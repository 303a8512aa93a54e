//! Making a point.

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{Bandwidth, Bytes, Clock, Consistency, DiskPath, Error, ErrorKind, Host, Resource, Result, VmSummary};
use kvm_image::{Expect, Format};
use kvm_vm::{PlanContext, VolumeRef, inspect};
use kvm_wire::Digest;
use kvm_xml::Domain;
use kvm_xml::domain::{Disk, DiskDevice};
use kvm_xml::rewrite::Location;

use super::list::{points, read_manifest};
use super::manifest::{DOCUMENT, Manifest, StoredDisk, StoredFile, StoredFormat, TPM, VARIABLES, image_name};
use super::place::{Point, PointId, StoreDir, VmDir};
use super::step::{At, BeginPoint, PublishPoint, StoreDocument, StoreFile, StoreTpm, WriteManifest, WriteSums};
use crate::moment;
use crate::parallel::Parallel;
use crate::place;
use crate::spec::{Compress, Track, WhileRunning};
use crate::step::{Ends, Whole};
use crate::survey::has;
use crate::tally::{Tally, TallyOf};
use crate::tpm::{ToStore, to_store};
use crate::transfer::Session;

/// How a backup is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSpec {
    /// Upon what.
    pub base: Base,
    /// What happens to a machine that runs.
    pub running: WhileRunning,
    /// Most bytes per second.
    pub limit: Bandwidth,
    /// Whether what is under way is compressed where that helps.
    pub compression: Compress,
    /// How many images are sent at a time, where helpers carry them.
    pub parallel: Parallel,
    /// Whether the machine's images are to remember what is written from now on.
    pub track: Track,
    /// Whether the point gets a file `SHA256SUMS` as well, with which anybody checks it by `sha256sum --check`. All of the
    /// point is read once more for it, in the store, and hashed with its holes.
    pub sums: bool,
    /// What makes it, for the manifest: a program and its release.
    pub tool: String,
}

/// What a point is made upon. In any case it is whole, and needs no other one afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The newest point of the same machine: only what differs is sent, and blocks are shared where the store's file
    /// system can do that.
    Newest,
    /// Nothing: everything is sent.
    Nothing,
}

/// A backup that could be made.
#[derive(Debug)]
pub struct BackupPlan {
    /// What would happen; its `Display` is the dry run.
    pub plan: Plan,
    /// The directory of its machine.
    pub vm: VmDir,
    /// Which point it becomes.
    pub point: PointId,
    /// How its images are going to stand to each other.
    pub consistency: Consistency,
    /// What it is made upon.
    pub based_on: Option<PointId>,
    /// What was sent of each image, once the plan was carried out by this process.
    pub tally: Tally,
}

/// Plans a backup of a machine into a directory of the same or another host, through the helpers of both.
///
/// A machine that runs goes on: its disks are held at one moment by a snapshot. An overlay becomes whole. The point has its
/// name only when everything is there and was compared; whatever ends the operation before leaves nothing that looks like a
/// backup. The state of an emulated TPM is in it where it lies in a directory, as right after that moment; the plan says
/// why where it is not.
///
/// `NotFound` when the directory is not there, `NoSpace`, `InvalidState` when the images cannot lie still, `Unsupported` for
/// disks on servers, encrypted ones, formats other than raw and qcow2, and hosts that run no helper.
pub async fn plan_backup(
    source: &Host,
    store: &Host,
    directory: &StoreDir,
    vm: &VmSummary,
    spec: &BackupSpec,
    cx: &PlanContext<'_>,
    clock: &dyn Clock,
) -> Result<BackupPlan> {
    let (here, there) = (source.hypervisor.capabilities().await?, store.hypervisor.capabilities().await?);
    let document = source.hypervisor.definition(&vm.id, super::step::view(vm.persistent)).await?;
    let moment = moment::hold(source, vm, (spec.running, spec.track), cx.entropy).await?;
    // A host without a helper is told of now.
    let mut session = Session::open(&*source.transport).await?;
    let tpm = to_store(&mut session, &here.target, &vm.id, &document).await?;
    session.give_back(&*source.transport).await;
    let mut session = Session::open(&*store.transport).await?;
    let free = session.space(directory.as_str()).await?;

    let mut point =
        Point { directory: directory.clone(), vm: VmDir::of(&vm.name, &vm.id), point: PointId::at(clock.now()) };
    let older = points(&mut session, directory, &point.vm).await?;
    // Names are told apart by seconds.
    while older.contains(&point.point) {
        point.point = point.point.next();
    }
    let base = match spec.base {
        Base::Newest => newest(&mut session, &point, vm, &older).await?,
        Base::Nothing => None,
    };
    let at = At { store: Peer::of(&there), point };
    let ends = Ends { source: Peer::of(&here), target: at.store.clone() };
    let consistency = moment.as_ref().map_or(Consistency::Off, |moment| moment.consistency);
    let mut work = Work {
        at: &at,
        ends: &ends,
        base: base.as_ref(),
        spec,
        lines: Vec::new(),
        steps: Vec::new(),
        needed: Bytes::ZERO,
        tally: Tally::default(),
    };
    if let Some(moment) = &moment {
        work.lines.push(moment.line.clone());
    }
    let tpm = work.tpm(vm, tpm);
    let mut disks = Vec::new();
    for disk in place::own(&document) {
        disks.extend(work.disk(source, disk).await?);
    }
    let nvram = work.variables(source, &document).await?;
    if base.is_none() && free < work.needed {
        return Err(Error::new(ErrorKind::NoSpace, format!("not enough space in {directory} for the backup"))
            .on(Resource::File(directory.to_string()))
            .with_detail(format!("asked {}, free {free}", work.needed)));
    }
    let Work { mut lines, steps: stored, tally, .. } = work;
    let note = match &base {
        Some(base) => format!("{consistency}-consistent, upon {}: what both share is not sent", base.point),
        None => format!("{consistency}-consistent, everything is sent"),
    };
    lines.push(PlanLine::new("create", "backup", at.point.to_string()).note(match consistency {
        Consistency::Off => note.replacen("off-consistent", "the VM is off", 1),
        _ => note,
    }));
    lines.extend(told(&document));

    let based_on = base.map(|base| base.point);
    let draft = Manifest {
        point: at.point.point,
        vm: vm.name.clone(),
        uuid: vm.id,
        host: here.target.clone(),
        consistency,
        based_on,
        tool: spec.tool.clone(),
        document: unknown(DOCUMENT),
        nvram,
        tpm,
        disks,
    };
    let document = StoreDocument {
        at: at.clone(),
        source: ends.source.clone(),
        id: vm.id,
        name: vm.name.clone(),
        is_persistent: vm.persistent,
    };
    let begin = BeginPoint { at: at.clone(), is_first: older.is_empty() };
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(begin), Box::new(document)];
    match moment {
        Some(moment) => {
            steps.extend(moment.around(&ends, vm, stored));
        }
        None => steps.extend(stored),
    }
    let files = draft.files().map(|file| file.file.clone()).collect();
    steps.push(Box::new(WriteManifest { at: at.clone(), draft }));
    if spec.sums {
        steps.push(Box::new(WriteSums { at: at.clone(), files }));
    }
    steps.push(Box::new(PublishPoint { at: at.clone() }));
    let plan = Plan {
        kind: "backup.create",
        title: format!("back up {} of {} to {directory} on {}", vm.name, here.target, there.target),
        target: here.target.clone(),
        locks: vec![LockKey { host: here.host_key(), vm: vm.id }],
        lines,
        reversible: steps.len(),
        steps,
    };
    let Point { vm, point, .. } = at.point;
    Ok(BackupPlan { plan, vm, point, consistency, based_on, tally })
}

/// The newest point of this very machine that can be read.
async fn newest(session: &mut Session, point: &Point, vm: &VmSummary, older: &[PointId]) -> Result<Option<Manifest>> {
    for id in older.iter().rev().filter(|id| **id < point.point) {
        match read_manifest(session, &Point { point: *id, ..point.clone() }).await {
            Ok(manifest) if manifest.uuid == vm.id => return Ok(Some(manifest)),
            Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => return Err(e),
            // One that is damaged, or of another machine that had the name.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(None)
}

/// A file whose size and digest are seen when it is there.
fn unknown(file: &str) -> StoredFile {
    StoredFile { file: file.to_owned(), size: Bytes::ZERO, digest: Digest::ZERO }
}

/// What of the machine is not in its backup.
fn told(document: &Domain) -> Vec<PlanLine> {
    let name = document.name.as_deref().unwrap_or_default();
    let shared = document.devices.iter().flat_map(|devices| &devices.disk).filter(|disk| {
        let is_disk = matches!(disk.device, None | Some(DiskDevice::Disk | DiskDevice::Lun));
        is_disk && (disk.readonly || disk.shareable)
    });
    let shared = shared.filter_map(|disk| disk.target.as_ref()?.dev.as_ref());
    let shared = shared.map(|target| format!("disk {target} is read-only or shared, and not in the backup"));
    shared.map(|why| PlanLine::new("note", "domain", name).note(why)).collect()
}

/// What is being put together.
struct Work<'a> {
    at: &'a At,
    ends: &'a Ends,
    base: Option<&'a Manifest>,
    spec: &'a BackupSpec,
    lines: Vec<PlanLine>,
    steps: Vec<Box<dyn Step>>,
    needed: Bytes,
    tally: Tally,
}

impl Work<'_> {
    async fn disk(&mut self, source: &Host, disk: &Disk) -> Result<Option<StoredDisk>> {
        let target = disk.target.as_ref().and_then(|target| target.dev.as_ref()).map(ToString::to_string);
        let target = target.unwrap_or_default();
        let Some(location) = place::location(disk) else {
            return match &disk.source {
                // An empty drive.
                None => Ok(None),
                Some(_) => Err(refused(&target, "is on a server, and is not backed up")),
            };
        };
        if disk.encryption.is_some() || disk.source.as_ref().is_some_and(|source| source.encryption.is_some()) {
            return Err(refused(&target, "is encrypted, and is not backed up"));
        }
        let volume = place::volume(source, &location).await.map_err(|e| unknown_volume(&target, &location, e))?;
        // A guest can write any header into its disk: what the definition says counts.
        let said = disk.driver.as_ref().and_then(|driver| driver.r#type).map(|format| format.to_string());
        let format = match said.as_deref().unwrap_or("raw") {
            "raw" => StoredFormat::Raw,
            "qcow2" => StoredFormat::Qcow2,
            other => return Err(refused(&target, &format!("is of format {other}; only raw and qcow2 are backed up"))),
        };
        let path = volume.host_path()?.clone();
        let is_overlay = format == StoredFormat::Qcow2 && self.judge(source, &target, &path).await?;
        let (file, size) = (image_name(&target, format)?, volume.capacity);
        let whole = match is_overlay {
            true => {
                let of = VolumeRef { pool: volume.pool.clone(), volume: volume.name.clone() };
                Some(Whole::new(of, &volume.name, size, format.as_str())?)
            }
            false => None,
        };
        let note = format!("{format}, {size}, {} on disk", volume.allocation);
        self.lines.push(PlanLine::new("store", "disk", &target).note(match is_overlay {
            true => format!("{path}: {note}; an overlay, which becomes whole"),
            false => format!("{path}: {note}"),
        }));
        self.needed = self.needed.saturating_add(volume.allocation);
        let tally = self.tally.of(&target);
        self.file(path, &file, whole, tally);
        let stored = unknown(&file);
        Ok(Some(StoredDisk { target, format, virtual_size: size, allocated: Bytes::ZERO, stored }))
    }

    /// Whether a qcow2 image lies upon another one. `Unsupported` when it has data elsewhere, or is no such image.
    async fn judge(&self, source: &Host, target: &str, path: &DiskPath) -> Result<bool> {
        let seen = inspect(&*source.transport, path.as_path(), Some(Format::Qcow2)).await?;
        match kvm_image::check(&seen, &Expect::format(Format::Qcow2).in_a_chain()) {
            Ok(_) => Ok(seen.backing.is_some()),
            Err(e) => Err(refused(target, "is an image that is not backed up").with_source(kvm_core::Error::from(e))),
        }
    }

    /// First of all: what comes while the images are copied is another moment than theirs.
    fn tpm(&mut self, vm: &VmSummary, found: Option<ToStore>) -> Option<StoredFile> {
        match found? {
            ToStore::State(path) => {
                self.lines.push(PlanLine::new("store", "tpm", path.as_str()));
                self.steps.push(Box::new(StoreTpm { at: self.at.clone(), source: self.ends.source.clone(), path }));
                Some(unknown(TPM))
            }
            ToStore::Nothing(why) => {
                self.lines.push(PlanLine::new("note", "domain", vm.name.as_str()).note(why));
                None
            }
        }
    }

    /// Those of a machine that never ran are not there yet.
    async fn variables(&mut self, source: &Host, document: &Domain) -> Result<Option<StoredFile>> {
        let Some(path) = document.os.as_ref().and_then(|os| os.nvram.as_ref()).and_then(|nvram| nvram.value.as_ref())
        else {
            return Ok(None);
        };
        if !has(source, path).await? {
            return Ok(None);
        }
        self.lines.push(PlanLine::new("store", "nvram", path));
        self.file(DiskPath::adopt(path)?, VARIABLES, None, TallyOf::default());
        Ok(Some(unknown(VARIABLES)))
    }

    fn file(&mut self, path: DiskPath, file: &str, whole: Option<Whole>, tally: TallyOf) {
        let base = self.base.filter(|base| base.files().any(|stored| stored.file == file));
        self.steps.push(Box::new(StoreFile {
            at: self.at.clone(),
            source: self.ends.source.clone(),
            path,
            is_qcow2: file.ends_with(".qcow2"),
            file: file.to_owned(),
            whole,
            base: base.map(|base| base.point),
            limit: self.spec.limit.bytes_per_second(),
            is_compressed: self.spec.compression == Compress::Auto,
            at_once: self.spec.parallel,
            tally,
        }));
    }
}

fn refused(target: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("disk {target} {why}")).on(Resource::Field("disk".into()))
}

fn unknown_volume(target: &str, location: &Location, e: Error) -> Error {
    match e.kind() {
        ErrorKind::NotFound => {
            Error::new(ErrorKind::InvalidState, format!("disk {target}: no pool of the host knows {location}"))
                .on(Resource::Volume(location.to_string()))
                .with_detail("refresh its pool, or make one: kvmctl pool create NAME --target DIR")
        }
        _ => e,
    }
}
