//! Another machine that starts as this one is now.

use std::cell::RefCell;
use std::collections::BTreeSet;

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{
    Bandwidth, DiskPath, Error, ErrorKind, Host, MacAddr, Resource, Result, Secrets, View, VmId, VmName, VmSummary,
};
use kvm_vm::{
    Arrival, CreatePlan, PlanContext, VolumeRef, copy_volume, plan_arrival_for, reserve_volume, stored_document,
    unused_mac,
};
use kvm_xml::rewrite::{
    self, Attached, Content, Copy, Edit, Facts, How, Location, Place, RewriteError, Rewritten, Warning, rewrite,
};
use kvm_xml::value::MacAddr as XmlMac;
use kvm_xml::{Document as _, Domain};

use crate::moment;
use crate::place::{self, Images};
use crate::replace::{Replaced, free_variables};
use crate::spec::{CloneSpec, Compress, Track};
use crate::step::{CopyImage, CopyVariables, Ends, TransferImage, Whole, whole_document};
use crate::survey::{Survey, has, settle_cpu};
use crate::tally::Tally;
use crate::tpm::check_still;
use crate::transfer::{Session, Turns};

/// A clone that could be made.
#[derive(Debug)]
pub struct ClonePlan {
    /// What would happen, on the target; its `Display` is the dry run.
    pub plan: Plan,
    /// The clone's document.
    pub document: Domain,
    /// Its name.
    pub name: VmName,
    /// Its uuid.
    pub id: VmId,
    /// In what its document differs from the original's, and why.
    pub changes: Vec<Edit>,
    /// What somebody should know before.
    pub warnings: Vec<Warning>,
    /// How its images get there.
    pub way: Way,
    /// What a machine is called, until it is deleted, in whose place the clone comes.
    pub replaced: Option<VmName>,
}

/// Plans a clone: another machine with the same content, on the same host or another.
///
/// Between two hosts images are copied as they are stored, holes stay holes, and what has arrived is read once more and
/// compared; one host copies them by itself. One that is an overlay becomes whole. To find out how images can go, the
/// helpers of both hosts are started, which puts them there where they are not yet. The original is not changed; where it runs, its disks are held at
/// one moment by a snapshot for as long as the copy takes ([`WhileRunning`](crate::WhileRunning)).
///
/// A machine that has the name already can be replaced ([`Replace`](crate::Replace)): it gets another name right before the
/// clone is defined, with its definition, images, UEFI variables and TPM state, and goes when the clone stands.
///
/// `AlreadyExists` when the name is taken, `NotFound` for a pool or network that the target has not, `NoSpace`,
/// `InvalidState` when the original's images, or the TPM state that is asked for, cannot lie still, `Unsupported` for what cannot be copied: disks on servers,
/// encrypted ones, devices of the host.
pub async fn plan_clone(
    source: &Host,
    target: &Host,
    vm: &VmSummary,
    spec: &CloneSpec,
    cx: &PlanContext<'_>,
) -> Result<ClonePlan> {
    // Several documents are part of what is worked on, too much for the stack of whoever waits.
    Box::pin(draw_up(source, target, vm, spec, cx)).await
}

