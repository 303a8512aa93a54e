//! A machine's replica on another host: made once, and brought up to date from then on.

use std::collections::BTreeMap;

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{
    Bandwidth, Consistency, CpuFit, DiskPath, Elsewhere, Error, ErrorKind, Host, PoolName, Replica, ReplicaImage,
    ReplicaState, Replication, Resource, Result, Secrets, View, VmId, VmName, VmNotes, VmSummary,
};
use kvm_vm::{Arrival, CreatePlan, PlanContext, Start, plan_arrival};
use kvm_xml::rewrite::{Copy, Edit, Facts, Location, Policy, Reason, Rewritten, Warning, rewrite};
use kvm_xml::{Document as _, Domain};

use crate::clone::{Route, Way, Work, attached, facts, no_limit, refused};
use crate::moment::{self, MomentPlan};
use crate::place::{self, Images};
use crate::spec::SyncSpec;
use crate::step::{BeginApplying, ClaimReplica, Ends, NoteDigests, NoteSource, RedefineReplica};
use crate::survey::Survey;
use crate::tally::{SyncedImage, Tally, disk_of};
use crate::transfer::Turns;

mod kept;
mod measure;
mod update;

use kept::Kept;
use measure::Measured;

/// A sync that could be made.
#[derive(Debug)]
pub struct SyncPlan {
    /// What would happen, on the target; its `Display` is the dry run.
    pub plan: Plan,
    /// The replica's document.
    pub document: Domain,
    /// Its name.
    pub name: VmName,
    /// Its uuid, which is that of its source.
    pub id: VmId,
    /// Whether there is no replica yet.
    pub is_first: bool,
    /// In what its document differs from its source's, and why.
    pub changes: Vec<Edit>,
    /// What somebody should know before.
    pub warnings: Vec<Warning>,
    /// What was moved, once the plan was carried out by this process.
    pub tally: Tally,
    /// How its images get there.
    pub way: Way,
    measured: Vec<Measured>,
}

impl SyncPlan {
    /// The disks of which more than changes goes over: those that the replica has not yet, and all of them where a host has
    /// no helper.
    #[must_use]
    pub fn whole_images(&self) -> Vec<&str> {
        self.measured.iter().filter(|image| image.is_whole).map(|image| image.disk.as_str()).collect()
    }

    /// Finds out what would be sent: by comparing digests where both hosts have a helper, by what takes room for images
    /// that are new. Changes nothing. What a running guest writes meanwhile may or may not be in it; `None` for an image
    /// that has to be put together from several first.
    pub async fn measure(&self, source: &Host, target: &Host) -> Result<Vec<(String, Option<SyncedImage>)>> {
        let mut all = Vec::new();
        for image in &self.measured {
            all.push((image.disk.clone(), image.measure(source, target).await?));
        }
        Ok(all)
    }
}

/// Plans a sync: the first one makes a replica on another host, each later one brings it up to date.
///
/// A replica is the same machine, kept off: same uuid, addresses and name, with its own images there. What changed is
/// found by digests, sent, compared and made durable beside the replica's images, all of them, before the first is
/// touched; cut short at any moment, the replica is what it was or what it becomes. Where a host has no helper, images
/// are sent in whole beside those that are there, and take their place. The source may run: its disks are held at one
/// moment by a snapshot. Its definition goes along each time.
///
/// `InvalidInput` for the source's own host; `InvalidState` when the machine is itself a replica, or the replica runs, is
/// paused, was promoted or has snapshots; `AlreadyExists` when the target has a machine of that name or uuid that is no
/// replica of this one; otherwise as [`plan_clone`](crate::plan_clone).
pub async fn plan_sync(
    source: &Host,
    target: &Host,
    vm: &VmSummary,
    spec: &SyncSpec,
    cx: &PlanContext<'_>,
) -> Result<SyncPlan> {
    // Several documents are part of what is worked on, too much for the stack of whoever waits.
    Box::pin(draw_up(source, target, vm, spec, cx)).await
}

