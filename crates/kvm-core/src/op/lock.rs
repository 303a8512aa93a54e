//! What nobody else may work on while an operation runs.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{HostKey, NetworkName, PoolName, VmId, VolumeName};

/// A machine on a host, or something else there that one operation at a time may work on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockKey {
    /// The host.
    pub host: HostKey,
    /// The machine; of anything else a uuid that is made from its name.
    pub vm: VmId,
}

impl LockKey {
    /// The key of a volume, which has no uuid: one is made of its pool and name.
    #[must_use]
    pub fn volume(host: HostKey, pool: &PoolName, volume: &VolumeName) -> Self {
        let name = format!("volume:{}/{}", pool.as_str(), volume.as_str());
        Self { host, vm: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).into() }
    }

    /// The key of a network, which has a name before it has a uuid.
    #[must_use]
    pub fn network(host: HostKey, network: &NetworkName) -> Self {
        let name = format!("urn:kvm-manager:network:{}", network.as_str());
        Self { host, vm: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).into() }
    }

    /// A file name that no other key has, whatever the host is called.
    pub(super) fn file_name(&self) -> String {
        let host = Uuid::new_v5(&Uuid::NAMESPACE_URL, self.host.as_str().as_bytes());
        format!("{}-{}.lock", host.simple(), self.vm)
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.vm, self.host)
    }
}

/// Holds a lock until it is dropped; the operating system gives it back when the process dies.
pub trait LockGuard: fmt::Debug + Send + Sync {}
