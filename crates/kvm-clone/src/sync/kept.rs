//! The replica that the target has already.

use std::collections::BTreeMap;

use kvm_core::{
    Consistency, DiskPath, Elsewhere, Error, ErrorKind, PoolName, Replica, ReplicaImage, ReplicaState, Replication,
    Resource, Result, View, VmNotes, VmRef, VmSummary,
};
use kvm_vm::snapshots;
use kvm_xml::Domain;
use kvm_xml::rewrite::Location;
use uuid::Uuid;

use crate::place;
use crate::spec::SyncSpec;
use crate::survey::Survey;

/// A replica that is there, and may be brought up to date.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) vm: VmSummary,
    pub(super) document: Domain,
    /// What is noted of it.
    pub(super) noted: Option<Replication>,
    pub(super) replica: Replica,
    /// In which pools its images lie, by the names of their disks.
    pub(super) pools: BTreeMap<String, PoolName>,
}

impl Kept {
    /// Finds it; `None` when the target has no such machine yet. The errors say what is in the way.
    pub(super) async fn find(survey: &Survey<'_>, vm: &VmSummary, spec: &SyncSpec) -> Result<Option<Self>> {
        let target = survey.target;
        let found = match target.hypervisor.find(&VmRef::Id(vm.id)).await {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let there = &survey.there.target;
        let document = target.hypervisor.definition(&found.id, View::CONFIG.with_secrets()).await?;
        let noted = VmNotes::of(&document).replication;
        let refuse = |kind, message: String, fix: &str| {
            Err(Error::new(kind, message).on(Resource::Vm(found.name.as_str().to_owned())).with_detail(fix.to_owned()))
        };
        let state = ErrorKind::InvalidState;
        let here = survey.here.host_key();
        let replica = match &noted {
            Some(Replication::Replica(replica)) if replica.source.host == here => replica.clone(),
            Some(Replication::Replica(replica)) if replica.state != ReplicaState::Promoted => {
                let message =
                    format!("VM {} on {there} is a replica of {} on {}", found.name, replica.vm, replica.source);
                return refuse(ErrorKind::AlreadyExists, message, "it has one source; delete it there first");
            }
            Some(Replication::Source { replicas }) if replicas.iter().any(|other| other.host == here) => {
                match spec.invert {
                    true => inverted(survey, vm, &document)?,
                    false => {
                        let message = format!("VM {} on {there} is the source of this one", found.name);
                        return refuse(state, message, "to turn them round: kvmctl replica invert");
                    }
                }
            }
            _ => {
                let message = format!("{there} has a VM {} with the same uuid, which is no replica of it", found.name);
                return refuse(
                    ErrorKind::AlreadyExists,
                    message,
                    "delete it there, or keep the replica on another host",
                );
            }
        };
        match replica.state {
            ReplicaState::Current => {}
            ReplicaState::Receiving => {
                let message = format!("a sync to the replica {} on {there} is under way, or was cut short", found.name);
                let fix = "wait for it, or finish it where it was begun: kvmctl op list --open; if nobody can: kvmctl replica resume";
                return refuse(ErrorKind::Busy, message, fix);
            }
            ReplicaState::Applying => {
                let message =
                    format!("the replica {} on {there} is in the middle of a sync that was cut short", found.name);
                let fix = "finish that first: kvmctl op list --open, kvmctl op resume";
                return refuse(state, message, fix);
            }
            ReplicaState::Proving => {
                let message =
                    format!("the replica {} on {there} is tried at the moment, or its trial was cut short", found.name);
                let fix = "wait for it, or finish it where it was begun: kvmctl op list --open; if nobody can: kvmctl replica resume";
                return refuse(ErrorKind::Busy, message, fix);
            }
            ReplicaState::Paused => {
                let message = format!("the replica {} on {there} is paused", found.name);
                return refuse(state, message, "let it go on: kvmctl replica resume");
            }
            ReplicaState::Promoted => {
                let message = format!("the replica {} on {there} was promoted: it is a machine of its own", found.name);
                let fix = "to make this one its replica: kvmctl replica invert; else delete one of them";
                return refuse(state, message, fix);
            }
        }
        if found.state.is_active() || found.has_saved_state {
            let message =
                format!("the replica {} on {there} is {}: its disks are not written to", found.name, found.state);
            return refuse(state, message, "power it off there; what it wrote is overwritten");
        }
        if target.hypervisor.snapshots().is_some() && !snapshots(target)?.list(&found.id).await?.is_empty() {
            let message = format!("the replica {} on {there} has snapshots", found.name);
            return refuse(state, message, "delete them there: kvmctl snap delete");
        }
        if let Some(name) = spec.target_name.as_ref().filter(|name| **name != found.name) {
            return Err(Error::invalid("target_name", format!("the replica is {} already, not {name}", found.name))
                .with_detail("leave it out"));
        }
        let mut pools = BTreeMap::new();
        for image in &replica.images {
            match target.storage.volume_at(&image.path).await {
                Ok(volume) => _ = pools.insert(image.disk.clone(), volume.pool),
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    let message = format!("the replica's image {} is gone, or in no pool that is active", image.path);
                    let fix = "refresh its pool; where it is gone, delete the replica and sync again";
                    return refuse(state, message, fix);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Some(Self { vm: found, document, noted, replica, pools }))
    }

    /// Where images of the source have theirs on the target.
    pub(super) fn places(&self, source: &Domain) -> BTreeMap<Location, String> {
        let place = |(disk, from): (String, Location)| Some((from, self.replica.image(&disk)?.path.to_string()));
        place::locations(source).filter_map(place).collect()
    }
}

/// The machine that was the source, as a replica whose images may be anything.
fn inverted(survey: &Survey<'_>, vm: &VmSummary, document: &Domain) -> Result<Replica> {
    let mut images = Vec::new();
    for (disk, location) in place::locations(document) {
        let (Location::File(path) | Location::Block(path)) = &location else { continue };
        images.push(ReplicaImage { disk, path: DiskPath::adopt(path)?, root: None });
    }
    Ok(Replica {
        state: ReplicaState::Current,
        source: Elsewhere { target: survey.here.target.clone(), host: survey.here.host_key() },
        vm: vm.name.clone(),
        synced: jiff::Timestamp::UNIX_EPOCH,
        consistency: Consistency::Off,
        sync: Uuid::nil(),
        promoted: None,
        images,
    })
}
