//! A machine that goes to another host, and is then no longer on its own.

use std::collections::BTreeSet;
use std::time::Duration;

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{
    Bandwidth, DiskPath, Elsewhere, Error, ErrorKind, Host, Moving, PoolName, Replication, Resource, Result, Secrets,
    View, VmId, VmName, VmNotes, VmSummary, Way,
};
use kvm_vm::{
    Arrival, CreatePlan, PlanContext, Start, at_peer, check_not_copied, plan_arrival, plan_images_left, start_machine,
};
use kvm_xml::Domain;
use kvm_xml::rewrite::{Content, Copy, Edit, Facts, Location, Policy, Rewritten, Warning, policy, rewrite};

use crate::facts::{attached, facts, refused};
use crate::moment;
use crate::parallel::Parallel;
use crate::place::{self, Images};
use crate::route::Route;
use crate::spec::{CloneSpec, Compress, UplinkMap};
use crate::step::Ends;
use crate::survey::{Survey, settle_cpu};
use crate::tally::Tally;
use crate::work::Work;

mod check;
mod step;

use check::{check_notes, check_state};
pub(crate) use step::{Arrive, GuardArrival, LeaveHost, MarkLeaving, StopForMove};
use step::{Guard, Pair, StopHow};

/// How a machine is to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveSpec {
    /// Where its images go; if left out, to the pool that has the same directory, else the host's default.
    pub pool: Option<PoolName>,
    /// What the target calls its networks and bridges, where that differs.
    pub uplinks: Vec<UplinkMap>,
    /// Whether devices of the source's hardware are left out; else a machine that has some is refused.
    pub drop_hostdev: bool,
    /// Whether the records of snapshots and checkpoints are left behind; else a machine that has some is refused.
    pub leave_snapshots: bool,
    /// What happens to a machine that runs.
    pub running: WhileMoving,
    /// Most bytes per second over all images.
    pub limit: Bandwidth,
    /// Whether what is under way is compressed where that helps.
    pub compression: Compress,
    /// How many images are sent at a time, where helpers carry them.
    pub parallel: Parallel,
    /// Whether it is started there. One that ran before is in any case.
    pub start: Start,
}

impl Default for MoveSpec {
    fn default() -> Self {
        let CloneSpec { pool, uplinks, drop_hostdev, limit, compression, parallel, start, .. } = CloneSpec::default();
        let (leave_snapshots, running) = (false, WhileMoving::Refuse);
        Self { pool, uplinks, drop_hostdev, leave_snapshots, running, limit, compression, parallel, start }
    }
}

/// What happens to a machine that runs when it is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhileMoving {
    /// It is refused: it can move while it runs in another way.
    Refuse,
    /// Its guest shuts down within this time, or the move does not begin; afterwards it is started on the target.
    Shutdown(Duration),
    /// It is switched off; afterwards it is started on the target.
    PowerOff,
}

/// A move that could be made.
#[derive(Debug)]
pub struct MovePlan {
    /// What would happen, on both hosts; its `Display` is the dry run.
    pub plan: Plan,
    /// The machine's document on the target.
    pub document: Domain,
    /// Its name, on both.
    pub name: VmName,
    /// Its uuid, on both.
    pub id: VmId,
    /// In what its document differs from the one on the source, and why.
    pub changes: Vec<Edit>,
    /// What somebody should know before.
    pub warnings: Vec<Warning>,
    /// What was moved, once the plan was carried out by this process.
    pub tally: Tally,
}

/// Plans to move a machine that is off, with its images, to a host that shares nothing with its own.
///
/// It stays the same machine: name, uuid, generation id, addresses, UEFI variables, the state of an emulated TPM, and
/// whether it starts with its host.
/// Images go from helper to helper, are read once more and compared. While both hosts have its definition both say so in
/// it, and [`kvm_vm::check_start`] refuses to start either. Then the images are compared again, which an image that
/// somebody wrote to meanwhile does not survive, and the definition on the source goes: that is the point of no return.
/// What follows needs the target alone, but for the images that the source has left: those that were copied are deleted
/// where nobody else uses them.
///
/// `InvalidInput` for its own host; `InvalidState` when it runs and that was to be refused, is saved, has snapshots, is a
/// replica, or is in a move already; `Unsupported` without a helper on both hosts, and for what a clone cannot copy
/// either; `AlreadyExists`, `NotFound` and `NoSpace` as for a clone.
pub async fn plan_move(
    source: &Host,
    target: &Host,
    vm: &VmSummary,
    spec: &MoveSpec,
    cx: &PlanContext<'_>,
) -> Result<MovePlan> {
    check_not_copied(source, vm).await?;
    // Several documents are part of what is worked on, too much for the stack of whoever waits.
    Box::pin(draw_up(source, target, vm, spec, cx)).await
}

