//! Volumes that change their size, or are overwritten.

use kvm_core::{Bytes, Host, Resize, Result, VolumeInfo, WipePattern};

use super::{Uses, content};
use crate::secret::refuse_encrypted;
use crate::spec::VolumeRef;

/// Changes the size of the disk in a volume; gives the size that it had.
///
/// Not while an active machine uses it (`InvalidState`): [`resize_disk`](crate::resize_disk) grows the disk of a machine
/// that runs. A volume that others lie upon never shrinks. `InvalidInput` when the size is not on the side of the present
/// one that `how` says; `NoSpace`, `NotFound`, `Unsupported`.
pub async fn resize_volume(host: &Host, volume: &VolumeRef, size: Bytes, how: Resize) -> Result<Bytes> {
    let about = host.storage.find_volume(&volume.pool, &volume.volume).await?;
    let why = "its header has to be opened for that; grow it as the disk of a VM that runs";
    refuse_encrypted(host, &about, "resize", why).await?;
    let uses = Uses::read(host, &about).await?;
    match how {
        Resize::Shrink => uses.refuse_change(volume, "shrink")?,
        Resize::Grow | Resize::Allocate => uses.refuse_active(volume, "resize")?,
    }
    content(host)?.resize(&volume.pool, &volume.volume, size, how).await?;
    Ok(about.capacity)
}

/// Overwrites all that a volume holds. What was an image is plain bytes afterwards, as far as the host has looked.
///
/// Not while an active machine uses it, nor when other volumes lie upon it (`InvalidState`). `Unsupported` when the host
/// lacks what the pattern takes.
pub async fn wipe_volume(host: &Host, volume: &VolumeRef, pattern: WipePattern) -> Result<()> {
    let about = host.storage.find_volume(&volume.pool, &volume.volume).await?;
    Uses::read(host, &about).await?.refuse_change(volume, "wipe")?;
    content(host)?.wipe(&volume.pool, &volume.volume, pattern).await?;
    // A pool believes in a format until it looks again; one that is busy looks by itself when it is no longer.
    if let Err(e) = host.storage.refresh_pool(&volume.pool).await {
        tracing::debug!(error = %e, %volume, "its pool has not looked at it again");
    }
    Ok(())
}

/// A volume, and in words who uses it: machines, and volumes that lie upon it.
pub async fn volume_uses(host: &Host, volume: &VolumeRef) -> Result<(VolumeInfo, Option<String>)> {
    let about = host.storage.find_volume(&volume.pool, &volume.volume).await?;
    let uses = Uses::read(host, &about).await?;
    Ok((about, uses.users.describe()))
}