async fn draw_up(
    source: &Host,
    target: &Host,
    vm: &VmSummary,
    spec: &CloneSpec,
    cx: &PlanContext<'_>,
) -> Result<ClonePlan> {
    let secrets = if spec.keep_passwords { Secrets::Show } else { Secrets::Hide };
    let view = if vm.persistent { View::CONFIG } else { View::LIVE };
    let mut survey = Survey::of(source, target, vm, View { secrets, ..view }).await?;
    let replaced = match (&spec.name, spec.replace) {
        (Some(name), replace) => Replaced::find(target, name, replace).await?,
        (None, None) => None,
        (None, Some(_)) => {
            return Err(
                Error::invalid("name", "nobody knows which machine is to be replaced").with_detail("give a name")
            );
        }
    };
    if survey.is_same_host() && replaced.as_ref().is_some_and(|replaced| replaced.id() == vm.id) {
        return Err(Error::invalid("name", format!("VM {} cannot be replaced by a clone of itself", vm.name))
            .with_detail("choose another name"));
    }
    check_still(vm, &survey.document, spec)?;
    let moment = moment::hold(source, vm, (spec.running, Track::No), cx.entropy).await?;
    let default = cx.policy.default_pool()?;
    let images = place::images(&mut survey, spec.pool.as_ref(), &default).await?;
    let attached = attached(source, vm).await?;
    let cpu = survey.compare_cpu().await?;
    let variables = match (&replaced, variables_of(&survey.document), &spec.name) {
        (Some(_), Some(path), Some(name)) => free_variables(target, path, name).await?.map(Location::File),
        _ => None,
    };
    let mut rewritten = {
        let Facts { locate, .. } = facts(&survey, &images, spec, cx);
        let locate = Box::new(|request: &rewrite::Request<'_>| match request.content {
            Content::Nvram => variables.clone().or_else(|| locate(request)),
            _ => locate(request),
        });
        let mut facts = Facts { attached, locate, ..facts(&survey, &images, spec, cx) };
        rewrite(&survey.document, &spec.policy(), &mut facts).map_err(|e| refused(&e))?
    };
    settle_cpu(&mut rewritten.warnings, cpu);
    let name = VmName::parse(rewritten.domain.name.as_deref().unwrap_or_default())?;
    let ends = Ends { source: Peer::of(&survey.here), target: Peer::of(&survey.there) };

    let route = Route::choose(&survey).await?;
    let mut work = Work {
        lines: Vec::new(),
        steps: Vec::new(),
        turns: Turns::default(),
        placed: Vec::new(),
        survey: &survey,
        images: &images,
        ends: &ends,
        route: &route,
        spec,
        tally: Tally::default(),
    };
    if !matches!(route, Route::Helpers) && spec.limit != Bandwidth::UNLIMITED {
        return Err(no_limit());
    }
    if let (Route::Libvirt { why }, false) = (&route, images.is_empty()) {
        work.lines
            .push(PlanLine::new("use", "libvirt", "").note(format!("to carry the images, which is slower: {why}")));
    }
    if let Some(moment) = &moment {
        work.lines.push(moment.line.clone());
    }
    work.tpm_of_clone(vm, &mut rewritten).await?;
    for copy in &rewritten.copies {
        work.copy(copy).await?;
    }
    work.check_room()?;
    let Work { mut lines, steps, placed, .. } = work;
    lines.extend(
        rewritten
            .warnings
            .iter()
            .map(|warning| PlanLine::new("note", "domain", name.as_str()).note(warning.to_string())),
    );
    let steps = match moment {
        Some(moment) => moment.around(&ends, vm, steps),
        None => steps,
    };
    let mut steps: Vec<Box<dyn Step>> = steps;
    if let Some((line, step)) = replaced.as_ref().map(Replaced::set_aside) {
        lines.push(line);
        steps.push(step);
    }
    let arrival = Arrival {
        kind: "clone.vm",
        verb: "clone",
        document: rewritten.domain,
        start: spec.start,
        images: placed,
        lines,
        steps,
    };
    let instead = replaced.as_ref().map(Replaced::id);
    let CreatePlan { mut plan, document, id } = plan_arrival_for(target, arrival, instead, cx).await?;
    plan.title = match survey.is_same_host() {
        true => format!("clone {} to {name} on {}", vm.name, survey.there.target),
        false => format!("clone {} from {} to {name} on {}", vm.name, survey.here.target, survey.there.target),
    };
    plan.locks.push(LockKey { host: survey.here.host_key(), vm: vm.id });
    let aside = replaced.as_ref().map(Replaced::aside);
    if let Some(replaced) = replaced {
        replaced.finish(&mut plan);
    }
    let Rewritten { changes, warnings, .. } = rewritten;
    Ok(ClonePlan { plan, document, name, id, changes, warnings, way: route.way(), replaced: aside })
}

/// The file of UEFI variables that a document names.
pub(crate) fn variables_of(document: &Domain) -> Option<&str> {
    document.os.as_ref()?.nvram.as_ref()?.value.as_deref()
}

/// What belongs to the machine beside its document.
pub(crate) async fn attached(source: &Host, vm: &VmSummary) -> Result<Attached> {
    let snapshots = match source.hypervisor.snapshots() {
        Some(snapshots) => snapshots.list(&vm.id).await?.len(),
        None => 0,
    };
    let checkpoints = match source.hypervisor.checkpoints() {
        Some(checkpoints) => checkpoints.list(&vm.id).await?.len(),
        None => 0,
    };
    Ok(Attached { snapshots, checkpoints, starts_with_host: vm.autostart == Some(true), ..Attached::default() })
}

