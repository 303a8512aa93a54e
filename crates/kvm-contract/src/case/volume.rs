//! Volumes.

use kvm_core::{DiskPath, ErrorKind, PoolName, VolumeName};
use kvm_xml::volume::{VolumeBackingStore, VolumeFormat, VolumeFormatType};

use crate::case::{cases, holds, refused, same, sorted};
use crate::cx::{Cx, volume, volume_name};

const MIB: u64 = 1 << 20;

cases! { CASES in "volumes" on Cx;
    /// A volume has the name, the format and the capacity that were asked for, and its path lies in the pool.
    async fn a_volume_is_what_was_asked_for(cx) {
        let pool = cx.active_pool("a").await?;
        let target = cx.storage().find_pool(&pool).await?.target;
        for (name, format) in [("disk.raw", VolumeFormatType::Raw), ("disk.qcow2", VolumeFormatType::Qcow2)] {
            let made = cx.storage().create_volume(&pool, &volume(name, format, 8 * MIB, Some(0))).await?;
            same("pool", &made.pool, &pool)?;
            same("name", &made.name, &volume_name(name)?)?;
            same("format", made.format.as_deref(), Some(format.as_str()))?;
            same("capacity", made.capacity.get(), 8 * MIB)?;
            let path = made.host_path()?;
            let inside = target.as_ref().is_some_and(|target| path.as_path().starts_with(target.as_path()));
            holds("its path lies in the pool", inside)?;
            same("found", &cx.storage().find_volume(&pool, &made.name).await?, &made)?;
            same("found by its path", &cx.storage().volume_at(path).await?, &made)?;
        }
        Ok(())
    }

    /// A list of volumes is sorted by name, and an empty pool has none.
    async fn a_list_is_sorted_by_name(cx) {
        let pool = cx.active_pool("a").await?;
        same("volumes", cx.storage().volumes(&pool).await?, vec![])?;
        for name in ["b", "a10", "a2"] {
            cx.thin_volume(&pool, name, MIB).await?;
        }
        let all = cx.storage().volumes(&pool).await?;
        sorted("names", &all, |volume| volume.name.clone())?;
        same("how many there are", all.len(), 3)
    }

    /// A name that is taken is refused, and the volume that has it stays as it is.
    async fn a_taken_name_is_refused(cx) {
        let pool = cx.active_pool("a").await?;
        let made = cx.thin_volume(&pool, "disk", MIB).await?;
        let again = cx.storage().create_volume(&pool, &volume("disk", VolumeFormatType::Raw, 2 * MIB, Some(0))).await;
        refused(again, ErrorKind::AlreadyExists)?;
        same("the volume", cx.storage().find_volume(&pool, &made.name).await?, made)
    }

    /// What is to be allocated at once has to fit into the pool; else there is no space, and no volume.
    async fn what_does_not_fit_is_no_space(cx) {
        let pool = cx.active_pool("a").await?;
        let free = cx.storage().find_pool(&pool).await?.available.unwrap_or_default().get();
        let large = (free + (1 << 40)).next_multiple_of(MIB);
        let document = volume("large", VolumeFormatType::Raw, large, Some(large));
        refused(cx.storage().create_volume(&pool, &document).await, ErrorKind::NoSpace)?;
        refused(cx.storage().find_volume(&pool, &volume_name("large")?).await, ErrorKind::NotFound)?;
        same("volumes", cx.storage().volumes(&pool).await?, vec![])
    }

    /// A volume that takes nothing at once may be larger than the pool has room.
    async fn a_thin_volume_may_be_larger_than_the_room(cx) {
        let pool = cx.active_pool("a").await?;
        let free = cx.storage().find_pool(&pool).await?.available.unwrap_or_default().get();
        let large = (free + (1 << 30)).next_multiple_of(MIB);
        same("capacity", cx.thin_volume(&pool, "thin.qcow2", large).await?.capacity.get(), large)
    }

    /// A document without name or capacity is invalid, and makes nothing.
    async fn an_incomplete_document_is_invalid(cx) {
        let pool = cx.active_pool("a").await?;
        let whole = volume("disk", VolumeFormatType::Raw, MIB, Some(0));
        let (mut nameless, mut sizeless, mut endless) = (whole.clone(), whole.clone(), whole);
        nameless.name = None;
        sizeless.capacity = None;
        endless.capacity = Some(kvm_xml::value::Size::from_bytes(i64::MAX as u64));
        for document in [nameless, sizeless, endless] {
            refused(cx.storage().create_volume(&pool, &document).await, ErrorKind::InvalidInput)?;
        }
        same("volumes", cx.storage().volumes(&pool).await?, vec![])
    }

    /// A volume that was deleted is gone, and its name is free.
    async fn a_deleted_volume_is_gone(cx) {
        let pool = cx.active_pool("a").await?;
        let made = cx.thin_volume(&pool, "disk", MIB).await?;
        cx.storage().delete_volume(&pool, &made.name).await?;
        refused(cx.storage().find_volume(&pool, &made.name).await, ErrorKind::NotFound)?;
        refused(cx.storage().volume_at(made.host_path()?).await, ErrorKind::NotFound)?;
        refused(cx.storage().delete_volume(&pool, &made.name).await, ErrorKind::NotFound)?;
        cx.thin_volume(&pool, "disk", MIB).await?;
        Ok(())
    }

    /// A volume is found by its path, or has none and is reached over the network. Whatever its pool, its name finds it.
    async fn a_volume_has_a_path_or_is_reached_over_the_network(cx) {
        let pool = cx.active_pool("a").await?;
        cx.thin_volume(&pool, "disk", MIB).await?;
        for pool in cx.storage().pools().await?.into_iter().filter(|pool| pool.active) {
            for volume in cx.storage().volumes(&pool.name).await? {
                match &volume.path {
                    Some(path) => {
                        same("its path", volume.host_path()?, path)?;
                        same("address beside a path", &volume.address, &None)?;
                    }
                    None => {
                        refused(volume.host_path(), ErrorKind::Unsupported)?;
                        let found = cx.storage().find_volume(&volume.pool, &volume.name).await?;
                        same("found by its name", &found, &volume)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// No call finds a volume that is not there, or one in a pool that is not there.
    async fn what_is_not_there_is_not_found(cx) {
        let pool = cx.active_pool("a").await?;
        for (pool, name) in [(pool, "absent"), (cx.pool_name("absent")?, "disk")] {
            let name = volume_name(name)?;
            refused(cx.storage().find_volume(&pool, &name).await, ErrorKind::NotFound)?;
            refused(cx.storage().delete_volume(&pool, &name).await, ErrorKind::NotFound)?;
        }
        let nowhere = cx.pool_name("absent")?;
        refused(cx.thin_volume(&nowhere, "disk", MIB).await, ErrorKind::NotFound)?;
        let path = DiskPath::parse("/var/lib/contract-absent/disk")?;
        refused(cx.storage().volume_at(&path).await, ErrorKind::NotFound)
    }

    /// The volumes of a pool that is not active cannot be reached, and are there again when it is.
    async fn volumes_stay_while_their_pool_is_stopped(cx) {
        let pool = cx.active_pool("a").await?;
        let made = cx.thin_volume(&pool, "disk.qcow2", MIB).await?;
        cx.storage().stop_pool(&pool).await?;
        unreachable_in(cx, &pool, &made.name).await?;
        refused(cx.storage().volume_at(made.host_path()?).await, ErrorKind::NotFound)?;
        cx.storage().start_pool(&pool).await?;
        same("the volume", cx.storage().find_volume(&pool, &made.name).await?.path, made.path)
    }

    /// Data stays when a pool is forgotten.
    async fn volumes_outlive_the_definition_of_their_pool(cx) {
        let pool = cx.active_pool("a").await?;
        let made = cx.thin_volume(&pool, "disk.qcow2", MIB).await?;
        cx.storage().stop_pool(&pool).await?;
        cx.storage().undefine_pool(&pool).await?;
        cx.active_pool("a").await?;
        same("the volume", cx.storage().find_volume(&pool, &made.name).await?.path, made.path)
    }

    /// An overlay names the image below it.
    async fn an_overlay_names_its_backing_image(cx) {
        let pool = cx.active_pool("a").await?;
        let base = cx.thin_volume(&pool, "base.qcow2", MIB).await?;
        let mut document = volume("overlay.qcow2", VolumeFormatType::Qcow2, MIB, Some(0));
        document.backing_store = Some(VolumeBackingStore {
            path: Some(base.host_path()?.as_str().to_owned()),
            format: Some(VolumeFormat { r#type: Some(VolumeFormatType::Qcow2), ..VolumeFormat::default() }),
            ..VolumeBackingStore::default()
        });
        let overlay = cx.storage().create_volume(&pool, &document).await?;
        same("backing image", overlay.backing, base.path)?;
        same("that of the base", cx.storage().find_volume(&pool, &base.name).await?.backing, None)
    }

    /// What is allocated is taken from the pool's room.
    async fn allocations_take_room(cx) {
        let pool = cx.active_pool("a").await?;
        let before = cx.storage().find_pool(&pool).await?;
        let document = volume("disk", VolumeFormatType::Raw, 4 * MIB, Some(4 * MIB));
        let made = cx.storage().create_volume(&pool, &document).await?;
        holds("it takes what was asked for", made.allocation.get() >= 4 * MIB)?;
        cx.storage().refresh_pool(&pool).await?;
        let after = cx.storage().find_pool(&pool).await?;
        holds("the pool has less room", after.available < before.available)?;
        holds("and more in use", after.allocation > before.allocation)
    }
}

async fn unreachable_in(cx: &Cx, pool: &PoolName, name: &VolumeName) -> crate::case::Outcome {
    refused(cx.storage().volumes(pool).await, ErrorKind::InvalidState)?;
    refused(cx.storage().find_volume(pool, name).await, ErrorKind::InvalidState)?;
    refused(cx.storage().delete_volume(pool, name).await, ErrorKind::InvalidState)?;
    refused(cx.thin_volume(pool, "other", MIB).await, ErrorKind::InvalidState)
}
