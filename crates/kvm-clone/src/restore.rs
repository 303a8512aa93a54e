//! A machine from a point in a store: another one, or the very same as it was.

use std::collections::BTreeSet;

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::text::printable_within;
use kvm_core::{
    Bandwidth, Bytes, Consistency, CpuFit, DiskPath, Error, ErrorKind, Host, PoolName, Resource, Result, View, VmId,
    VmName, VmNotes, VmRef, VmSummary, VolumeInfo,
};
use kvm_image::{Expect, Format};
use kvm_vm::{Arrival, CreatePlan, PlanContext, Start, VolumeRef, inspect, plan_arrival_for};
use kvm_xml::rewrite::{Content, Copy, Edit, Facts, Location, Policy, Request, Warning, policy, rewrite};
use kvm_xml::{Document as _, Domain};

use crate::backup::{Manifest, PointRef, StoreDir, StoredDisk, StoredFormat, resolve};
use crate::backup::{Point, inside, read_manifest};
use crate::clone::{facts, refused, variables_of};
use crate::parallel::Parallel;
use crate::place::{self, Images, Own};
use crate::replace::{Replace, Replaced, free_variables as variables_of_name};
use crate::spec::{CloneSpec, Compress, UplinkMap};
use crate::survey::{Survey, check_room, has};
use crate::transfer::{Session, Turns, digest_of};

mod step;

pub(crate) use step::{Redefine, RestoreFile};

/// No document is longer.
const DOCUMENT_MOST: Bytes = Bytes::from_mib(4);

/// How a machine is to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreSpec {
    /// As which machine.
    pub identity: Restored,
    /// Where its images go; if left out, to the pool that has the same directory as the original's, else the host's
    /// default.
    pub pool: Option<PoolName>,
    /// What the host calls the original's networks and bridges, where that differs.
    pub uplinks: Vec<UplinkMap>,
    /// Most bytes per second over all images.
    pub limit: Bandwidth,
    /// Whether what is under way is compressed where that helps.
    pub compression: Compress,
    /// How many images are sent at a time, where helpers carry them.
    pub parallel: Parallel,
    /// Whether it is started at once.
    pub start: Start,
    /// What becomes of a machine that has the new name already; without it that must be free.
    pub replace: Option<Replace>,
}

/// As which machine it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// As another one of this name: what a clone gets anew this one gets as well.
    New(VmName),
    /// As itself, with its uuid and addresses, and a new generation id. Where it is there it must be off; its present
    /// images stay beside the restored ones.
    InPlace,
}

/// A restoration that could be made.
#[derive(Debug)]
pub struct RestorePlan {
    /// What would happen; its `Display` is the dry run.
    pub plan: Plan,
    /// The machine's document.
    pub document: Domain,
    /// Its name.
    pub name: VmName,
    /// Its uuid.
    pub id: VmId,
    /// The point that it comes from.
    pub point: PointRef,
    /// Images that it has now and will not use any more.
    pub kept: Vec<String>,
    /// What a machine is called, until it is deleted, in whose place this one comes.
    pub replaced: Option<VmName>,
    /// In what its document differs from the stored one, and why.
    pub changes: Vec<Edit>,
    /// What somebody should know before.
    pub warnings: Vec<Warning>,
}

