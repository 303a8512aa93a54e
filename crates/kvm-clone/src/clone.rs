//! Another machine that starts as this one is now.

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{Bandwidth, Error, Host, Result, Secrets, View, VmId, VmName, VmSummary};
use kvm_vm::{Arrival, CreatePlan, PlanContext, plan_arrival_for};
use kvm_xml::Domain;
use kvm_xml::rewrite::{self, Content, Edit, Facts, Location, Rewritten, Warning, rewrite};

use crate::facts::{attached, facts, refused, variables_of};
use crate::moment;
use crate::place;
use crate::replace::{Replaced, free_variables};
use crate::route::{Route, Way, no_limit};
use crate::spec::{CloneSpec, Track};
use crate::step::Ends;
use crate::survey::{Survey, settle_cpu};
use crate::tally::Tally;
use crate::tpm::check_still;
use crate::work::Work;

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
    let mut work = Work::new(&survey, &images, (&ends, &route), spec, Tally::default());
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
