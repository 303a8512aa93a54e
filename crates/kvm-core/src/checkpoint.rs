//! Checkpoints: moments from which on a machine's images remember what was written to them.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_xml::DomainCheckpoint;
use kvm_xml::checkpoint::{CheckpointDisk, CheckpointDisks, CheckpointMode};
use kvm_xml::value::DiskName;
use serde::{Deserialize, Serialize};

use crate::snapshot::disk_name;
use crate::{Bytes, Description, Remove, Result, SnapshotName, VmId};

/// Checkpoints of machines. Their names keep the rules of those of snapshots.
///
/// Every method gives `NotFound` when there is no such machine or checkpoint.
#[async_trait]
pub trait Checkpoints: fmt::Debug + Send + Sync {
    /// Lists the checkpoints of a machine, parents before children.
    async fn list(&self, vm: &VmId) -> Result<Vec<CheckpointInfo>>;

    /// Makes a checkpoint of a running machine: from now on its images remember what is written.
    ///
    /// `AlreadyExists` when the name is taken, `InvalidState` when the machine is off, `Unsupported` when no
    /// image can remember (only qcow2 can).
    async fn create(&self, vm: &VmId, spec: &CheckpointSpec) -> Result<()>;

    /// Deletes a checkpoint; what was written since is remembered by the one before it.
    ///
    /// `InvalidState` when the machine is off and more than the record is to go.
    async fn delete(&self, vm: &VmId, name: &SnapshotName, what: Remove) -> Result<()>;

    /// Says about how much was written to each disk since the checkpoint. `InvalidState` when the machine is off.
    async fn changes(&self, vm: &VmId, name: &SnapshotName) -> Result<Vec<DiskChange>>;
}

/// What a new checkpoint is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointSpec {
    /// Unique within the machine.
    pub name: SnapshotName,
    /// What people say about it.
    pub description: Option<Description>,
}

impl CheckpointSpec {
    /// A checkpoint of all disks.
    #[must_use]
    pub fn new(name: SnapshotName) -> Self {
        Self { name, description: None }
    }

    /// The document that asks a hypervisor for it.
    #[must_use]
    pub fn document(&self, disks: impl IntoIterator<Item = DiskName>) -> DomainCheckpoint {
        let disk = |name: DiskName| CheckpointDisk {
            name: Some(name.as_str().to_owned()),
            checkpoint: Some(CheckpointMode::Bitmap),
            ..CheckpointDisk::default()
        };
        let disk = disks.into_iter().map(disk).collect();
        DomainCheckpoint {
            name: Some(self.name.as_str().to_owned()),
            description: self.description.as_ref().map(|text| text.as_str().to_owned()),
            disks: Some(CheckpointDisks { disk, ..CheckpointDisks::default() }),
            ..DomainCheckpoint::default()
        }
    }
}

/// What is known of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Unique within the machine.
    pub name: SnapshotName,
    /// The checkpoint before it.
    pub parent: Option<SnapshotName>,
    /// What was said when it was made.
    pub description: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The disks that take part, by target.
    pub disks: Vec<String>,
}

impl CheckpointInfo {
    /// What a hypervisor's document says. `InvalidInput` when its name, or its parent's, may not be spoken.
    pub fn read(document: &DomainCheckpoint) -> Result<Self> {
        let parent = document.parent.as_ref().and_then(|parent| parent.name.as_deref());
        let seconds = document.creation_time.and_then(|seconds| i64::try_from(seconds).ok());
        let part = |disk: &&CheckpointDisk| disk.checkpoint != Some(CheckpointMode::No);
        let disks = document.disks.iter().flat_map(|disks| &disks.disk).filter(part);
        Ok(Self {
            name: SnapshotName::adopt(document.name.as_deref().unwrap_or_default())?,
            parent: parent.map(SnapshotName::adopt).transpose()?,
            description: document.description.clone().filter(|text| !text.is_empty()),
            created: seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            disks: disks.filter_map(|disk| disk.name.clone()).collect(),
        })
    }
}

/// How much of one disk changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskChange {
    /// Which disk.
    #[serde(with = "disk_name")]
    pub disk: DiskName,
    /// About how much was written, in whole blocks of the image's record.
    #[serde(rename = "changed_bytes")]
    pub changed: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    #[test]
    fn a_document_says_what_takes_part() {
        let spec = CheckpointSpec::new(SnapshotName::parse("c").unwrap());
        let document = DomainCheckpoint::from_xml(&spec.document(["vda".parse().unwrap()]).to_xml()).unwrap();
        let info = CheckpointInfo::read(&document).unwrap();
        assert_eq!((info.name.as_str(), info.disks), ("c", vec!["vda".to_owned()]));
    }
}