/// Plans to bring a machine back from a point in a store, on the same or another host.
///
/// What is read from the store has to have the digests of its manifest: an image that differs is never given its name, and
/// nothing that is there now is touched before all of them have come. The definition changes last, in one go.
///
/// `NotFound` for the point, a pool or a network; `AlreadyExists` when the name is taken; `InvalidState` when the machine is
/// not off, or has snapshots; `Corrupt` when the stored document is not what it was; `InvalidInput` when the manifest is
/// wrong or an image names other files; `Unsupported` without helpers; `NoSpace`.
pub async fn plan_restore(
    store: &Host,
    directory: &StoreDir,
    point: &PointRef,
    target: &Host,
    spec: &RestoreSpec,
    cx: &PlanContext<'_>,
) -> Result<RestorePlan> {
    let mut session = Session::open(&*store.transport).await?;
    let point = resolve(&mut session, directory, point).await?;
    let manifest = read_manifest(&mut session, &point).await?;
    let document = document(&mut session, &point, &manifest).await?;
    drop(session);
    Session::open(&*target.transport).await?.give_back(&*target.transport).await;

    let mut survey = Survey::arriving(store, target, document).await?;
    let present = match spec.identity {
        Restored::InPlace => present(target, &manifest).await?,
        Restored::New(_) => None,
    };
    let replaced = match &spec.identity {
        Restored::New(name) => Replaced::find(target, name, spec.replace).await?,
        Restored::InPlace => None,
    };
    let default = cx.policy.default_pool.clone().map_or_else(|| PoolName::parse("default"), Ok)?;
    let images = images(&mut survey, (&point, &manifest), spec.pool.as_ref(), &default).await?;
    let clone = CloneSpec {
        name: match &spec.identity {
            Restored::New(name) => Some(name.clone()),
            Restored::InPlace => None,
        },
        uplinks: spec.uplinks.clone(),
        replace: spec.replace,
        ..CloneSpec::default()
    };
    let policy = match (&spec.identity, &present) {
        (Restored::New(_), _) => clone.policy(),
        (Restored::InPlace, Some(_)) => Policy {
            disks: policy::Files::Place,
            nvram: policy::Files::Place,
            chain: policy::Chain::Flatten,
            ..Policy::RESTORE
        },
        (Restored::InPlace, None) => Policy { genid: policy::Genid::New, ..Policy::REPLICA },
    };
    let fits = policy.placement == policy::Placement::Check && survey.compare_cpu().await? == CpuFit::Fits;
    let variables = match (&spec.identity, &replaced, variables_of(&survey.document)) {
        (Restored::InPlace, ..) => free_variables(&survey, target).await?,
        (Restored::New(name), Some(_), Some(path)) => variables_of_name(target, path, name).await?,
        (Restored::New(_), ..) => None,
    };
    let mut rewritten = {
        let taken = |path: &str| survey.volumes.contains(path);
        let locate = |request: &Request<'_>| match (request.content, &variables) {
            (Content::Nvram, Some(free)) => Some(Location::File(free.clone())),
            _ => place::locate(&images, taken, request),
        };
        let mut facts = Facts { locate: Box::new(locate), ..facts(&survey, &images, &clone, cx) };
        rewrite(&survey.document, &policy, &mut facts).map_err(|e| refused(&e))?
    };
    // The rewriting knows no capabilities; the target was asked for this one.
    rewritten.warnings.retain(|warning| !(fits && matches!(warning, Warning::Unchecked { path } if path == "cpu")));
    let name = VmName::parse(rewritten.domain.name.as_deref().unwrap_or_default())?;
    // What was proved then is about other images.
    let notes = VmNotes::of(&rewritten.domain);
    if notes.proof.is_some() {
        VmNotes { proof: None, ..notes }.apply_to(&mut rewritten.domain)?;
    }

    let mut work = Work {
        survey: &survey,
        images: &images,
        point: &point,
        manifest: &manifest,
        spec,
        lines: vec![PlanLine::new("use", "backup", point.to_string()).note(format!(
            "of {}, {}; compared before anything is used",
            manifest.vm,
            consistency(&manifest)
        ))],
        steps: Vec::new(),
        turns: Turns::default(),
        placed: Vec::new(),
    };
    for copy in &rewritten.copies {
        work.copy(copy)?;
    }
    work.check_room()?;
    let Work { mut lines, steps, placed, .. } = work;
    let note = |warning: &Warning| PlanLine::new("note", "domain", name.as_str()).note(warning.to_string());
    lines.extend(rewritten.warnings.iter().map(note));
    let come = Come { document: rewritten.domain, placed, lines, steps };
    let (mut plan, document, id, kept) = match present {
        Some(present) => replace(target, present, come).await?,
        None => {
            let mut come = come;
            if let Some((line, step)) = replaced.as_ref().map(Replaced::set_aside) {
                come.lines.push(line);
                come.steps.push(step);
            }
            let arrival = Arrival {
                kind: "restore.vm",
                verb: "restore",
                document: come.document,
                start: spec.start,
                images: come.placed,
                lines: come.lines,
                steps: come.steps,
            };
            let instead = replaced.as_ref().map(Replaced::id);
            let CreatePlan { plan, document, id } = plan_arrival_for(target, arrival, instead, cx).await?;
            (plan, document, id, Vec::new())
        }
    };
    plan.title =
        format!("restore {point} from {directory} on {} as {name} on {}", survey.here.target, survey.there.target);
    let point = PointRef { vm: point.vm, point: Some(point.point) };
    let aside = replaced.as_ref().map(Replaced::aside);
    if let Some(replaced) = replaced {
        replaced.finish(&mut plan);
    }
    let (changes, warnings) = (rewritten.changes, rewritten.warnings);
    Ok(RestorePlan { plan, document, name, id, point, kept, replaced: aside, changes, warnings })
}

