//! The contract of what pools are made of.

use std::fmt;

use async_trait::async_trait;
use kvm_xml::StoragePool;
use kvm_xml::pool::{PoolSource, PoolType};
use serde::{Deserialize, Serialize};

use crate::{PoolName, Result};

/// How pools are set up and taken down: a facet of [`Storage`](crate::Storage). Every call about one pool is `NotFound`
/// without it.
#[async_trait]
pub trait PoolSetup: fmt::Debug + Send + Sync {
    /// Defines a pool, which is not active then; touches nothing that it stands for. `AlreadyExists` when the name or
    /// the target is taken; `InvalidInput` when the host refuses the document. Source: `virStoragePoolDefineXML`.
    async fn define(&self, doc: &StoragePool) -> Result<()>;

    /// Reads a pool's document, as it is stored. Source: `virStoragePoolGetXMLDesc`.
    async fn definition(&self, pool: &PoolName) -> Result<StoragePool>;

    /// Makes what a pool needs before it can start. `InvalidState` when it is active, or when there is something in the
    /// way that may not be overwritten; `Unsupported` for pools that have nothing to be made. Source:
    /// `virStoragePoolBuild`.
    async fn build(&self, pool: &PoolName, build: Build) -> Result<()>;

    /// Destroys what a pool consists of, with all data: removes the volume group, the partition table, the directory,
    /// which has to be empty. The definition stays. Destroying what is gone succeeds. `InvalidState` when it is active, or
    /// when a directory is not empty; `Unsupported` for pools that others keep. Source: `virStoragePoolDelete`.
    async fn destroy_data(&self, pool: &PoolName) -> Result<()>;

    /// Looks for what could become a pool of this type: the volume groups of the host, what a server exports, the targets
    /// of a portal. `at` says where to look, for types that need it (`InvalidInput` without). `Unsupported` for types
    /// that are not looked for, or lack a program on the host. Source: `virConnectFindStoragePoolSources`.
    async fn find_sources(&self, kind: PoolType, at: &PoolSource) -> Result<Vec<PoolSource>>;
}

/// What becomes of what is there already when a pool is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Build {
    /// Only what holds no data: a directory to mount on.
    Place,
    /// A file system, a partition table or a volume group is made where there is none.
    Format,
    /// It is made in any case. What was there is lost.
    Overwrite,
}
