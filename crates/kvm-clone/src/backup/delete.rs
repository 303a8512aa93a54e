//! Deleting points.

use std::num::NonZeroUsize;

use kvm_core::op::{Peer, Plan, PlanLine, Step};
use kvm_core::text::printable_within;
use kvm_core::{Capabilities, Error, ErrorKind, Host, Resource, Result};

use super::list::{points, read_manifest, resolve};
use super::manifest::{MANIFEST, Manifest, SUMS, StoredDisk};
use super::place::{Point, PointId, PointRef, StoreDir, VmDir};
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
    let title = format!("delete backup {place} from {directory} on {}", capabilities.target);
    let manifest = read_manifest(&mut session, &place).await?;
    let mut work = Work::new(&capabilities);
    let id = place.point;
    work.delete(&mut session, place, &manifest).await?;
    Ok((id, work.plan(title)))
}

/// Plans to delete all points of a machine but the newest, so that this many stay. `None` when no more are there.
///
/// A point whose manifest is wrong counts for nothing and is left alone. Else as [`plan_backup_delete`].
pub async fn plan_backup_prune(
    host: &Host,
    directory: &StoreDir,
    vm: &VmDir,
    keep: NonZeroUsize,
) -> Result<Option<Plan>> {
    let capabilities = host.hypervisor.capabilities().await?;
    let mut session = Session::open(&*host.transport).await?;
    let mut work = Work::new(&capabilities);
    let mut kept = 0;
    for point in points(&mut session, directory, vm).await?.into_iter().rev() {
        let place = Point { directory: directory.clone(), vm: vm.clone(), point };
        match read_manifest(&mut session, &place).await {
            Ok(_) if kept < keep.get() => {
                kept += 1;
                work.lines.push(PlanLine::new("keep", "backup", place.to_string()));
            }
            Ok(manifest) => work.delete(&mut session, place, &manifest).await?,
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::NotFound) => {
                let why = format!("its manifest cannot be read: {e}");
                work.lines.push(PlanLine::new("keep", "backup", place.to_string()).note(why));
            }
            Err(e) => return Err(e),
        }
    }
    let title = format!("keep the newest {kept} backups of {vm} in {directory} on {}", capabilities.target);
    Ok((!work.removed.is_empty()).then(|| work.plan(title)))
}

/// What is being put together.
struct Work<'a> {
    capabilities: &'a Capabilities,
    lines: Vec<PlanLine>,
    hidden: Vec<Box<dyn Step>>,
    removed: Vec<Box<dyn Step>>,
}

impl<'a> Work<'a> {
    fn new(capabilities: &'a Capabilities) -> Self {
        Self { capabilities, lines: Vec::new(), hidden: Vec::new(), removed: Vec::new() }
    }

    async fn delete(&mut self, session: &mut Session, place: Point, manifest: &Manifest) -> Result<()> {
        let mut files: Vec<_> = manifest.files().map(|file| file.file.clone()).chain([MANIFEST.to_owned()]).collect();
        let there = session.list(place.whole()).await?;
        files.extend(there.iter().filter(|entry| entry.name == SUMS).map(|entry| entry.name.clone()));
        if let Some(other) = there.iter().find(|entry| !files.contains(&entry.name)) {
            let name = printable_within(&other.name, 64);
            let message = format!("there is {name} in backup {place}, which is not of it");
            return Err(Error::new(ErrorKind::InvalidState, message)
                .on(Resource::File(format!("{}/{place}/{}", place.directory, other.name)))
                .with_detail("move it away first: only what the manifest names is removed"));
        }
        let note = format!("of {}, {}", manifest.vm, manifest.consistency);
        self.lines.push(PlanLine::new("remove", "backup", place.to_string()).note(note));
        let image =
            |disk: &StoredDisk| PlanLine::new("remove", "image", &disk.stored.file).note(disk.allocated.to_string());
        self.lines.extend(manifest.disks.iter().map(image));
        let at = At { store: Peer::of(self.capabilities), point: place };
        self.hidden.push(Box::new(HidePoint { at: at.clone() }));
        self.removed.push(Box::new(RemovePoint { at, files }));
        Ok(())
    }

    /// Before anything is removed, all can be had back.
    fn plan(self, title: String) -> Plan {
        let reversible = self.hidden.len();
        Plan {
            kind: "backup.delete",
            title,
            target: self.capabilities.target.clone(),
            locks: Vec::new(),
            lines: self.lines,
            steps: self.hidden.into_iter().chain(self.removed).collect(),
            reversible,
        }
    }
}
