//! Deleting a point.

use kvm_core::op::{Peer, Plan, PlanLine, Step};
use kvm_core::text::printable_within;
use kvm_core::{Error, ErrorKind, Host, Resource, Result};

use super::list::{read_manifest, resolve};
use super::manifest::MANIFEST;
use super::place::{PointId, PointRef, StoreDir};
use super::step::{At, HidePoint, RemovePoint};
use crate::transfer::Session;

/// Plans to delete one point. No other one needs it, so any can go.
///
/// Only what the manifest speaks of is removed. `InvalidState` when there is anything else in its directory, `InvalidInput`
/// when the manifest is wrong: then nobody knows what is ours. `NotFound`.
pub async fn plan_backup_delete(host: &Host, directory: &StoreDir, point: &PointRef) -> Result<(PointId, Plan)> {
    let capabilities = host.hypervisor.capabilities().await?;
    let mut session = Session::open(&*host.transport).await?;
    let place = resolve(&mut session, directory, point).await?;
    let manifest = read_manifest(&mut session, &place).await?;
    let files: Vec<_> = manifest.files().map(|file| file.file.clone()).chain([MANIFEST.to_owned()]).collect();
    let there = session.list(place.whole()).await?;
    if let Some(other) = there.iter().find(|entry| !files.contains(&entry.name)) {
        let name = printable_within(&other.name, 64);
        return Err(Error::new(
            ErrorKind::InvalidState,
            format!("there is {name} in backup {place}, which is not of it"),
        )
        .on(Resource::File(format!("{directory}/{place}/{}", other.name)))
        .with_detail("move it away first: only what the manifest names is removed"));
    }
    let note = format!("{} of {}, {}", manifest.consistency, manifest.vm, capabilities.target);
    let mut lines = vec![PlanLine::new("remove", "backup", place.to_string()).note(note)];
    let image =
        |disk: &super::StoredDisk| PlanLine::new("remove", "image", &disk.stored.file).note(disk.allocated.to_string());
    lines.extend(manifest.disks.iter().map(image));
    let (id, at) = (place.point, At { store: Peer::of(&capabilities), point: place });
    let steps: Vec<Box<dyn Step>> =
        vec![Box::new(HidePoint { at: at.clone() }), Box::new(RemovePoint { at: at.clone(), files })];
    let plan = Plan {
        kind: "backup.delete",
        title: format!("delete backup {} from {directory} on {}", at.point, capabilities.target),
        target: capabilities.target.clone(),
        locks: Vec::new(),
        lines,
        steps,
        reversible: 1,
    };
    Ok((id, plan))
}
