//! A machine's replica on another host: made once, and brought up to date from then on.

use std::collections::BTreeMap;

use kvm_core::op::Plan;
use kvm_core::{
    Bandwidth, Consistency, DiskPath, Elsewhere, Error, ErrorKind, Host, Replica, ReplicaImage, ReplicaState,
    Replication, Resource, Result, Secrets, View, VmId, VmName, VmNotes, VmSummary,
};
use kvm_vm::PlanContext;
use kvm_xml::Domain;
use kvm_xml::rewrite::{Copy, Edit, Facts, Location, Policy, Reason, Rewritten, Warning, rewrite};

use crate::facts::{attached, facts, refused};
use crate::moment;
use crate::place;
use crate::route::{Route, Way, no_limit};
use crate::spec::SyncSpec;
use crate::survey::{Survey, settle_cpu};
use crate::tally::{SyncedImage, Tally, disk_of};

mod draft;
mod kept;
mod measure;
mod update;

use draft::Draft;
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
    let default = cx.policy.default_pool()?;
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
    let cpu = survey.compare_cpu().await?;
    let mut rewritten = {
        let attached = attached(source, vm).await?;
        let Facts { locate, .. } = facts(&survey, &images, &like, cx);
        let locate = Box::new(move |request: &kvm_xml::rewrite::Request<'_>| {
            in_place.get(request.from).cloned().map(Location::File).or_else(|| locate(request))
        });
        let mut facts = Facts { attached, locate, ..facts(&survey, &images, &like, cx) };
        rewrite(&survey.document, &Policy::REPLICA, &mut facts).map_err(|e| refused(&e))?
    };
    settle_cpu(&mut rewritten.warnings, cpu);
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
