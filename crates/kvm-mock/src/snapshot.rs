//! Snapshots: records, what the images hold for them, and memory that was kept.

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    BlockJob, DiskPath, Error, ErrorKind, OpenImages, Remove, Resource, Result, Revert, SnapshotInfo, SnapshotName,
    SnapshotSpec, Snapshots, VmId,
};
use kvm_xml::snapshot::{SnapshotDisk, SnapshotDisks, SnapshotState};
use kvm_xml::{Document as _, Domain, DomainSnapshot};
use serde::{Deserialize, Serialize};

use crate::document;
use crate::fault::Method;
use crate::image;
use crate::machine::{Live, Machine};
use crate::mock::Mock;
use crate::world::World;

mod delete;
mod revert;
mod stray;
mod take;

pub(crate) use stray::{Left, Stray};

/// A snapshot of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// With the machine as it was.
    #[serde(with = "document::text")]
    document: DomainSnapshot,
    /// What ran, where its memory was kept.
    live: Option<Live>,
}

impl Snapshot {
    fn info(&self, current: Option<&SnapshotName>) -> Result<SnapshotInfo> {
        let mut info = SnapshotInfo::read(&self.document, false)?;
        info.current = current == Some(&info.name);
        Ok(info)
    }
}

#[async_trait]
impl Snapshots for Mock {
    async fn list(&self, vm: &VmId) -> Result<Vec<SnapshotInfo>> {
        self.read(Method::ListSnapshots, vm, |world, _| world.machine(vm)?.snapshot_infos()).await
    }

    async fn definition(&self, vm: &VmId, name: &SnapshotName) -> Result<DomainSnapshot> {
        self.read(Method::SnapshotDefinition, vm, |world, _| {
            let machine = world.machine(vm)?;
            let mut document = machine.snapshots[machine.find_snapshot(vm, name)?].document.clone();
            for domain in document.domain.iter_mut().chain(&mut document.inactive_domain) {
                domain.redact();
            }
            Ok(document)
        })
        .await
    }

    async fn create(&self, vm: &VmId, spec: &SnapshotSpec) -> Result<()> {
        spec.check()?;
        self.change(Method::CreateSnapshot, vm, |world, now| world.take_snapshot(vm, spec, now)).await
    }

    async fn revert(&self, vm: &VmId, name: &SnapshotName, how: Revert) -> Result<()> {
        self.change(Method::RevertSnapshot, vm, |world, now| world.revert(vm, name, how, now)).await
    }

    async fn delete(&self, vm: &VmId, name: &SnapshotName, what: Remove) -> Result<()> {
        self.change(Method::DeleteSnapshot, vm, |world, _| world.delete_snapshot(vm, name, what)).await
    }

    async fn open_images(&self, vm: &VmId) -> Result<OpenImages> {
        self.read(Method::OpenImages, vm, |world, _| world.open_images(vm)).await
    }

    async fn leave_overlay(&self, vm: &VmId, overlay: &DiskPath) -> Result<Option<BlockJob>> {
        self.change(Method::LeaveOverlay, vm, |world, now| world.leave_overlay(vm, overlay, now)).await
    }
}

impl Machine {
    fn snapshot_infos(&self) -> Result<Vec<SnapshotInfo>> {
        self.snapshots.iter().map(|snapshot| snapshot.info(self.current_snapshot.as_ref())).collect()
    }

    fn find_snapshot(&self, vm: &VmId, name: &SnapshotName) -> Result<usize> {
        let is_it = |snapshot: &Snapshot| snapshot.document.name.as_deref() == Some(name.as_str());
        let position = self.snapshots.iter().position(is_it);
        position.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such snapshot").on(resource(vm, name)))
    }

    /// The images that the machine writes to.
    fn images(&self) -> Vec<String> {
        let disks = document::disks(self.current()).into_iter().filter(|disk| !disk.read_only);
        disks.filter_map(|disk| disk.path).collect()
    }

    /// All documents that name images: the machine's own, and those of its snapshots.
    fn documents_mut(&mut self) -> impl Iterator<Item = &mut Domain> {
        let own = self.live.iter_mut().map(|live| &mut live.document).chain([&mut self.config]);
        own.chain(self.snapshots.iter_mut().flat_map(|snapshot| {
            let live = snapshot.live.iter_mut().map(|live| &mut live.document);
            let document = &mut snapshot.document;
            live.chain(document.domain.iter_mut().chain(&mut document.inactive_domain).map(|domain| &mut **domain))
        }))
    }
}

impl World {
    /// An image and everything below it.
    pub(crate) fn chain(&self, top: &str) -> Vec<String> {
        let mut chain = vec![top.to_owned()];
        while let Some(below) = chain.last().and_then(|path| image::probe(self.files.get(path)?).backing) {
            if chain.contains(&below) {
                break;
            }
            chain.push(below);
        }
        chain
    }

    /// Adds a record after the others, for a past that a scenario tells: of the disks alone, whatever the machine is.
    pub(crate) fn plant_snapshot(&mut self, vm: &VmId, name: &SnapshotName, now: Timestamp) -> Result<()> {
        let machine = self.machine(vm)?;
        let disks = document::disks(&machine.config).into_iter().filter(|disk| !disk.read_only);
        let disks: Vec<_> = disks.filter(|disk| disk.format.as_deref() == Some("qcow2")).collect();
        for path in disks.iter().filter_map(|disk| disk.path.as_ref()) {
            if let Some(file) = self.files.get_mut(path) {
                file.keep(name.as_str(), 0);
            }
        }
        let mut document = DomainSnapshot { name: Some(name.as_str().to_owned()), ..DomainSnapshot::default() };
        document.disks = Some(take::internal(disks.iter().map(|disk| disk.target.as_str())));
        self.record_snapshot(vm, document, SnapshotState::Shutoff, None, now)
    }

    /// Keeps the record of a snapshot, which becomes the current one.
    fn record_snapshot(
        &mut self,
        vm: &VmId,
        mut document: DomainSnapshot,
        state: SnapshotState,
        live: Option<Live>,
        now: Timestamp,
    ) -> Result<()> {
        let machine = self.machine_mut(vm)?;
        document.state = Some(state);
        document.creation_time = Some(now.as_second());
        document.parent = machine.current_snapshot.as_ref().map(|name| kvm_xml::common::Parent {
            name: Some(name.as_str().to_owned()),
            ..kvm_xml::common::Parent::default()
        });
        document.domain = Some(Box::new(machine.current().clone()));
        document.inactive_domain = machine.live.as_ref().map(|_| Box::new(machine.config.clone()));
        machine.current_snapshot = Some(SnapshotName::adopt(document.name.as_deref().unwrap_or_default())?);
        machine.snapshots.push(Snapshot { document, live });
        Ok(())
    }
}

/// The disks of a snapshot.
fn disks(document: &mut DomainSnapshot) -> impl Iterator<Item = &mut SnapshotDisk> {
    document.disks.iter_mut().flat_map(|disks: &mut SnapshotDisks| &mut disks.disk)
}

fn resource(vm: &VmId, name: &SnapshotName) -> Resource {
    Resource::Snapshot(format!("{vm}/{}", name.as_str()))
}

fn refuse(vm: &VmId, name: &SnapshotName, kind: ErrorKind, message: &str, why: impl Into<String>) -> Error {
    Error::new(kind, message).on(resource(vm, name)).with_detail(why)
}
