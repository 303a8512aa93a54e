//! The contract of a host's storage: pools and the volumes in them.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Autostart, Bytes, DiskPath, Error, ErrorKind, PoolName, Resource, Result, SecretStore, VolumeName};

mod content;
mod setup;

pub use content::{Blocks, Holes, Piece, Resize, VolumeContent, VolumeReader, VolumeWriter, WipePattern};
pub use setup::{Build, PoolSetup};

/// Storage pools and volumes of one host.
///
/// `Unavailable` and `Timeout` are as in [`Hypervisor`](crate::Hypervisor).
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Lists all pools, sorted by name.
    async fn pools(&self) -> Result<Vec<PoolInfo>>;

    /// Finds one pool. `NotFound`.
    async fn find_pool(&self, pool: &PoolName) -> Result<PoolInfo>;

    /// Defines a pool from its document, makes what it needs on disk (a directory, for a `dir` pool) and starts it.
    /// `AlreadyExists` when the name or the target is taken; `InvalidInput` when the host refuses the document.
    /// When a later part goes wrong, nothing stays defined.
    async fn create_pool(&self, doc: &kvm_xml::StoragePool, autostart: Autostart) -> Result<()>;

    /// Starts a pool. `InvalidState` when it is active, `NotFound`.
    async fn start_pool(&self, pool: &PoolName) -> Result<()>;

    /// Stops a pool; its data stays. `InvalidState` when it is not active, `NotFound`.
    async fn stop_pool(&self, pool: &PoolName) -> Result<()>;

    /// Looks again at what is in a pool. `InvalidState` when it is not active, `NotFound`.
    async fn refresh_pool(&self, pool: &PoolName) -> Result<()>;

    /// Forgets a pool that is not active; its data stays. `InvalidState` when it is active, `NotFound`.
    async fn undefine_pool(&self, pool: &PoolName) -> Result<()>;

    /// Sets whether the host starts a pool at boot. Setting what is set succeeds. `NotFound`.
    async fn set_pool_autostart(&self, pool: &PoolName, autostart: Autostart) -> Result<()>;

    /// Lists the volumes of a pool, sorted by name. `InvalidState` when it is not active, `NotFound`.
    async fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeInfo>>;

    /// Finds one volume. `NotFound`; `InvalidState` when the pool is not active.
    async fn find_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<VolumeInfo>;

    /// Finds the volume that has this path, over all active pools. `NotFound`.
    async fn volume_at(&self, path: &DiskPath) -> Result<VolumeInfo>;

    /// Makes a volume from its document; its content reads as zeros. `AlreadyExists`; `NoSpace` when the pool cannot
    /// hold what is allocated at once; `InvalidState` when the pool is not active; `InvalidInput`; `NotFound`.
    async fn create_volume(&self, pool: &PoolName, doc: &kvm_xml::StorageVolume) -> Result<VolumeInfo>;

    /// Deletes a volume and its data. `NotFound`; `Busy` when the host knows that it is in use.
    async fn delete_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<()>;

    /// What is in volumes; `None` when this backend cannot reach it.
    fn content(&self) -> Option<&dyn VolumeContent>;

    /// How pools are set up and taken down; `None` when this backend only uses what is there.
    fn setup(&self) -> Option<&dyn PoolSetup>;

    /// Secrets of encrypted volumes and others; `None` when this backend keeps none.
    fn secrets(&self) -> Option<&dyn SecretStore>;
}

/// What is known of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolInfo {
    /// Unique on the host.
    pub name: PoolName,
    /// `dir`, `logical`, `netfs`…
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether its volumes can be used now.
    pub active: bool,
    /// Whether the host starts it at boot.
    pub autostart: bool,
    /// Whether the definition outlives a stop.
    pub persistent: bool,
    /// Where its volumes are, for pools that have such a place.
    pub target: Option<DiskPath>,
    /// Size of the device or file system; `None` while it is not active.
    #[serde(rename = "capacity_bytes")]
    pub capacity: Option<Bytes>,
    /// Space in use.
    #[serde(rename = "allocation_bytes")]
    pub allocation: Option<Bytes>,
    /// Space left.
    #[serde(rename = "available_bytes")]
    pub available: Option<Bytes>,
}

/// What is known of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInfo {
    /// The pool it is in.
    pub pool: PoolName,
    /// Unique in the pool.
    pub name: VolumeName,
    /// Where a machine of this host finds it; `None` for one that is reached over the network and that no program of the
    /// host opens as a file, as those of `iscsi-direct` and `rbd` pools.
    pub path: Option<DiskPath>,
    /// What the host calls a volume that has no path: text of its own, not for opening.
    pub address: Option<String>,
    /// `raw`, `qcow2`, `iso`…; `None` where the pool type has no formats.
    pub format: Option<String>,
    /// Size that a guest sees.
    #[serde(rename = "capacity_bytes")]
    pub capacity: Bytes,
    /// Space that it takes on the host.
    #[serde(rename = "allocation_bytes")]
    pub allocation: Bytes,
    /// The image that it is an overlay of.
    pub backing: Option<DiskPath>,
}

impl VolumeInfo {
    /// Where it is, in whatever words there are: its path, or what the host calls it instead.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.path.as_ref().map(DiskPath::as_str).or(self.address.as_deref())
    }

    /// Where the host finds it, for everything that opens, names or checks it as a file or device of the host.
    /// `Unsupported` for one that is reached over the network.
    pub fn host_path(&self) -> Result<&DiskPath> {
        self.path.as_ref().ok_or_else(|| {
            let volume = Resource::Volume(format!("{}/{}", self.pool.as_str(), self.name.as_str()));
            let error = Error::new(
                ErrorKind::Unsupported,
                format!("{volume} is reached over the network, not by a path of the host"),
            );
            match &self.address {
                Some(address) => error.with_detail(format!("the host calls it {}", crate::text::printable(address))),
                None => error,
            }
            .on(volume)
        })
    }
}
