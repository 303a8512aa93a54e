//! Deleting a snapshot: what was written since goes into the image that held its state.

use kvm_core::{ErrorKind, Remove, Result, SnapshotInfo, SnapshotKind, SnapshotName, VmId};
use kvm_xml::domain::{DiskFormat, DiskSource};

use super::{disks, refuse};
use crate::image;
use crate::world::World;

impl World {
    pub(super) fn delete_snapshot(&mut self, vm: &VmId, name: &SnapshotName, what: Remove) -> Result<()> {
        let machine = self.machine(vm)?;
        let at = machine.find_snapshot(vm, name)?;
        let info = machine.snapshots[at].info(machine.current_snapshot.as_ref())?;
        if what == Remove::Everything {
            let infos = machine.snapshot_infos()?;
            self.can_delete(vm, &info, &infos)?;
            self.refuse_left(vm)?;
            match info.kind() {
                SnapshotKind::Internal => self.forget(&info),
                SnapshotKind::External => self.take_out(vm, &info)?,
            }
        }
        let machine = self.machine_mut(vm)?;
        machine.snapshots.remove(at);
        let parent = info.parent.as_ref().map(|parent| parent.as_str().to_owned());
        for other in &mut machine.snapshots {
            let above = other.document.parent.as_ref().and_then(|parent| parent.name.as_deref());
            if above == Some(name.as_str()) {
                other.document.parent = parent
                    .clone()
                    .map(|name| kvm_xml::common::Parent { name: Some(name), ..kvm_xml::common::Parent::default() });
            }
        }
        if machine.current_snapshot.as_ref() == Some(name) {
            machine.current_snapshot = info.parent;
        }
        Ok(())
    }

    fn forget(&mut self, info: &SnapshotInfo) {
        for path in info.disks.iter().filter_map(|disk| disk.image.as_ref()) {
            if let Some(file) = self.files.get_mut(path.as_str()) {
                file.forget(info.name.as_str());
            }
        }
    }

    /// What libvirt cannot take out from between the others.
    fn can_delete(&self, vm: &VmId, info: &SnapshotInfo, all: &[SnapshotInfo]) -> Result<()> {
        if info.kind() == SnapshotKind::Internal {
            let machine = self.machine(vm)?;
            let images = machine.images();
            let is_left = info
                .disks
                .iter()
                .filter_map(|disk| disk.image.as_ref())
                .any(|path| !images.iter().any(|i| i == path.as_str()));
            return match is_left && machine.live.is_some() {
                true => {
                    let why = "the VM runs, and goes on in another image by now";
                    Err(refuse(vm, &info.name, ErrorKind::Unsupported, "the snapshot cannot be deleted", why))
                }
                false => Ok(()),
            };
        }
        let children = all.iter().filter(|other| other.parent.as_ref() == Some(&info.name)).count();
        let parent = all.iter().find(|other| Some(&other.name) == info.parent.as_ref());
        let why = if parent.is_some_and(|parent| parent.kind() == SnapshotKind::Internal) {
            "the one before it is internal"
        } else if children > 1 || (info.current && children > 0) {
            "several branches begin there"
        } else if children > 0 && !self.is_in_use(vm, info)? {
            "others follow it in a branch that the VM is not in"
        } else {
            return Ok(());
        };
        Err(refuse(vm, &info.name, ErrorKind::Unsupported, "the snapshot cannot be deleted", why))
    }

    /// Whether what the machine writes lies upon the images of a snapshot.
    fn is_in_use(&self, vm: &VmId, info: &SnapshotInfo) -> Result<bool> {
        let images = self.machine(vm)?.images();
        let chains: Vec<_> = images.iter().flat_map(|path| self.chain(path)).collect();
        let holds = |path: &kvm_core::DiskPath| chains.iter().any(|image| image == path.as_str());
        Ok(info.disks.iter().any(|disk| disk.overlay.as_ref().is_some_and(holds)) || info.current)
    }

    /// Has the images that held its state take up what was written since, or drops those at the end of a branch.
    fn take_out(&mut self, vm: &VmId, info: &SnapshotInfo) -> Result<()> {
        let is_in_use = self.is_in_use(vm, info)?;
        let images = self.machine(vm)?.images();
        for disk in &info.disks {
            let Some(base) = disk.image.as_ref().map(|path| path.as_str().to_owned()) else { continue };
            if is_in_use {
                let chain = images.iter().map(|path| self.chain(path)).find(|chain| chain.contains(&base));
                let above = chain.and_then(|chain| {
                    let at = chain.iter().position(|path| *path == base)?;
                    chain.get(at.checked_sub(1)?).cloned()
                });
                if let Some(overlay) = above {
                    self.replace(vm, &overlay, &base)?;
                }
            } else if !self.is_needed(vm, &base, &info.name)? {
                self.files.remove(&base);
            }
        }
        if let Some(memory) = &info.memory_file {
            self.files.remove(memory.as_str());
        }
        Ok(())
    }

    /// Merges an overlay into the image below, which takes its place everywhere.
    fn replace(&mut self, vm: &VmId, overlay: &str, base: &str) -> Result<()> {
        self.merge(overlay, base);
        self.files.remove(overlay);
        for file in self.files.values_mut() {
            if image::probe(file).backing.as_deref() == Some(overlay) {
                image::rebase(file, Some(base));
            }
        }
        let format = self.files.get(base).map(|file| match image::probe(file).format {
            "qcow2" => DiskFormat::Qcow2,
            _ => DiskFormat::Raw,
        });
        let machine = self.machine_mut(vm)?;
        let is_overlay =
            |source: Option<&DiskSource>| source.and_then(|source| source.file.as_deref()) == Some(overlay);
        for document in machine.documents_mut() {
            for disk in document.devices.iter_mut().flat_map(|devices| &mut devices.disk) {
                if is_overlay(disk.source.as_ref()) {
                    disk.source.get_or_insert_default().file = Some(base.to_owned());
                    disk.driver.get_or_insert_default().r#type = format;
                }
            }
        }
        for disk in machine.snapshots.iter_mut().flat_map(|snapshot| disks(&mut snapshot.document)) {
            if is_overlay(disk.source.as_ref()) {
                disk.source.get_or_insert_default().file = Some(base.to_owned());
            }
        }
        Ok(())
    }

    /// Whether an image is more than the state of this snapshot.
    fn is_needed(&self, vm: &VmId, path: &str, name: &SnapshotName) -> Result<bool> {
        let machine = self.machine(vm)?;
        let below = self.files.values().any(|file| image::probe(file).backing.as_deref() == Some(path));
        let infos = machine.snapshot_infos()?;
        let others = infos.iter().filter(|other| other.name != *name).flat_map(|other| &other.disks);
        let held = others.into_iter().any(|disk| disk.image.as_ref().is_some_and(|image| image.as_str() == path));
        Ok(below || held || machine.images().iter().any(|image| image == path))
    }
}
