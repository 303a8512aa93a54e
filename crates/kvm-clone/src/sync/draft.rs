//! The steps of a sync: those of the first, which makes the replica, and those of each later one.

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{Elsewhere, Replica, ReplicaState, Replication, Result, VmName, VmSummary};
use kvm_vm::{Arrival, CreatePlan, PlanContext, Start, plan_arrival};
use kvm_xml::Document as _;
use kvm_xml::rewrite::{Rewritten, Warning};

use super::kept::Kept;
use super::measure::Measured;
use super::{SyncPlan, update};
use crate::moment::MomentPlan;
use crate::place::Images;
use crate::route::{Route, Way};
use crate::spec::CloneSpec;
use crate::step::{BeginApplying, ClaimReplica, Ends, NoteDigests, NoteSource, RedefineReplica};
use crate::survey::Survey;
use crate::tally::Tally;
use crate::work::Work;

/// What is known when the steps are put together.
pub(super) struct Draft<'a> {
    pub(super) survey: &'a Survey<'a>,
    pub(super) images: &'a Images,
    pub(super) route: &'a Route,
    pub(super) vm: &'a VmSummary,
    /// What is noted on the source.
    pub(super) noted: Option<Replication>,
    pub(super) moment: Option<MomentPlan>,
    pub(super) replica: Replica,
    pub(super) name: VmName,
}

impl<'a> Draft<'a> {
    fn ends(&self) -> Ends {
        Ends { source: Peer::of(&self.survey.here), target: Peer::of(&self.survey.there) }
    }

    fn work<'w>(&'w self, ends: &'w Ends, like: &'w CloneSpec, tally: &Tally) -> Work<'w> {
        let (survey, images, route, tally) = (self.survey, self.images, self.route, tally.clone());
        let mut work = Work::new(survey, images, (ends, route), like, tally);
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
    pub(super) async fn first(self, rewritten: Rewritten, like: &CloneSpec, cx: &PlanContext<'_>) -> Result<SyncPlan> {
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
    pub(super) async fn later(self, rewritten: Rewritten, like: &CloneSpec, kept: Kept) -> Result<SyncPlan> {
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