async fn draw_up(
    source: &Host,
    target: &Host,
    vm: &VmSummary,
    spec: &SyncSpec,
    cx: &PlanContext<'_>,
) -> Result<SyncPlan> {
    if !vm.persistent {
        let message = format!("VM {} is gone when it stops, so it has no replica", vm.name);
        return Err(Error::new(ErrorKind::InvalidState, message).on(Resource::Vm(vm.name.as_str().to_owned())));
    }
    let mut survey = Survey::of(source, target, vm, View { secrets: Secrets::Show, ..View::CONFIG }).await?;
    if survey.is_same_host() {
        return Err(Error::invalid("host", "a replica is kept on another host than its source")
            .with_detail("a second machine on this one is a clone: kvmctl clone"));
    }
    let noted = VmNotes::of(&survey.document).replication;
    check_source(vm, noted.as_ref())?;
    let kept = Box::pin(Kept::find(&survey, vm, spec)).await?;
    let moment = moment::hold(source, vm, (spec.running, spec.track), cx.entropy).await?;
    let default = cx.policy.default_pool.clone().map_or_else(|| PoolName::parse("default"), Ok)?;
    let pools = kept.as_ref().map(|kept| kept.pools.clone()).unwrap_or_default();
    let asked = |disk: &str| pools.get(disk).or(spec.pool.as_ref()).cloned();
    let images = place::images_in(&mut survey, asked, &default).await?;
    let route = Route::choose(&survey).await?;
    if !matches!(route, Route::Helpers) && spec.limit != Bandwidth::UNLIMITED {
        return Err(no_limit());
    }
    // Only what goes from helper to helper changes an image in its place.
    let in_place = match (&kept, &route) {
        (Some(kept), Route::Helpers) => kept.places(&survey.document),
        _ => BTreeMap::new(),
    };
    let name = kept.as_ref().map_or_else(|| spec.target_name.clone(), |kept| Some(kept.vm.name.clone()));
    let like = spec.as_clone(name.filter(|name| *name != vm.name));
    let fits = survey.compare_cpu().await? == CpuFit::Fits;
    let mut rewritten = {
        let attached = attached(source, vm).await?;
        let Facts { locate, .. } = facts(&survey, &images, &like, cx);
        let locate = Box::new(move |request: &kvm_xml::rewrite::Request<'_>| {
            in_place.get(request.from).cloned().map(Location::File).or_else(|| locate(request))
        });
        let mut facts = Facts { attached, locate, ..facts(&survey, &images, &like, cx) };
        rewrite(&survey.document, &Policy::REPLICA, &mut facts).map_err(|e| refused(&e))?
    };
    rewritten.warnings.retain(|warning| !(fits && matches!(warning, Warning::Unchecked { path } if path == "cpu")));
    // It is written anew each time.
    rewritten.changes.retain(|edit| edit.reason != Reason::Lineage);
    let name = VmName::parse(rewritten.domain.name.as_deref().unwrap_or_default())?;
    let consistency = moment.as_ref().map_or(Consistency::Off, |moment| moment.consistency);
    let replica = replica(&survey, vm, &rewritten, spec, consistency, cx)?;
    let notes = VmNotes { replication: Some(Replication::Replica(replica.clone())), ..VmNotes::of(&rewritten.domain) };
    notes.apply_to(&mut rewritten.domain)?;
    let draft = Draft { survey: &survey, images: &images, route: &route, vm, noted, moment, replica, name };
    match kept {
        None => Box::pin(draft.first(rewritten, &like, cx)).await,
        Some(kept) => Box::pin(draft.later(rewritten, &like, kept)).await,
    }
}

/// What is known when the steps are put together.
struct Draft<'a> {
    survey: &'a Survey<'a>,
    images: &'a Images,
    route: &'a Route,
    vm: &'a VmSummary,
    /// What is noted on the source.
    noted: Option<Replication>,
    moment: Option<MomentPlan>,
    replica: Replica,
    name: VmName,
}

impl<'a> Draft<'a> {
    fn ends(&self) -> Ends {
        Ends { source: Peer::of(&self.survey.here), target: Peer::of(&self.survey.there) }
    }

