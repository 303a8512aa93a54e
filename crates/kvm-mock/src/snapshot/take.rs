//! Taking a snapshot.

use jiff::Timestamp;
use kvm_core::{DiskPath, Error, ErrorKind, Overlay, Quiesce, Result, SnapshotPlace, SnapshotSpec, VmId};
use kvm_xml::Domain;
use kvm_xml::domain::{DiskFormat, DiskSnapshot};
use kvm_xml::snapshot::{SnapshotDisk, SnapshotDisks, SnapshotMemory, SnapshotMemoryMode, SnapshotState};

use super::{refuse, resource};
use crate::document;
use crate::file::SparseFile;
use crate::image;
use crate::machine::Machine;
use crate::storage::QCOW2_OVERHEAD;
use crate::world::World;

impl World {
    pub(super) fn take_snapshot(&mut self, vm: &VmId, spec: &SnapshotSpec, now: Timestamp) -> Result<()> {
        let machine = self.machine(vm)?;
        if machine.find_snapshot(vm, &spec.name).is_ok() {
            let message = "the VM has a snapshot of this name";
            return Err(Error::new(ErrorKind::AlreadyExists, message).on(resource(vm, &spec.name)));
        }
        if spec.quiesce == Quiesce::Yes {
            machine.running()?;
            if !machine.agent_answers() {
                return Err(Error::new(ErrorKind::Unavailable, "the guest agent does not answer"));
            }
        }
        let mut document = spec.document(machine.current());
        let memory = machine.memory(now);
        let state = match machine.state() {
            kvm_core::VmState::Running => SnapshotState::Running,
            kvm_core::VmState::Paused => SnapshotState::Paused,
            _ => SnapshotState::Shutoff,
        };
        let bytes = document::memory(machine.current()).unwrap_or_default().get();
        match &spec.place {
            SnapshotPlace::Internal => {
                can_be_internal(machine)?;
                let targets = document::disks(machine.current()).into_iter().filter(|disk| !disk.read_only);
                document.disks = Some(internal(targets.map(|disk| disk.target)));
                if memory.is_some() {
                    document.memory = Some(mode(SnapshotMemoryMode::Internal));
                }
                let mut beside = memory.as_ref().map_or(0, |_| bytes / 8);
                for path in machine.images() {
                    let file = self.files.get_mut(&path).ok_or_else(|| no_image(&path))?;
                    file.keep(spec.name.as_str(), std::mem::take(&mut beside));
                }
                self.record_snapshot(vm, document, state, memory, now)
            }
            SnapshotPlace::External { overlays, memory: file } => {
                self.can_be_external(machine, vm, spec, overlays, file.as_ref())?;
                self.record_snapshot(
                    vm,
                    document,
                    if file.is_some() { state } else { SnapshotState::DiskSnapshot },
                    memory.filter(|_| file.is_some()),
                    now,
                )?;
                for Overlay { disk, path } in overlays {
                    self.overlay(vm, disk.as_str(), path.as_str())?;
                }
                if let Some(file) = file {
                    let kept = SparseFile::hole(bytes).reserving(bytes / 8);
                    self.files.insert(file.as_str().to_owned(), kept);
                }
                Ok(())
            }
        }
    }

    fn can_be_external(
        &self,
        machine: &Machine,
        vm: &VmId,
        spec: &SnapshotSpec,
        overlays: &[Overlay],
        memory: Option<&DiskPath>,
    ) -> Result<()> {
        if memory.is_some() {
            machine.running()?;
        }
        let disks = document::disks(machine.current());
        for Overlay { disk, .. } in overlays {
            let found = disks.iter().find(|found| found.target == disk.as_str() && !found.read_only);
            let path = found.and_then(|disk| disk.path.as_deref()).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("the VM has no disk {disk} that a snapshot can keep"))
                    .on(resource(vm, &spec.name))
            })?;
            self.files.get(path).ok_or_else(|| no_image(path))?;
        }
        let mut files = overlays.iter().map(|overlay| &overlay.path).chain(memory);
        match files.find(|path| self.files.contains_key(path.as_str())) {
            Some(path) => Err(refuse(
                vm,
                &spec.name,
                ErrorKind::AlreadyExists,
                "a file of the snapshot is there already",
                path.as_str(),
            )),
            None => Ok(()),
        }
    }

    /// Lets a disk of the machine go on in a new overlay at this path.
    pub(super) fn overlay(&mut self, vm: &VmId, target: &str, path: &str) -> Result<()> {
        self.new_overlay(vm, target, path)?;
        let machine = self.machine_mut(vm)?;
        let live = machine.live.iter_mut().map(|live| &mut live.document);
        for document in live.chain([&mut machine.config]) {
            point(document, target, path);
        }
        Ok(())
    }

    /// Makes an overlay of the image that a disk of the machine has.
    pub(super) fn new_overlay(&mut self, vm: &VmId, target: &str, path: &str) -> Result<()> {
        let disks = document::disks(self.machine(vm)?.current());
        let image = disks.into_iter().find(|disk| disk.target == target).and_then(|disk| disk.path);
        let image = image.ok_or_else(|| Error::internal(format!("disk {target} has no image")))?;
        let capacity = image::probe(self.files.get(&image).ok_or_else(|| no_image(&image))?).capacity;
        self.files.insert(path.to_owned(), image::qcow2(capacity, Some(&image)).reserving(QCOW2_OVERHEAD));
        Ok(())
    }
}

/// Has a disk of a document use the qcow2 image at this path.
fn point(document: &mut Domain, target: &str, path: &str) {
    let disks = document.devices.iter_mut().flat_map(|devices| &mut devices.disk);
    let mut named = disks.filter(|disk| {
        disk.target.as_ref().and_then(|named| named.dev.as_ref()).is_some_and(|name| name.as_str() == target)
    });
    if let Some(disk) = named.next() {
        disk.driver.get_or_insert_default().r#type = Some(DiskFormat::Qcow2);
        disk.source.get_or_insert_default().file = Some(path.to_owned());
    }
}

/// Internal snapshots live in qcow2 disks, and need one when there is no memory to keep; QEMU refuses them beside raw
/// disks and beside a firmware whose variables are not in a qcow2 file.
fn can_be_internal(machine: &Machine) -> Result<()> {
    let document = machine.current();
    let writable: Vec<_> = document::disks(document).into_iter().filter(|disk| !disk.read_only).collect();
    let why = if let Some(disk) = writable.iter().find(|disk| disk.format.as_deref() != Some("qcow2")) {
        format!("disk {} is not qcow2", disk.target)
    } else if document::has_raw_nvram(document) {
        "the firmware's variables are not in a qcow2 file".to_owned()
    } else if writable.is_empty() && machine.live.is_none() {
        "there is neither a disk nor memory to keep".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Unsupported, "VM cannot have an internal snapshot").with_detail(why))
}

pub(super) fn internal(targets: impl Iterator<Item = impl Into<String>>) -> SnapshotDisks {
    let disk = |target: String| SnapshotDisk {
        name: Some(target),
        snapshot: Some(DiskSnapshot::Internal),
        ..SnapshotDisk::default()
    };
    SnapshotDisks { disk: targets.map(|target| disk(target.into())).collect(), ..SnapshotDisks::default() }
}

fn mode(mode: SnapshotMemoryMode) -> SnapshotMemory {
    SnapshotMemory { snapshot: Some(mode), ..SnapshotMemory::default() }
}

fn no_image(path: &str) -> Error {
    let message = format!("there is no image {}", kvm_core::text::printable(path));
    Error::new(ErrorKind::InvalidState, message)
}
