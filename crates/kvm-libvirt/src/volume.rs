//! Volumes of a storage pool.

use kvm_core::{Bytes, DiskPath, ErrorKind, PoolName, Resource, Result, VolumeInfo, VolumeName, check_volume};
use kvm_xml::{Document, StorageVolume};
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;
use virt::sys;

use crate::document::{self, looked_again, refused};
use crate::error::{LibvirtError, optional};
use crate::libvirt::Libvirt;
use crate::storage::{self, check_active, lookup};
use crate::task::{Failure, Task};

/// Room for the tables of an empty volume that grows.
const TABLES: Bytes = Bytes::from_mib(1);

impl Libvirt {
    pub(crate) async fn list_volumes(&self, pool: &PoolName) -> Result<Vec<VolumeInfo>> {
        let name = pool.clone();
        self.ask("list the volumes of", storage::resource(pool), move |task| list(task, &name)).await
    }

    pub(crate) async fn find_one_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<VolumeInfo> {
        let (pool, name) = (pool.clone(), volume.clone());
        self.ask("find", resource(&pool, &name), move |task| {
            let volume = find(task, &active_pool(task, &pool)?, &name)?;
            describe(task, &pool, &volume)?.ok_or_else(|| task.not_found().into())
        })
        .await
    }

    pub(crate) async fn find_volume_at(&self, path: &DiskPath) -> Result<VolumeInfo> {
        let path = path.clone();
        self.ask("find", Resource::Volume(path.as_str().into()), move |task| {
            let volume = task.connection().lookup_storage_vol_by_path(path.as_str())?;
            let pool = PoolName::adopt(&volume.lookup_storage_pool()?.name()?)?;
            describe(task, &pool, &volume)?.ok_or_else(|| task.not_found().into())
        })
        .await
    }

    pub(crate) async fn make_volume(&self, pool: &PoolName, doc: &StorageVolume, flags: u32) -> Result<VolumeInfo> {
        let name = check_volume(doc)?;
        let (pool_name, doc) = (pool.clone(), doc.clone());
        self.work("create", resource(pool, &name), move |task| {
            let pool = active_pool(task, &pool_name)?;
            let check = || match optional(pool.lookup_storage_vol_by_name(name.as_str()))? {
                Some(_) => Err(task.already_exists().into()),
                None => Ok(()),
            };
            check()?;
            let volume = StorageVol::create_xml(&pool, &doc.to_xml(), flags).map_err(|e| {
                looked_again(e, check, |e| {
                    looked_again(e, || check_active(task, &pool), |e| explain(task, &pool, &name, &doc, e))
                })
            })?;
            describe(task, &pool_name, &volume)?.ok_or_else(|| task.not_found().into())
        })
        .await
    }

    pub(crate) async fn remove_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<()> {
        let (pool, name) = (pool.clone(), volume.clone());
        self.work("delete", resource(&pool, &name), move |task| {
            let pool = active_pool(task, &pool)?;
            let volume = find(task, &pool, &name)?;
            volume.delete(0).map_err(|e| in_use_or(task, &pool, &name, e.into()))
        })
        .await
    }
}

pub(crate) fn resource(pool: &PoolName, volume: &VolumeName) -> Resource {
    Resource::Volume(format!("{}/{}", pool.as_str(), volume.as_str()))
}

pub(crate) fn active_pool(task: &Task<'_>, name: &PoolName) -> Result<StoragePool, Failure> {
    let pool = lookup(task, name)?;
    let volume = task.resource();
    check_active(task, &pool)?;
    task.about(volume);
    Ok(pool)
}

pub(crate) fn find(task: &Task<'_>, pool: &StoragePool, name: &VolumeName) -> Result<StorageVol, Failure> {
    optional(pool.lookup_storage_vol_by_name(name.as_str()))?.ok_or_else(|| task.not_found().into())
}