/// What the rewriting of the document needs to know of both hosts.
pub(crate) fn facts<'a>(
    survey: &'a Survey<'_>,
    images: &'a Images,
    spec: &'a CloneSpec,
    cx: &'a PlanContext<'_>,
) -> Facts<'a> {
    let given = RefCell::new(BTreeSet::<MacAddr>::new());
    let [here, there] = &survey.graphs;
    let taken = |path: &str| survey.volumes.contains(path);
    let is_same_host = survey.is_same_host();
    Facts {
        name: spec.name.as_ref().map(|name| name.as_str().to_owned()),
        uuid: Some(cx.entropy.uuid()),
        genid: Some(cx.entropy.uuid()),
        place: if is_same_host { Place::SameHost } else { Place::OtherHost },
        machines: survey.machines(),
        mac: Box::new(move || {
            let mac = unused_mac(cx.entropy, &[here, there], &mut given.borrow_mut());
            Some(XmlMac(mac.octets()))
        }),
        name_taken: Box::new(|name| survey.has_name(name)),
        network: Box::new(|uplink| survey.uplink(uplink, &spec.uplinks)),
        shares_network: Box::new(|uplink| survey.shares(uplink)),
        locate: Box::new(move |request| place::locate(images, taken, request)),
        location_taken: Box::new(move |location| matches!(location, Location::File(path) if taken(path))),
        reaches: Box::new(|source| survey.reaches(source)),
        file_exists: Box::new(|path| survey.has_file(path)),
        secret_exists: Box::new(|secret| survey.has_secret(secret)),
        ..match is_same_host {
            true => Facts::default(),
            false => Facts::other_host(),
        }
    }
}

/// Who carries the images of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The host copies them itself, and nobody compares.
    SameHost,
    /// The helpers of both hosts: compressed and limited as asked, read back and compared.
    Helpers,
    /// libvirt of both hosts: read back and compared.
    Libvirt,
}

/// How the content of images gets to the other host.
pub(crate) enum Route {
    /// Not at all: the host copies them itself.
    SameHost,
    /// From helper to helper.
    Helpers,
    /// Through this program and both hosts' libvirt.
    Libvirt { why: String },
}

impl Route {
    pub(crate) fn way(&self) -> Way {
        match self {
            Self::SameHost => Way::SameHost,
            Self::Helpers => Way::Helpers,
            Self::Libvirt { .. } => Way::Libvirt,
        }
    }

    pub(crate) async fn choose(survey: &Survey<'_>) -> Result<Self> {
        if survey.is_same_host() {
            return Ok(Self::SameHost);
        }
        for host in [survey.source, survey.target] {
            match Session::open(&*host.transport).await {
                Ok(session) => session.give_back(&*host.transport).await,
                Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => return Err(e),
                Err(e) => return Ok(Self::Libvirt { why: e.message().to_owned() }),
            }
        }
        Ok(Self::Helpers)
    }
}

pub(crate) fn no_limit() -> Error {
    Error::new(ErrorKind::Unsupported, "a limit of bandwidth is kept between helpers on two hosts alone")
        .on(Resource::Field("bandwidth".into()))
        .with_detail("leave it out")
}

/// What is being put together.
pub(crate) struct Work<'a> {
    pub(crate) survey: &'a Survey<'a>,
    pub(crate) images: &'a Images,
    pub(crate) ends: &'a Ends,
    pub(crate) route: &'a Route,
    pub(crate) spec: &'a CloneSpec,
    pub(crate) lines: Vec<PlanLine>,
    pub(crate) steps: Vec<Box<dyn Step>>,
    pub(crate) turns: Turns,
    /// Where images will be.
    pub(crate) placed: Vec<DiskPath>,
    /// Hears what was sent.
    pub(crate) tally: Tally,
}