async fn draw_up(
    source: &Host,
    target: &Host,
    vm: &VmSummary,
    spec: &MoveSpec,
    cx: &PlanContext<'_>,
) -> Result<MovePlan> {
    let attached = attached(source, vm).await?;
    check_state(vm, spec, attached.snapshots + attached.checkpoints)?;
    let mut survey = Survey::of(source, target, vm, View { secrets: Secrets::Show, ..View::CONFIG }).await?;
    if survey.is_same_host() {
        return Err(Error::invalid("host", format!("VM {} is on {} already", vm.name, survey.there.target))
            .with_detail(
                "to move a disk to another pool: kvmctl disk move; to give the VM another name: kvmctl vm rename",
            ));
    }
    let notes = VmNotes::of(&survey.document);
    check_notes(vm, &notes)?;
    if vm.state.is_active() {
        moment::check_same_images(source, vm).await?;
    }
    let default = cx.policy.default_pool()?;
    let images = place::images(&mut survey, spec.pool.as_ref(), &default).await?;
    let route = Route::choose(&survey).await?;
    if let Route::Libvirt { why } = &route {
        return Err(Error::new(ErrorKind::Unsupported, format!("VM {} does not move without helpers: {why}", vm.name))
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail("what libvirt carries is not compared, and the source goes; clone it, look at the clone, and delete the VM"));
    }
    let like = CloneSpec {
        uplinks: spec.uplinks.clone(),
        drop_hostdev: spec.drop_hostdev,
        limit: spec.limit,
        compression: spec.compression,
        parallel: spec.parallel,
        ..CloneSpec::default()
    };
    let hostdev = if spec.drop_hostdev { policy::HostDevices::Drop } else { policy::HostDevices::Map };
    // Snapshots inside an image go with it; what lies in several images becomes one.
    let policy = Policy { chain: policy::Chain::Flatten, hostdev, ..Policy::MOVE };
    let cpu = survey.compare_cpu().await?;
    let mut rewritten = {
        let mut facts = Facts { attached, ..facts(&survey, &images, &like, cx) };
        rewrite(&survey.document, &policy, &mut facts).map_err(|e| refused(&e))?
    };
    settle_cpu(&mut rewritten.warnings, cpu);
    let draft = Draft { survey: &survey, images: &images, route: &route, vm, spec, like: &like, notes: &notes };
    draft.plan(rewritten, cx).await
}

/// What is known when the steps are put together.
struct Draft<'a> {
    survey: &'a Survey<'a>,
    images: &'a Images,
    route: &'a Route,
    vm: &'a VmSummary,
    spec: &'a MoveSpec,
    like: &'a CloneSpec,
    notes: &'a VmNotes,
}