fn consistency(manifest: &Manifest) -> String {
    match manifest.consistency {
        Consistency::Off => "which was off".to_owned(),
        other => format!("{other}-consistent"),
    }
}

/// The machine's document, as it was when it was stored.
async fn document(session: &mut Session, point: &Point, manifest: &Manifest) -> Result<Domain> {
    let file = inside(&point.whole(), &manifest.document.file);
    let named = || Resource::File(format!("{}/{}", file.root, file.name));
    let bytes = session.read(&file, DOCUMENT_MOST).await?;
    let found = digest_of(&bytes);
    if found != manifest.document.digest {
        return Err(Error::new(ErrorKind::Corrupt, "the file is not what it was when it was stored")
            .on(named())
            .with_detail(format!("expected {}, found {found}", manifest.document.digest)));
    }
    let unreadable =
        || Error::invalid("document", "the stored definition cannot be read").with_detail(named().to_string());
    let text = std::str::from_utf8(&bytes).map_err(|e| unreadable().with_source(e))?;
    let document = Domain::from_xml(text).map_err(|e| unreadable().with_source(e))?;
    let wrong = |why: String| Err(Error::invalid("document", why).with_detail(named().to_string()));
    // Both were written together, so one that was changed alone is noticed.
    if document.name.as_deref() != Some(manifest.vm.as_str()) || document.uuid != Some(manifest.uuid.into()) {
        return wrong("the stored definition is that of another machine than the manifest".to_owned());
    }
    let targets: Vec<_> = place::own(&document).filter(|disk| disk.source.is_some()).map(target_of).collect();
    let stored: Vec<_> = manifest.disks.iter().map(|disk| disk.target.clone()).collect();
    if targets != stored {
        let shown = printable_within(&targets.join(", "), 128).to_string();
        return wrong(format!("the stored definition has the disks {shown}, the manifest {}", stored.join(", ")));
    }
    Ok(document)
}

fn target_of(disk: &kvm_xml::domain::Disk) -> String {
    disk.target.as_ref().and_then(|target| target.dev.as_ref()).map(ToString::to_string).unwrap_or_default()
}

/// The machine as it is on the target now. `InvalidState` when it cannot be set back.
async fn present(target: &Host, manifest: &Manifest) -> Result<Option<VmSummary>> {
    let vm = match target.hypervisor.find(&VmRef::Id(manifest.uuid)).await {
        Ok(vm) => vm,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let refuse = |why: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, why)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    if vm.state.is_active() || vm.has_saved_state || !vm.persistent {
        let why = format!("VM {} is {}: what is restored in its place must be off", vm.name, vm.state);
        return refuse(why, "shut it down first, or restore it under another name: --name NAME");
    }
    let snapshots = match target.hypervisor.snapshots() {
        Some(snapshots) => snapshots.list(&vm.id).await?.len(),
        None => 0,
    };
    let checkpoints = match target.hypervisor.checkpoints() {
        Some(checkpoints) => checkpoints.list(&vm.id).await?.len(),
        None => 0,
    };
    if snapshots + checkpoints > 0 {
        let why =
            format!("VM {} has {snapshots} snapshots and {checkpoints} checkpoints of its present disks", vm.name);
        return refuse(why, "delete them first, or restore it under another name: --name NAME");
    }
    Ok(Some(vm))
}