impl Work<'_> {
    pub(crate) async fn copy(&mut self, copy: &Copy) -> Result<()> {
        match copy.content {
            Content::Disk => self.image(copy),
            Content::Nvram => self.variables(copy).await,
            // It need not be in the document: `tpm` sees to it.
            Content::Tpm => Ok(()),
            other => {
                let what = match other {
                    Content::Nvdimm => "an NVDIMM",
                    _ => "an image chain",
                };
                Err(Error::new(ErrorKind::Unsupported, format!("{what} is not copied: {}", copy.from))
                    .on(Resource::File(copy.from.to_string())))
            }
        }
    }

    fn image(&mut self, copy: &Copy) -> Result<()> {
        let Some(own) = self.images.get(&copy.from) else {
            return Err(Error::internal(format!("nobody looked at {}", copy.from)));
        };
        let from = VolumeRef { pool: own.volume.pool.clone(), volume: own.volume.name.clone() };
        let to = place::reference(&own.pool, &copy.to)?;
        let size = own.volume.capacity;
        let format = own.volume.format.as_deref().unwrap_or("raw");
        let is_overlay = own.volume.backing.is_some() && copy.how == How::Flattened;
        let note = format!("{format}, {size}, {} on disk", own.volume.allocation);
        self.lines.push(PlanLine::new("copy", "volume", from.as_text()).note(match is_overlay {
            true => format!("{note}; an overlay, which becomes whole"),
            false => note,
        }));
        self.lines.push(PlanLine::new("create", "volume", to.as_text()));
        let (Location::File(path) | Location::Block(path)) = &copy.to else {
            return Err(Error::internal("a copy has no path"));
        };
        let to_path = DiskPath::adopt(path)?;
        self.placed.push(to_path.clone());
        let ends = self.ends.clone();
        let whole = match is_overlay {
            true => Some(Whole::new(from.clone(), &to.volume, size, format)?),
            false => None,
        };
        match self.route {
            Route::SameHost => {
                let document = whole_document(&to.volume, size, format)?;
                self.steps.push(copy_volume(from, to, size, &document));
            }
            Route::Helpers => self.steps.push(Box::new(TransferImage {
                ends,
                path: own.volume.host_path()?.clone(),
                is_qcow2: own.is_qcow2,
                from,
                to,
                to_path,
                size,
                whole,
                limit: self.spec.limit.bytes_per_second(),
                is_compressed: self.spec.compression == Compress::Auto,
                at_once: self.spec.parallel,
                reach: self.turns.next(),
                tally: self.tally.of(&copy.path),
            })),
            Route::Libvirt { .. } => {
                let document = stored_document(&to.volume, own.stored, &own.pool);
                self.steps.push(reserve_volume(to.clone(), own.stored, &document));
                self.steps.push(Box::new(CopyImage { ends, from, to, size, whole, document: document.to_xml() }));
            }
        }
        Ok(())
    }

    /// Those of a machine that never ran are not there yet.
    async fn variables(&mut self, copy: &Copy) -> Result<()> {
        let (Location::File(from), Location::File(to)) = (&copy.from, &copy.to) else {
            return Err(Error::new(ErrorKind::Unsupported, format!("UEFI variables in {} are not copied", copy.from))
                .with_detail("only those in a file are"));
        };
        if !has(self.survey.source, from).await? {
            return Ok(());
        }
        if has(self.survey.target, to).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{} has a file {to}", self.survey.there.target))
                .on(Resource::File(to.clone()))
                .with_detail("choose another name for the clone, or remove that file"));
        }
        self.lines.push(PlanLine::new("copy", "nvram", from).note(format!("to {to}")));
        self.steps.push(Box::new(CopyVariables {
            ends: self.ends.clone(),
            from: DiskPath::adopt(from)?,
            to: DiskPath::adopt(to)?,
        }));
        Ok(())
    }

    /// Whether there is room for the images.
    pub(crate) fn check_room(&self) -> Result<()> {
        place::check_room(self.images)
    }
}

/// Why the document could not be made.
pub(crate) fn refused(error: &RewriteError) -> Error {
    use rewrite::Refusal;
    let kind = match error.kind {
        Refusal::NameTaken | Refusal::LocationTaken => ErrorKind::AlreadyExists,
        Refusal::NetworkMissing | Refusal::SecretMissing => ErrorKind::NotFound,
        Refusal::Facts => ErrorKind::InvalidInput,
        _ => ErrorKind::Unsupported,
    };
    // Nothing is replaced here.
    let fix = if error.kind == Refusal::NameTaken { "choose another name" } else { &error.fix };
    Error::new(kind, error.problem.clone()).on(Resource::Field(error.field.clone())).with_detail(fix.to_owned())
}
