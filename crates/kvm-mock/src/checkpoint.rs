//! Checkpoints: what the images were like, to say how much of them changed since.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    Bytes, CheckpointInfo, CheckpointSpec, Checkpoints, DiskChange, Error, ErrorKind, Remove, Resource, Result,
    SnapshotName, VmId,
};
use serde::{Deserialize, Serialize};

use crate::document;
use crate::fault::Method;
use crate::file::SparseFile;
use crate::image;
use crate::machine::Machine;
use crate::mock::Mock;
use crate::world::World;

/// A checkpoint of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) info: CheckpointInfo,
    /// By disk, the path of its image and what was in it.
    images: BTreeMap<String, (String, SparseFile)>,
}

#[async_trait]
impl Checkpoints for Mock {
    async fn list(&self, vm: &VmId) -> Result<Vec<CheckpointInfo>> {
        self.read(Method::ListCheckpoints, vm, |world, _| {
            Ok(world.machine(vm)?.checkpoints.iter().map(|checkpoint| checkpoint.info.clone()).collect())
        })
        .await
    }

    async fn create(&self, vm: &VmId, spec: &CheckpointSpec) -> Result<()> {
        self.change(Method::CreateCheckpoint, vm, |world, now| {
            let machine = world.machine(vm)?;
            if machine.checkpoints.iter().any(|checkpoint| checkpoint.info.name == spec.name) {
                return Err(Error::new(ErrorKind::AlreadyExists, "the VM has a checkpoint of this name")
                    .on(resource(vm, &spec.name)));
            }
            machine.running()?;
            if world.watchable(machine).is_empty() {
                return Err(Error::new(ErrorKind::Unsupported, "VM has no disk that can remember what is written"));
            }
            world.checkpoint(vm, spec, now)
        })
        .await
    }

    async fn delete(&self, vm: &VmId, name: &SnapshotName, what: Remove) -> Result<()> {
        self.change(Method::DeleteCheckpoint, vm, |world, _| {
            let machine = world.machine_mut(vm)?;
            let position = find(machine, vm, name)?;
            if what == Remove::Everything {
                machine.running()?;
            }
            let gone = machine.checkpoints.remove(position).info;
            for other in &mut machine.checkpoints {
                if other.info.parent.as_ref() == Some(name) {
                    other.info.parent.clone_from(&gone.parent);
                }
            }
            Ok(())
        })
        .await
    }

    async fn changes(&self, vm: &VmId, name: &SnapshotName) -> Result<Vec<DiskChange>> {
        self.read(Method::CheckpointChanges, vm, |world, _| {
            let machine = world.machine(vm)?;
            let checkpoint = &machine.checkpoints[find(machine, vm, name)?];
            let live = machine.running()?;
            let disks = document::disks(&live.document);
            let change = |(target, (path, before)): (&String, &(String, SparseFile))| {
                let image = disks.iter().find(|disk| disk.target == *target)?.path.clone()?;
                // What was written to overlays that lie upon the image by now counts as well.
                let above = world.chain(&image).into_iter().take_while(|above| above != path);
                let above: u64 = above.filter_map(|path| world.files.get(&path)).map(data_bytes).sum();
                let changed = world.files.get(path)?.changed_since(before) + above;
                Some(DiskChange { disk: target.parse().ok()?, changed: Bytes::new(changed) })
            };
            Ok(checkpoint.images.iter().filter_map(change).collect())
        })
        .await
    }
}

fn data_bytes(file: &SparseFile) -> u64 {
    file.changed_since(&SparseFile::default())
}

fn find(machine: &Machine, vm: &VmId, name: &SnapshotName) -> Result<usize> {
    let position = machine.checkpoints.iter().position(|checkpoint| checkpoint.info.name == *name);
    position.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such checkpoint").on(resource(vm, name)))
}

fn resource(vm: &VmId, name: &SnapshotName) -> Resource {
    Resource::Checkpoint(format!("{vm}/{}", name.as_str()))
}

impl World {
    /// The disks that remember what is written, with their images: bitmaps are in qcow2 only.
    fn watchable(&self, machine: &Machine) -> BTreeMap<String, (String, SparseFile)> {
        let disks = document::disks(machine.current()).into_iter().filter(|disk| !disk.read_only);
        let image = |disk: document::Disk| {
            let path = disk.path?;
            let file = self.files.get(&path).filter(|file| image::probe(file).format == "qcow2")?;
            Some((disk.target, (path, file.clone())))
        };
        disks.filter_map(image).collect()
    }

    /// Makes a checkpoint, whatever the machine does.
    pub(crate) fn checkpoint(&mut self, vm: &VmId, spec: &CheckpointSpec, now: Timestamp) -> Result<()> {
        let images = self.watchable(self.machine(vm)?);
        let machine = self.machine_mut(vm)?;
        let info = CheckpointInfo {
            name: spec.name.clone(),
            parent: machine.checkpoints.last().map(|last| last.info.name.clone()),
            description: spec.description.as_ref().map(|text| text.as_str().to_owned()),
            created: Timestamp::from_second(now.as_second()).ok(),
            disks: images.keys().cloned().collect(),
        };
        machine.checkpoints.push(Checkpoint { info, images });
        Ok(())
    }
}
