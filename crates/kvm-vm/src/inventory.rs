//! Everything on a host, in a form that can be compared before and after.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use kvm_core::{
    Bytes, DiskPath, Host, NetworkName, PoolName, Result, View, VmFilter, VmId, VmName, VmState, VmSummary,
};
use kvm_xml::Document as _;
use serde::Serialize;
use uuid::Uuid;

use crate::parallel;

/// What is on a host, without what changes by itself: how much is written in a volume, what a pool has left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// Machines by name.
    pub machines: BTreeMap<VmName, Machine>,
    /// Pools by name.
    pub pools: BTreeMap<PoolName, Pool>,
    /// Volumes of active pools, written `pool/name`.
    pub volumes: BTreeMap<String, Volume>,
    /// Virtual networks by name.
    pub networks: BTreeMap<NetworkName, Network>,
}

/// A machine in an [`Inventory`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Its uuid.
    pub id: VmId,
    /// Its power state.
    pub state: VmState,
    /// Whether the host starts it at boot.
    pub autostart: Option<bool>,
    /// Whether a saved state waits.
    pub has_saved_state: bool,
    /// Names of its snapshots.
    pub snapshots: Vec<String>,
    /// A digest of its stored document.
    pub definition: Uuid,
}

/// A pool in an [`Inventory`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Whether it is active.
    pub active: bool,
    /// Whether the host starts it at boot.
    pub autostart: bool,
}

/// A volume in an [`Inventory`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// The size that a guest sees.
    #[serde(rename = "capacity_bytes")]
    pub capacity: Bytes,
    /// The form of its content.
    pub format: Option<String>,
    /// The image that it is an overlay of.
    pub backing: Option<DiskPath>,
}

/// A network in an [`Inventory`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Whether it is active.
    pub active: bool,
    /// Whether the host starts it at boot.
    pub autostart: bool,
}

/// Takes stock of a host. One bulk call each for machines, pools and networks, one call for each active pool, two for
/// each machine.
pub async fn inventory(host: &Host) -> Result<Inventory> {
    let mut inventory = Inventory::default();
    let vms = host.hypervisor.list(&VmFilter::all()).await?;
    for (vm, machine) in vms.iter().zip(parallel::for_each(&vms, |vm| machine(host, vm).boxed()).await) {
        inventory.machines.insert(vm.name.clone(), machine?);
    }
    for pool in host.storage.pools().await? {
        if pool.active {
            for volume in host.storage.volumes(&pool.name).await? {
                let name = format!("{}/{}", volume.pool.as_str(), volume.name.as_str());
                let volume = Volume { capacity: volume.capacity, format: volume.format, backing: volume.backing };
                inventory.volumes.insert(name, volume);
            }
        }
        inventory.pools.insert(pool.name, Pool { active: pool.active, autostart: pool.autostart });
    }
    for network in host.networks.list().await? {
        inventory.networks.insert(network.name, Network { active: network.active, autostart: network.autostart });
    }
    Ok(inventory)
}

async fn machine(host: &Host, vm: &VmSummary) -> Result<Machine> {
    let document = host.hypervisor.definition(&vm.id, View::CONFIG).await?;
    let snapshots = match host.hypervisor.snapshots() {
        Some(snapshots) => snapshots.list(&vm.id).await?,
        None => Vec::new(),
    };
    Ok(Machine {
        id: vm.id,
        state: vm.state,
        autostart: vm.autostart,
        has_saved_state: vm.has_saved_state,
        snapshots: snapshots.iter().map(|s| s.name.as_str().to_owned()).collect(),
        definition: Uuid::new_v5(&Uuid::NAMESPACE_OID, document.to_xml().as_bytes()),
    })
}

impl Inventory {
    /// What is different afterwards, one line each; empty when nothing is.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("VM", &self.machines, &after.machines, &mut lines);
        compare("pool", &self.pools, &after.pools, &mut lines);
        compare("volume", &self.volumes, &after.volumes, &mut lines);
        compare("network", &self.networks, &after.networks, &mut lines);
        lines
    }
}

fn compare<K, V>(what: &str, before: &BTreeMap<K, V>, after: &BTreeMap<K, V>, lines: &mut Vec<String>)
where
    K: Ord + std::fmt::Display,
    V: PartialEq + std::fmt::Debug,
{
    for (name, old) in before {
        match after.get(name) {
            None => lines.push(format!("{what} {name} is gone")),
            Some(new) if new != old => lines.push(format!("{what} {name} was {old:?}, is {new:?}")),
            Some(_) => {}
        }
    }
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        lines.push(format!("{what} {name} is new"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_says_what_came_went_and_changed() {
        let volume = |capacity| Volume { capacity: Bytes::new(capacity), format: None, backing: None };
        let of = |volumes: &[(&str, u64)]| Inventory {
            volumes: volumes.iter().map(|(name, size)| ((*name).to_owned(), volume(*size))).collect(),
            ..Inventory::default()
        };
        let before = of(&[("a/kept", 1), ("a/gone", 1), ("a/grown", 1)]);
        let after = of(&[("a/kept", 1), ("a/grown", 2), ("a/new", 1)]);
        let lines = before.diff(&after);
        assert_eq!(lines[0], "volume a/gone is gone");
        assert!(lines[1].starts_with("volume a/grown was "), "{lines:?}");
        assert_eq!(lines[2], "volume a/new is new");
        assert!(before.diff(&before).is_empty());
    }
}
