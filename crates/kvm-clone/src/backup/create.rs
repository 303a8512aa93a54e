//! Making a point.

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{Bandwidth, Bytes, Clock, Consistency, Error, ErrorKind, Host, Resource, Result, VmSummary};
use kvm_vm::PlanContext;
use kvm_xml::Domain;
use kvm_xml::domain::DiskDevice;

use super::list::{points, read_manifest};
use super::manifest::{DOCUMENT, Manifest};
use super::place::{Point, PointId, StoreDir, VmDir};
use super::step::{At, BeginPoint, PublishPoint, StoreDocument, WriteManifest, WriteSums};
use crate::moment;
use crate::parallel::Parallel;
use crate::place;
use crate::spec::{Compress, Track, WhileRunning};
use crate::step::Ends;
use crate::tally::Tally;
use crate::tpm::to_store;
use crate::transfer::Session;

mod work;

use work::{Work, unknown};

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
