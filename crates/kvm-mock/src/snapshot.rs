//! Snapshot and checkpoint records.

use async_trait::async_trait;
use kvm_core::{
    CheckpointInfo, Checkpoints, Description, Error, ErrorKind, Resource, Result, SnapshotInfo, SnapshotName,
    Snapshots, VmId,
};

use crate::document;
use crate::fault::Method;
use crate::machine::Machine;
use crate::mock::Mock;

#[async_trait]
impl Snapshots for Mock {
    async fn list(&self, vm: &VmId) -> Result<Vec<SnapshotInfo>> {
        // They are kept in the order in which they were made, so parents come before children.
        self.read(Method::ListSnapshots, vm, |world, _| Ok(world.machine(vm)?.snapshots.clone())).await
    }

    async fn create(&self, vm: &VmId, name: &SnapshotName, description: Option<&Description>) -> Result<()> {
        self.change(Method::CreateSnapshot, vm, |world, _| {
            let machine = world.machine_mut(vm)?;
            if machine.snapshots.iter().any(|s| s.name == *name) {
                return Err(
                    Error::new(ErrorKind::AlreadyExists, "the VM has a snapshot of this name").on(snapshot(vm, name))
                );
            }
            can_be_snapshotted(machine)?;
            let parent = machine.snapshots.iter_mut().find(|s| s.current).map(|current| {
                current.current = false;
                current.name.clone()
            });
            machine.snapshots.push(SnapshotInfo {
                name: name.clone(),
                parent,
                current: true,
                description: description.map(|d| d.as_str().to_owned()),
            });
            Ok(())
        })
        .await
    }

    async fn delete(&self, vm: &VmId, name: &SnapshotName) -> Result<()> {
        self.change(Method::DeleteSnapshot, vm, |world, _| {
            let snapshots = &mut world.machine_mut(vm)?.snapshots;
            let position = snapshots
                .iter()
                .position(|s| s.name == *name)
                .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such snapshot").on(snapshot(vm, name)))?;
            let gone = snapshots.remove(position);
            // Its children become its parent's, and so does being the current one.
            for other in snapshots.iter_mut() {
                if other.parent.as_ref() == Some(&gone.name) {
                    other.parent.clone_from(&gone.parent);
                }
                if gone.current && gone.parent.as_ref() == Some(&other.name) {
                    other.current = true;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Internal snapshots live in qcow2 disks, and need one when there is no memory to keep; QEMU refuses them beside raw
/// disks and beside a firmware whose variables are not in a qcow2 file.
fn can_be_snapshotted(machine: &Machine) -> Result<()> {
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

fn snapshot(vm: &VmId, name: &SnapshotName) -> Resource {
    Resource::Snapshot(format!("{vm}/{}", name.as_str()))
}

#[async_trait]
impl Checkpoints for Mock {
    async fn list(&self, vm: &VmId) -> Result<Vec<CheckpointInfo>> {
        self.read(Method::ListCheckpoints, vm, |world, _| Ok(world.machine(vm)?.checkpoints.clone())).await
    }
}