fn list(task: &Task<'_>, name: &PoolName) -> Result<Vec<VolumeInfo>, Failure> {
    let pool = active_pool(task, name)?;
    let volumes =
        pool.list_all_volumes(0).map_err(|e| looked_again(e, || check_active(task, &pool), Failure::Libvirt))?;
    let mut all = Vec::with_capacity(volumes.len());
    for volume in volumes {
        // It may have gone in the meantime.
        match describe(task, name, &volume) {
            Ok(info) => all.extend(info),
            Err(Failure::Libvirt(e)) if e.is(sys::VIR_ERR_NO_STORAGE_VOL) => {}
            Err(e) => return Err(e),
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Everything stands in the volume's document, which is one question to the host. `None` for a volume that nobody may
/// name.
pub(crate) fn describe(task: &Task<'_>, pool: &PoolName, volume: &StorageVol) -> Result<Option<VolumeInfo>, Failure> {
    let name = match VolumeName::adopt(&volume.name()?) {
        Ok(name) => name,
        Err(e) => {
            tracing::debug!(%pool, error = %e, "left out a volume that cannot be named");
            return Ok(None);
        }
    };
    let doc: StorageVolume = document::read(task, &volume.xml_desc(0)?)?;
    let target = doc.target.as_ref();
    // Some drivers put words of their own where others have a path.
    let place = target.and_then(|target| target.path.as_deref());
    let path = place.and_then(|place| DiskPath::adopt(place).ok());
    let address = place.filter(|_| path.is_none()).map(str::to_owned);
    Ok(Some(VolumeInfo {
        pool: pool.clone(),
        name,
        path,
        address,
        format: target.and_then(|target| target.format.as_ref()?.r#type).map(|format| format.to_string()),
        capacity: bytes(doc.capacity.as_ref()),
        allocation: bytes(doc.allocation.as_ref()),
        backing: doc.backing_store.and_then(|backing| DiskPath::adopt(backing.path.as_deref()?).ok()),
    }))
}

/// `Busy` when that is what libvirt means.
pub(crate) fn in_use_or(task: &Task<'_>, pool: &StoragePool, name: &VolumeName, e: LibvirtError) -> Failure {
    // There it is, in an active pool: then somebody reads or writes it.
    if e.is(sys::VIR_ERR_OPERATION_INVALID) && find(task, pool, name).is_ok() {
        let message = format!("{} is in use", task.resource());
        return task.error(ErrorKind::Busy, message).with_source(e).into();
    }
    e.into()
}

pub(crate) fn bytes(size: Option<&kvm_xml::value::Size>) -> Bytes {
    Bytes::new(size.and_then(kvm_xml::value::Size::bytes).unwrap_or(0))
}

/// Why a volume could not be made. Not every driver says by a number that the pool is full, so its space is looked at.
pub(crate) fn explain(
    task: &Task<'_>,
    pool: &StoragePool,
    name: &VolumeName,
    doc: &StorageVolume,
    e: LibvirtError,
) -> Failure {
    if !matches!(e.kind(), None | Some(ErrorKind::NoSpace)) {
        return refused(task, e);
    }
    // libvirt counts a pool's space and volumes only now and then. Busy pools refuse; then the last count has to do.
    if let Err(e) = pool.refresh(0) {
        tracing::debug!(error = %e, "a pool is not counted again");
    }
    let now_there = optional(pool.lookup_storage_vol_by_name(name.as_str())).ok().flatten();
    // libvirt makes no file where one is, listed or not: then it is somebody's.
    let was_there = e.is(sys::VIR_ERR_OPERATION_INVALID) || e.os_error() == Some(libc::EEXIST);
    if was_there && now_there.is_some() {
        return task.already_exists().with_source(e).into();
    }
    let needed = needed(doc);
    let left = pool.info().map(|space| Bytes::new(space.available));
    let is_full = e.kind() == Some(ErrorKind::NoSpace) || left.as_ref().is_ok_and(|left| needed > *left);
    if !is_full {
        return refused(task, e);
    }
    if let Some(remains) = now_there {
        remove(&remains, name);
    }
    let error = task.error(ErrorKind::NoSpace, format!("no room for {}", task.resource()));
    match left {
        Ok(left) => error.with_detail(format!("needs {needed}, pool has {left} left")),
        Err(_) => error,
    }
    .with_source(e)
    .into()
}

/// What a volume takes at once. Where it is not said, formats other than raw begin with their tables and grow.
fn needed(doc: &StorageVolume) -> Bytes {
    let format = doc.target.as_ref().and_then(|target| target.format.as_ref()?.r#type.as_ref());
    let grows = format.is_some_and(|format| format.to_string() != "raw");
    let unsaid = if grows { None } else { doc.capacity.as_ref() };
    bytes(doc.allocation.as_ref().or(unsaid)).max(TABLES)
}

/// Removes what is left of a volume that did not fit, if it is a file: others are made at once or not at all, and libvirt
/// does not check first whether somebody has one of that name.
fn remove(remains: &StorageVol, name: &VolumeName) {
    let removed = remains.info().and_then(|info| match info.kind {
        sys::VIR_STORAGE_VOL_FILE => remains.delete(0),
        _ => Ok(()),
    });
    if let Err(e) = removed {
        tracing::warn!(error = %e, volume = %name, "what is left of a volume that did not fit cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed_by(rest: &str) -> Bytes {
        needed(&StorageVolume::from_xml(&format!("<volume><name>v</name>{rest}</volume>")).unwrap())
    }

    #[test]
    fn a_volume_takes_what_it_says_and_else_its_size_unless_it_grows() {
        let capacity = "<capacity unit='GiB'>8</capacity>";
        let allocation = "<allocation unit='GiB'>2</allocation>";
        let format = |name| format!("<target><format type='{name}'/></target>");
        assert_eq!(needed_by(capacity), Bytes::from_gib(8));
        assert_eq!(needed_by(&format!("{capacity}{}", format("raw"))), Bytes::from_gib(8));
        assert_eq!(needed_by(&format!("{capacity}{}", format("qcow2"))), TABLES);
        assert_eq!(needed_by(&format!("{capacity}{allocation}{}", format("qcow2"))), Bytes::from_gib(2));
        assert_eq!(needed_by(&format!("{capacity}<allocation>0</allocation>")), TABLES);
    }
}
