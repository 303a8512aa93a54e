//! Volumes that nothing on the host refers to.

use kvm_core::{Host, PoolInfo, Result, VolumeInfo};

use super::is_medium;
use crate::chain::{disk_graph, volume_key};
use crate::place::Places;

/// Volumes that nothing refers to, and how far that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphans {
    /// No machine's document, stored or live, mentions them, and no volume lies upon them.
    pub volumes: Vec<VolumeInfo>,
    /// Pools that are not active: what in them lies upon one of the volumes is not known.
    pub unknown: Vec<PoolInfo>,
}

/// Looks for volumes, of one pool or of all active ones, that no machine uses and no other volume lies upon.
///
/// Media are left out: they wait in their pool for a drive. What a host outside, or a person, means to do with a volume is
/// not known here. An image whose header cannot be read may lie upon one of them: deleting refuses then.
pub async fn orphans(host: &Host, pool: Option<&kvm_core::PoolName>) -> Result<Orphans> {
    let places = Places::read(host, &[]).await?;
    let graph = disk_graph(host).await?;
    let mut volumes = Vec::new();
    let wanted: Vec<_> = match pool {
        Some(pool) => vec![places.pool(pool.as_str())?.name.clone()],
        None => places.active().map(|pool| pool.name.clone()).collect(),
    };
    for pool in wanted {
        let all = host.storage.volumes(&pool).await?;
        volumes.extend(
            all.into_iter().filter(|v| !is_medium(v) && graph.users(&volume_key(v), None).describe().is_none()),
        );
    }
    Ok(Orphans { volumes, unknown: graph.inactive().to_vec() })
}