impl Draft<'_> {
    async fn plan(&self, rewritten: Rewritten, cx: &PlanContext<'_>) -> Result<MovePlan> {
        let (survey, vm, tally) = (self.survey, self.vm, Tally::default());
        let ends = Ends { source: Peer::of(&survey.here), target: Peer::of(&survey.there) };
        let Rewritten { domain: mut document, changes, warnings, copies } = rewritten;
        let mut work = Work::new(survey, self.images, (&ends, self.route), self.like, tally.clone());
        let (stop, note) = self.before(&ends, cx);
        work.lines.extend(stop.as_ref().map(|_| self.stop_line()));
        work.lines.push(PlanLine::new("guard", "domain", vm.name.as_str()).note("neither host starts it meanwhile"));
        let arriving = note.arriving(&survey.here);
        work.steps.extend(stop.map(|stop| Box::new(stop) as Box<dyn Step>));
        work.steps.push(Box::new(note));
        let tpm = work.tpm(vm, (&document, vm.id)).await?;
        for copy in &copies {
            work.copy(copy).await?;
        }
        work.check_room()?;
        let Work { mut lines, steps, placed, .. } = work;
        lines.extend(self.told(&warnings));
        // Its replicas know it by its host.
        VmNotes { replication: None, moving: Some(arriving.clone()), ..self.notes.clone() }.apply_to(&mut document)?;
        let (kind, verb, start) = ("clone.move", "move", Start::No);
        let arrival = Arrival { kind, verb, document, start, images: placed, lines, steps };
        let CreatePlan { mut plan, mut document, id } = plan_arrival(survey.target, arrival, cx).await?;
        let (target, name) = (ends.target.clone(), vm.name.clone());
        // The last step defines it.
        if let Some(define) = plan.steps.pop() {
            let guard = Guard { target: target.clone(), id, name: name.clone(), moving: arriving.id };
            plan.steps.push(Box::new(GuardArrival { guard, define }));
        }
        // When the source has forgotten it, only the target has it.
        plan.reversible = plan.steps.len();
        let pairs = self.pairs(&copies)?;
        let autostart = vm.autostart == Some(true);
        let variables = variables(&copies);
        plan.lines.push(PlanLine::new("remove", "domain", name.as_str()).note(format!("on {}", survey.here.target)));
        plan.steps.push(Box::new(LeaveHost {
            ends: ends.clone(),
            id,
            name: name.clone(),
            moving: arriving.id,
            pairs,
            variables,
            tpm: tpm.map(|tpm| (tpm.from, tpm.to)),
        }));
        if autostart {
            plan.lines.push(PlanLine::new("enable", "autostart", name.as_str()).note("as on the source"));
        }
        plan.steps.push(Box::new(Arrive { target, id, name: name.clone(), moving: arriving.id, autostart }));
        if self.spec.start.is_wanted() || vm.state.is_active() {
            plan.lines.push(PlanLine::new("start", "domain", name.as_str()));
            plan.steps.push(start_machine(id, name.clone()));
        }
        let copied: BTreeSet<_> = self.images.values().filter_map(|own| own.volume.path.clone()).collect();
        let (left, steps) = plan_images_left(survey.source, vm, &copied).await?;
        let on_source = |line: PlanLine| {
            let note = line.note.clone().unwrap_or_default();
            line.note(format!("{note}, on {}", survey.here.target))
        };
        plan.lines.extend(left.into_iter().map(on_source));
        plan.steps.extend(steps.into_iter().map(|step| at_peer(ends.source.clone(), step)));
        plan.title = format!("move {name} from {} to {}", survey.here.target, survey.there.target);
        plan.locks.push(LockKey { host: survey.here.host_key(), vm: vm.id });
        // What is shown is what it will be in the end.
        VmNotes { moving: None, ..VmNotes::of(&document) }.apply_to(&mut document)?;
        Ok(MovePlan { plan, document, name, id, changes, warnings, tally })
    }

    /// What happens at the source before anything is copied.
    fn before(&self, ends: &Ends, cx: &PlanContext<'_>) -> (Option<StopForMove>, MarkLeaving) {
        let (vm, there) = (self.vm, &self.survey.there);
        let how = match self.spec.running {
            WhileMoving::Shutdown(within) => StopHow::Shutdown { within },
            WhileMoving::Refuse | WhileMoving::PowerOff => StopHow::PowerOff,
        };
        let (source, id, name) = (ends.source.clone(), vm.id, vm.name.clone());
        let stop = StopForMove { source: source.clone(), id, name: name.clone(), how };
        let other = Elsewhere { target: there.target.clone(), host: there.host_key() };
        let moving = Moving { way: Way::Leaving, other, id: cx.entropy.uuid() };
        let mark = MarkLeaving { source, id, name, moving, autostart: vm.autostart == Some(true) };
        (vm.state.is_active().then_some(stop), mark)
    }

    fn stop_line(&self) -> PlanLine {
        let about = |action, note: String| PlanLine::new(action, "domain", self.vm.name.as_str()).note(note);
        match self.spec.running {
            WhileMoving::Shutdown(within) => {
                about("shut down", format!("within {} s, else nothing moves; it is started there", within.as_secs()))
            }
            _ => about("power off", "its guest is not asked; it is started there".to_owned()),
        }
    }

    /// What somebody should know before.
    fn told(&self, warnings: &[Warning]) -> Vec<PlanLine> {
        let note = |text: String| PlanLine::new("note", "domain", self.vm.name.as_str()).note(text);
        let mut lines: Vec<_> = warnings.iter().map(|warning| note(warning.to_string())).collect();
        if let Some(Replication::Source { replicas }) = &self.notes.replication {
            let replica = |there: &Elsewhere| {
                note(format!("its replica on {there} takes no syncs from another host: delete it there, and sync anew"))
            };
            lines.extend(replicas.iter().map(replica));
        }
        lines
    }

    /// The images that are the same byte for byte on both hosts.
    fn pairs(&self, copies: &[Copy]) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for copy in copies.iter().filter(|copy| copy.content == Content::Disk) {
            let Some(own) = self.images.get(&copy.from) else { continue };
            if own.volume.backing.is_some() {
                continue;
            }
            let (Location::File(to) | Location::Block(to)) = &copy.to else { continue };
            pairs.push(Pair { here: own.volume.host_path()?.clone(), there: DiskPath::adopt(to)? });
        }
        Ok(pairs)
    }
}

/// The files of UEFI variables, here and there.
fn variables(copies: &[Copy]) -> Option<(String, String)> {
    let nvram = copies.iter().find(|copy| copy.content == Content::Nvram)?;
    match (&nvram.from, &nvram.to) {
        (Location::File(from), Location::File(to)) => Some((from.clone(), to.clone())),
        _ => None,
    }
}