    fn work<'w>(&'w self, ends: &'w Ends, like: &'w crate::CloneSpec, tally: &Tally) -> Work<'w> {
        let (survey, images, route, tally) = (self.survey, self.images, self.route, tally.clone());
        let mut work = Work {
            survey,
            images,
            ends,
            route,
            spec: like,
            lines: Vec::new(),
            steps: Vec::new(),
            turns: Turns::default(),
            placed: Vec::new(),
            tally,
        };
        if let (Route::Libvirt { why }, false) = (route, images.is_empty()) {
            let line = PlanLine::new("use", "libvirt", "");
            work.lines.push(line.note(format!("to carry the images in whole, which is slower: {why}")));
        }
        work.lines.extend(self.moment.as_ref().map(|moment| moment.line.clone()));
        work
    }

    /// The steps between taking the moment and giving it up again, and then the note on the source.
    fn around(self, steps: Vec<Box<dyn Step>>) -> Vec<Box<dyn Step>> {
        let Ends { source, target } = self.ends();
        let ends = Ends { source: source.clone(), target: target.clone() };
        let replica = Elsewhere { target: target.target, host: target.host };
        let is_noted = matches!(&self.noted, Some(Replication::Source { replicas }) if replicas.contains(&replica));
        let note = NoteSource { source: source.clone(), id: self.vm.id, replica, before: self.noted };
        let note = (!is_noted).then(|| Box::new(note) as Box<dyn Step>);
        let vm = self.vm;
        match self.moment {
            None => steps.into_iter().chain(note).collect(),
            Some(moment) => moment.around(&ends, vm, steps).into_iter().chain(note).collect(),
        }
    }

    /// The replica is a machine that arrives.
    async fn first(self, rewritten: Rewritten, like: &crate::CloneSpec, cx: &PlanContext<'_>) -> Result<SyncPlan> {
        let (ends, tally) = (self.ends(), Tally::default());
        let mut work = self.work(&ends, like, &tally);
        let mut measured = Vec::new();
        for copy in &rewritten.copies {
            measured.extend(Measured::whole(copy, self.images));
            work.copy(copy).await?;
        }
        work.check_room()?;
        let Work { mut lines, steps, placed, .. } = work;
        let (survey, vm, name) = (self.survey, self.vm, self.name.clone());
        let way = self.route.way();
        lines.extend(warnings(&rewritten, &name));
        let steps = self.around(steps);
        let document = rewritten.domain;
        let arrival =
            Arrival { kind: "clone.sync", verb: "sync", document, start: Start::No, images: placed, lines, steps };
        let CreatePlan { mut plan, document, id } = plan_arrival(survey.target, arrival, cx).await?;
        // What is defined is whole: from there on nothing is taken back, not even when the source is gone.
        plan.reversible = plan.steps.len().saturating_sub(1);
        if way == Way::Helpers {
            plan.steps.push(Box::new(NoteDigests { target: ends.target.clone(), id }));
        }
        finish(&mut plan, survey, vm, &name);
        let Rewritten { changes, warnings, .. } = rewritten;
        Ok(SyncPlan { plan, document, name, id, is_first: true, changes, warnings, tally, way, measured })
    }

    /// The replica is there, and becomes another one.
    async fn later(self, rewritten: Rewritten, like: &crate::CloneSpec, kept: Kept) -> Result<SyncPlan> {
        let (ends, tally) = (self.ends(), Tally::default());
        let mut work = self.work(&ends, like, &tally);
        let plan = update::steps(&mut work, &rewritten, &kept, self.replica.sync).await?;
        let update::Update { measured, staged, apply, dropped, is_in_place } = plan;
        let Work { mut lines, steps, .. } = work;
        let (survey, vm, name, id, way) = (self.survey, self.vm, self.name.clone(), self.vm.id, self.route.way());
        let gone = kept.replica.images.iter().filter(|image| self.replica.image(&image.disk).is_none());
        lines.extend(gone.map(|image| {
            PlanLine::new("keep", "file", image.path.as_str()).note(format!("{} is no disk of it any more", image.disk))
        }));
        lines.extend(warnings(&rewritten, &name));
        lines.push(PlanLine::new("change", "domain", name.as_str()).note("as its source is now"));
        let (target, replica) = (ends.target.clone(), self.replica.clone());
        let receiving = Replica { state: ReplicaState::Receiving, sync: replica.sync, ..kept.replica };
        let claimed = Replication::Replica(receiving);
        let claim = ClaimReplica { target: target.clone(), id, before: kept.noted, claimed: claimed.clone() };
        let mut steps = self.around(steps);
        steps.insert(0, Box::new(claim));
        let redefine = RedefineReplica {
            target: target.clone(),
            id,
            name: name.clone(),
            document: rewritten.domain.to_xml(),
            before: Some(claimed.clone()),
            was: kept.document.to_xml(),
        };
        // Images that are changed in their places go forward from the note on; others once the definition names them.
        let reversible = match is_in_place {
            true => {
                let begin = BeginApplying { target, id, before: Some(claimed), after: replica, staged };
                steps.push(Box::new(begin));
                let reversible = steps.len();
                steps.extend(apply);
                steps.push(Box::new(redefine));
                reversible
            }
            false => {
                steps.push(Box::new(redefine));
                let reversible = steps.len();
                steps.extend(apply);
                reversible
            }
        };
        steps.extend(dropped);
        let mut plan = Plan {
            kind: "clone.sync",
            title: String::new(),
            target: survey.there.target.clone(),
            locks: vec![LockKey { host: survey.there.host_key(), vm: id }],
            lines,
            steps,
            reversible,
        };
        finish(&mut plan, survey, vm, &name);
        let Rewritten { domain: document, changes, warnings, .. } = rewritten;
        Ok(SyncPlan { plan, document, name, id, is_first: false, changes, warnings, tally, way, measured })
    }
}