/// The stored images by where they lay, and the pool that takes each.
async fn images(
    survey: &mut Survey<'_>,
    (point, manifest): (&Point, &Manifest),
    asked: Option<&PoolName>,
    default: &PoolName,
) -> Result<Images> {
    let mut images = Images::new();
    let disks: Vec<_> = place::own(&survey.document).filter(|disk| disk.source.is_some()).cloned().collect();
    for (disk, stored) in disks.iter().zip(&manifest.disks) {
        let Some(location) = place::location(disk) else {
            return Err(Error::invalid(
                "document",
                format!("disk {} of the stored definition is no file", stored.target),
            ));
        };
        let said = disk.driver.as_ref().and_then(|driver| driver.r#type).map(|format| format.to_string());
        if said.as_deref().unwrap_or("raw") != stored.format.as_str() {
            return Err(Error::invalid(
                "document",
                format!("disk {} has another format in the manifest", stored.target),
            ));
        }
        judge(survey.source, point, stored).await?;
        let volume = volume(&location, stored, default)?;
        let pool = place::choose(survey, &volume, asked, default)?;
        survey.look_into(&pool).await?;
        images.insert(location, Own { volume, stored: stored.stored.size, pool, is_qcow2: false });
    }
    Ok(images)
}

/// As if the image lay where the original did.
fn volume(location: &Location, stored: &StoredDisk, pool: &PoolName) -> Result<VolumeInfo> {
    let path = match location {
        Location::File(path) | Location::Block(path) => Some(DiskPath::adopt(path)?),
        Location::Volume { .. } => None,
    };
    Ok(VolumeInfo {
        pool: pool.clone(),
        name: kvm_core::VolumeName::parse(&stored.stored.file)?,
        path,
        address: None,
        format: Some(stored.format.as_str().to_owned()),
        capacity: stored.virtual_size,
        allocation: stored.allocated,
        backing: None,
    })
}

/// An image in a store may have been written by a stranger: one that names other files is refused.
async fn judge(store: &Host, point: &Point, stored: &StoredDisk) -> Result<()> {
    if stored.format == StoredFormat::Raw {
        return Ok(());
    }
    let file = inside(&point.whole(), &stored.stored.file);
    let path = format!("{}/{}", file.root, file.name);
    let seen = inspect(&*store.transport, path.as_ref(), Some(Format::Qcow2)).await?;
    match kvm_image::check(&seen, &Expect::format(Format::Qcow2)) {
        Ok(_) if seen.virtual_size == Some(stored.virtual_size) => Ok(()),
        Ok(_) => Err(Error::invalid("virtual_size_bytes", format!("is not what the header of {path} says"))),
        Err(e) => Err(Error::from(e).on(Resource::File(path))),
    }
}

/// A path for the firmware's variables that the target has not; `None` when the document names none.
async fn free_variables(survey: &Survey<'_>, target: &Host) -> Result<Option<String>> {
    let nvram = survey.document.os.as_ref().and_then(|os| os.nvram.as_ref());
    let Some(path) = nvram.and_then(|nvram| nvram.value.clone()) else { return Ok(None) };
    let (stem, ending) = path.rsplit_once('.').map_or((path.as_str(), String::new()), |(a, b)| (a, format!(".{b}")));
    for number in 0..100 {
        let path = if number == 0 { path.clone() } else { format!("{stem}-{number}{ending}") };
        if !has(target, &path).await? {
            return Ok(Some(path));
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "a hundred files of UEFI variables have this name")
        .on(Resource::File(path)))
}

/// What has come when the machine is defined.
struct Come {
    document: Domain,
    placed: Vec<DiskPath>,
    lines: Vec<PlanLine>,
    steps: Vec<Box<dyn Step>>,
}

/// Sets a machine that is there back: its definition is replaced when all images have come.
async fn replace(target: &Host, vm: VmSummary, come: Come) -> Result<(Plan, Domain, VmId, Vec<String>)> {
    let capabilities = target.hypervisor.capabilities().await?;
    let now = target.hypervisor.definition(&vm.id, View::CONFIG).await?;
    let Come { mut document, placed, mut lines, mut steps } = come;
    // It may have been renamed since.
    document.name = Some(vm.name.as_str().to_owned());
    let kept: Vec<_> = place::own(&now).filter_map(place::location).map(|location| location.to_string()).collect();
    lines.extend(
        kept.iter().map(|path| PlanLine::new("keep", "image", path).note("the machine does not use it any more")),
    );
    lines.push(PlanLine::new("replace", "domain", vm.name.as_str()));
    let files: BTreeSet<_> = placed.iter().map(|path| path.as_str().to_owned()).collect();
    steps.push(Box::new(Redefine { id: vm.id, name: vm.name.clone(), document: document.to_xml(), files }));
    let plan = Plan {
        kind: "restore.vm",
        title: String::new(),
        target: capabilities.target.clone(),
        locks: vec![LockKey { host: capabilities.host_key(), vm: vm.id }],
        lines,
        // The definition that is replaced may have passwords, and is in no journal.
        reversible: steps.len() - 1,
        steps,
    };
    Ok((plan, document, vm.id, kept))
}

/// What is being put together.
struct Work<'a> {
    survey: &'a Survey<'a>,
    images: &'a Images,
    point: &'a Point,
    manifest: &'a Manifest,
    spec: &'a RestoreSpec,
    lines: Vec<PlanLine>,
    steps: Vec<Box<dyn Step>>,
    turns: Turns,
    /// Where images will be.
    placed: Vec<DiskPath>,
}

