//! Records that a hypervisor keeps beside a machine: snapshots and checkpoints.
//!
//! Here they are made, listed and forgotten as records, which is what deleting a machine safely needs. Disk data and
//! reverting come with the snapshot commands.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Description, Result, SnapshotName, VmId};

/// Snapshot records of machines.
#[async_trait]
pub trait Snapshots: fmt::Debug + Send + Sync {
    /// Lists the snapshots of a machine, parents before children. `NotFound` when there is no such machine.
    async fn list(&self, vm: &VmId) -> Result<Vec<SnapshotInfo>>;

    /// Takes a snapshot of the machine as it is, by the hypervisor's default means (internal, with memory when it
    /// runs). `AlreadyExists`, `NotFound`; `Unsupported` when the machine's disks or firmware do not allow it.
    async fn create(&self, vm: &VmId, name: &SnapshotName, description: Option<&Description>) -> Result<()>;

    /// Deletes a snapshot with its data. `NotFound`.
    async fn delete(&self, vm: &VmId, name: &SnapshotName) -> Result<()>;
}

/// Checkpoint records of machines.
#[async_trait]
pub trait Checkpoints: fmt::Debug + Send + Sync {
    /// Lists the checkpoints of a machine, parents before children. `NotFound` when there is no such machine.
    async fn list(&self, vm: &VmId) -> Result<Vec<CheckpointInfo>>;
}

/// A snapshot record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Unique within the machine.
    pub name: SnapshotName,
    /// The snapshot before it.
    pub parent: Option<SnapshotName>,
    /// Whether the machine's disks now follow this one.
    pub current: bool,
    /// What was said when it was made.
    pub description: Option<String>,
}

/// A checkpoint record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Unique within the machine.
    pub name: SnapshotName,
    /// The checkpoint before it.
    pub parent: Option<SnapshotName>,
}