fn finish(plan: &mut Plan, survey: &Survey<'_>, vm: &VmSummary, name: &VmName) {
    let to = if vm.name == *name { String::new() } else { format!("{name} on ") };
    plan.title = format!("sync {} from {} to {to}{}", vm.name, survey.here.target, survey.there.target);
    plan.locks.push(LockKey { host: survey.here.host_key(), vm: vm.id });
}

fn warnings<'a>(rewritten: &'a Rewritten, name: &'a VmName) -> impl Iterator<Item = PlanLine> + 'a {
    let line = |warning: &Warning| PlanLine::new("note", "domain", name.as_str()).note(warning.to_string());
    rewritten.warnings.iter().map(line)
}

/// What will be noted on the replica.
fn replica(
    survey: &Survey<'_>,
    vm: &VmSummary,
    rewritten: &Rewritten,
    spec: &SyncSpec,
    consistency: Consistency,
    cx: &PlanContext<'_>,
) -> Result<Replica> {
    let image = |copy: &Copy| match &copy.to {
        Location::File(path) | Location::Block(path) => {
            Ok(ReplicaImage { disk: disk_of(&copy.path).to_owned(), path: DiskPath::adopt(path)?, root: None })
        }
        Location::Volume { .. } => Err(Error::internal("a copy has no path")),
    };
    let disks = rewritten.copies.iter().filter(|copy| copy.content == kvm_xml::rewrite::Content::Disk);
    Ok(Replica {
        state: ReplicaState::Current,
        source: Elsewhere { target: survey.here.target.clone(), host: survey.here.host_key() },
        vm: vm.name.clone(),
        synced: spec.at,
        consistency,
        sync: cx.entropy.uuid(),
        promoted: None,
        images: disks.map(image).collect::<Result<_>>()?,
    })
}

/// `InvalidState` for a machine that is itself kept for another one.
fn check_source(vm: &VmSummary, noted: Option<&Replication>) -> Result<()> {
    match noted {
        Some(Replication::Replica(replica)) if replica.state != ReplicaState::Promoted => {
            let message = format!("VM {} is itself a replica, of {} on {}", vm.name, replica.vm, replica.source);
            Err(Error::new(ErrorKind::InvalidState, message)
                .on(Resource::Vm(vm.name.as_str().to_owned()))
                .with_detail("sync its source, or promote it first: kvmctl replica promote"))
        }
        _ => Ok(()),
    }
}
