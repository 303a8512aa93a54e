//! A machine from a point in a store: another one, or the very same as it was.

use kvm_core::op::{Peer, Plan, PlanLine, Step};
use kvm_core::{
    Bandwidth, Bytes, Consistency, CpuFit, DiskPath, Error, ErrorKind, Host, PoolName, Result, VmId, VmName, VmNotes,
};
use kvm_vm::{PlanContext, Start, VolumeRef};
use kvm_xml::Domain;
use kvm_xml::rewrite::{Content, Copy, Edit, Facts, Location, Request, Warning, policy, rewrite};

use crate::backup::{Manifest, Point, PointRef, StoreDir, StoredFile, read_manifest, resolve};
use crate::facts::{facts, refused};
use crate::parallel::Parallel;
use crate::place::{self, Images};
use crate::replace::Replace;
use crate::spec::{CloneSpec, Compress, TpmState, UplinkMap};
use crate::survey::{Survey, settle_cpu};
use crate::transfer::{Session, Turns};

mod identity;
mod step;
mod stored;
mod tpm;

use identity::{Come, Identity};
pub(crate) use step::{Redefine, RestoreFile};
pub(crate) use tpm::RestoreTpm;
use tpm::Tpm;

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
    /// What another machine has of the state of an emulated TPM in the point; one that comes back as itself has it, unless
    /// it is there and has a state.
    pub tpm: TpmState,
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
/// `NotFound` for the point, a pool, a network, the secret of a TPM's state, or such a state that is asked for and not in the
/// point; `AlreadyExists` when the name is taken, or a state lies where that of a new machine's TPM comes; `InvalidState` when the machine is
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
    // Several documents are part of what is worked on, too much for the stack of whoever waits.
    Box::pin(draw_up(store, directory, point, target, spec, cx)).await
}

async fn draw_up(
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
    let document = stored::document(&mut session, &point, &manifest).await?;
    drop(session);
    Session::open(&*target.transport).await?.give_back(&*target.transport).await;

    let mut survey = Survey::arriving(store, target, document).await?;
    let identity = Identity::find(target, &manifest, spec).await?;
    let default = cx.policy.default_pool()?;
    let images = stored::images(&mut survey, (&point, &manifest), spec.pool.as_ref(), &default).await?;
    let clone = CloneSpec {
        name: identity.new_name().cloned(),
        uplinks: spec.uplinks.clone(),
        replace: spec.replace,
        tpm: spec.tpm,
        ..CloneSpec::default()
    };
    let tpm = Tpm::choose(&survey, (&point, &manifest), &identity, spec.tpm).await?;
    let policy = tpm.policy(identity.policy(&clone));
    let cpu = match policy.placement {
        policy::Placement::Check => survey.compare_cpu().await?,
        _ => CpuFit::Unknown,
    };
    let variables = identity.variables(&survey, target).await?;
    let mut rewritten = {
        let taken = |path: &str| survey.volumes.contains(path);
        let locate = |request: &Request<'_>| match (request.content, &variables) {
            (Content::Nvram, Some(free)) => Some(Location::File(free.clone())),
            _ => place::locate(&images, taken, request),
        };
        let mut facts = Facts { locate: Box::new(locate), ..facts(&survey, &images, &clone, cx) };
        rewrite(&survey.document, &policy, &mut facts).map_err(|e| refused(&e))?
    };
    settle_cpu(&mut rewritten.warnings, cpu);
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
    work.tpm(&tpm, &rewritten.domain).await?;
    for copy in &rewritten.copies {
        work.copy(copy)?;
    }
    place::check_room(&images)?;
    let Work { mut lines, steps, placed, .. } = work;
    let note = |warning: &Warning| PlanLine::new("note", "domain", name.as_str()).note(warning.to_string());
    lines.extend(rewritten.warnings.iter().map(note));
    let come = Come { document: rewritten.domain, placed, lines, steps };
    let (mut plan, document, id, kept) = identity.plan(target, come, spec.start, cx).await?;
    plan.title =
        format!("restore {point} from {directory} on {} as {name} on {}", survey.here.target, survey.there.target);
    let point = PointRef { vm: point.vm, point: Some(point.point) };
    let replaced = identity.finish(&mut plan);
    let (changes, warnings) = (rewritten.changes, rewritten.warnings);
    Ok(RestorePlan { plan, document, name, id, point, kept, replaced, changes, warnings })
}

fn consistency(manifest: &Manifest) -> String {
    match manifest.consistency {
        Consistency::Off => "which was off".to_owned(),
        other => format!("{other}-consistent"),
    }
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
            // It need not be in the document: `tpm` sees to it.
            Content::Tpm => Ok(()),
            _ => Err(Error::new(ErrorKind::Unsupported, format!("{} is in no backup", copy.from))),
        }
    }

    fn step(&mut self, stored: &StoredFile, to: DiskPath, volume: Option<(VolumeRef, Bytes)>) {
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
}