impl Work<'_> {
    fn copy(&mut self, copy: &Copy) -> Result<()> {
        let (Location::File(to) | Location::Block(to)) = &copy.to else {
            return Err(Error::internal("what is restored has no path"));
        };
        let to = DiskPath::adopt(to)?;
        match copy.content {
            Content::Disk => {
                let index = self.images.get(&copy.from).and_then(|own| {
                    self.manifest
                        .disks
                        .iter()
                        .find(|disk| disk.stored.file == own.volume.name.as_str())
                        .map(|disk| (own, disk))
                });
                let Some((own, disk)) = index else {
                    return Err(Error::internal(format!("nobody looked at {}", copy.from)));
                };
                let volume = place::reference(&own.pool, &copy.to)?;
                let note = format!("{}, {}, {} stored", disk.format, disk.virtual_size, disk.allocated);
                self.lines.push(PlanLine::new("restore", "disk", &disk.target).note(note));
                self.lines.push(PlanLine::new("create", "volume", volume.as_text()));
                self.placed.push(to.clone());
                self.step(&disk.stored, to, Some((volume, disk.virtual_size)));
                Ok(())
            }
            Content::Nvram => {
                // One that never ran has none, and gets new ones.
                if let Some(stored) = &self.manifest.nvram {
                    self.lines.push(PlanLine::new("restore", "nvram", to.as_str()));
                    self.step(stored, to, None);
                }
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Unsupported, format!("{} is in no backup", copy.from))),
        }
    }

    fn step(&mut self, stored: &crate::backup::StoredFile, to: DiskPath, volume: Option<(VolumeRef, Bytes)>) {
        let (volume, size) = volume.map_or((None, stored.size), |(volume, size)| (Some(volume), size));
        self.steps.push(Box::new(RestoreFile {
            store: Peer::of(&self.survey.here),
            target: Peer::of(&self.survey.there),
            point: self.point.clone(),
            file: stored.file.clone(),
            digest: stored.digest,
            to,
            volume,
            size,
            limit: self.spec.limit.bytes_per_second(),
            is_compressed: self.spec.compression == Compress::Auto,
            at_once: self.spec.parallel,
            reach: self.turns.next(),
        }));
    }

    fn check_room(&self) -> Result<()> {
        for pool in self.images.values().map(|own| &own.pool) {
            let here = self.images.values().filter(|own| own.pool.name == pool.name);
            check_room(pool, here.fold(Bytes::ZERO, |sum, own| sum.saturating_add(own.volume.allocation)))?;
        }
        Ok(())
    }
}
