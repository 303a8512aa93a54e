//! What is in volumes.

use async_trait::async_trait;
use kvm_core::{
    Blocks, Bytes, Error, ErrorKind, Holes, PoolName, Resize, Result, VolumeContent, VolumeInfo, VolumeName,
    VolumeReader, VolumeWriter, WipePattern, check_volume,
};
use kvm_xml::{Document as _, StorageVolume};
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys;

use crate::document::{self, looked_again};
use crate::error::{LibvirtError, optional};
use crate::libvirt::Libvirt;
use crate::storage::{check_active, lookup};
use crate::task::{Failure, Subject, Task};
use crate::transfer::{Opened, Reader, Writer};
use crate::volume::{active_pool, bytes, describe, explain, find, in_use_or, resource};

#[async_trait]
impl VolumeContent for Libvirt {
    async fn download(&self, pool: &PoolName, volume: &VolumeName, holes: Holes) -> Result<Box<dyn VolumeReader>> {
        let (at, name) = (pool.clone(), volume.clone());
        let flags = if holes == Holes::Keep { sys::VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM } else { 0 };
        let open = move |task: &Task<'_>| {
            let (pool, volume) = place(task, &at, &name)?;
            let length = length(&read(task, &volume)?);
            let stream = Stream::new(task.connection(), 0)?;
            let opened = volume.download(&stream, 0, 0, flags);
            opened.map_err(|e| in_use_or(task, &pool, &name, e.into()))?;
            Ok(Opened { stream, session: task.session().clone(), length })
        };
        let opened = self.open_stream("download", pool, volume, open).await?;
        let stall = self.config.stall_deadline;
        Ok(Box::new(Reader::new(opened, &self.jobs, resource(pool, volume), stall, holes)))
    }

    async fn upload(
        &self,
        pool: &PoolName,
        volume: &VolumeName,
        length: Bytes,
        holes: Holes,
    ) -> Result<Box<dyn VolumeWriter>> {
        let (at, name) = (pool.clone(), volume.clone());
        let flags = if holes == Holes::Keep { sys::VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM } else { 0 };
        let open = move |task: &Task<'_>| {
            let (pool, volume) = place(task, &at, &name)?;
            let stream = Stream::new(task.connection(), 0)?;
            let opened = volume.upload(&stream, 0, length.get(), flags);
            opened.map_err(|e| in_use_or(task, &pool, &name, e.into()))?;
            Ok(Opened { stream, session: task.session().clone(), length })
        };
        let opened = self.open_stream("upload", pool, volume, open).await?;
        let limits = (self.config.stall_deadline, self.config.job_deadline);
        Ok(Box::new(Writer::new(opened, &self.jobs, resource(pool, volume), limits, holes)))
    }

    async fn resize(&self, pool: &PoolName, volume: &VolumeName, size: Bytes, how: Resize) -> Result<()> {
        let (at, name) = (pool.clone(), volume.clone());
        self.work("resize", resource(pool, volume), move |task| {
            let (pool, volume) = place(task, &at, &name)?;
            let document = read(task, &volume)?;
            let (present, taken) = (bytes(document.capacity.as_ref()), bytes(document.allocation.as_ref()));
            check_size(present, size, how)?;
            if how == Resize::Shrink && taken > size {
                // libvirt cuts off only what was never written, as far as it counts.
                return Err(task.invalid_state(format_args!("has {taken} on disk and cannot be cut to {size}")).into());
            }
            let flags = match how {
                Resize::Grow => 0,
                Resize::Allocate => sys::VIR_STORAGE_VOL_RESIZE_ALLOCATE,
                Resize::Shrink => sys::VIR_STORAGE_VOL_RESIZE_SHRINK,
            };
            volume.resize(size.get(), flags).map_err(|e| {
                let e = LibvirtError::from(e);
                let left = pool.info().map(|space| Bytes::new(space.available));
                match left {
                    Ok(left) if size.saturating_sub(present) > left => {
                        let message = format!("no room to resize {}", task.resource());
                        let detail = format!("needs {}, pool has {left} left", size.saturating_sub(present));
                        task.error(ErrorKind::NoSpace, message).with_detail(detail).with_source(e).into()
                    }
                    _ if e.is(sys::VIR_ERR_INVALID_ARG) => {
                        let message = format!("the format of {} cannot be resized like this", task.resource());
                        task.error(ErrorKind::Unsupported, message).with_source(e).into()
                    }
                    _ => in_use_or(task, &pool, &name, e),
                }
            })
        })
        .await
    }

    async fn wipe(&self, pool: &PoolName, volume: &VolumeName, pattern: WipePattern) -> Result<()> {
        let (at, name) = (pool.clone(), volume.clone());
        self.work("wipe", resource(pool, volume), move |task| {
            let (pool, volume) = place(task, &at, &name)?;
            let algorithm = match pattern {
                WipePattern::Zero => sys::VIR_STORAGE_VOL_WIPE_ALG_ZERO,
                WipePattern::Random => sys::VIR_STORAGE_VOL_WIPE_ALG_RANDOM,
                WipePattern::Nnsa => sys::VIR_STORAGE_VOL_WIPE_ALG_NNSA,
                WipePattern::Trim => sys::VIR_STORAGE_VOL_WIPE_ALG_TRIM,
                other => return Err(unknown(task, format_args!("{other:?}"))),
            };
            // libvirt overwrites as many bytes as are stored. Of a file without holes that includes what the file system
            // keeps for itself, so the file may grow by some KiB; it refuses to be cut below that again.
            volume.wipe_pattern(algorithm, 0).map_err(|e| match in_use_or(task, &pool, &name, e.into()) {
                // The program that overwrites is not there, or this kind of pool knows no other way.
                Failure::Libvirt(e) if pattern != WipePattern::Zero && e.kind().is_none() => {
                    let message = format!("this host cannot wipe {} like this", task.resource());
                    task.error(ErrorKind::Unsupported, message).with_source(e).into()
                }
                failure => failure,
            })
        })
        .await
    }

    async fn copy(
        &self,
        from: (&PoolName, &VolumeName),
        pool: &PoolName,
        doc: &StorageVolume,
        blocks: Blocks,
    ) -> Result<VolumeInfo> {
        let name = check_volume(doc)?;
        let (from_pool, from_name) = (from.0.clone(), from.1.clone());
        let (at, doc) = (pool.clone(), doc.clone());
        let flags = if blocks == Blocks::Shared { sys::VIR_STORAGE_VOL_CREATE_REFLINK } else { 0 };
        self.work("copy", resource(pool, &name), move |task| {
            let new = task.resource();
            task.about(resource(&from_pool, &from_name));
            let (origin_pool, origin) = place(task, &from_pool, &from_name)?;
            let original = task.resource();
            task.about(new);
            let pool = active_pool(task, &at)?;
            let check = || match optional(pool.lookup_storage_vol_by_name(name.as_str()))? {
                Some(_) => Err(task.already_exists().into()),
                None => Ok(()),
            };
            check()?;
            let made = StorageVol::create_xml_from(&pool, &doc.to_xml(), &origin, flags).map_err(|e| {
                looked_again(e, check, |e| {
                    looked_again(
                        e,
                        || check_active(task, &pool),
                        |e| {
                            if blocks == Blocks::Shared && cannot_share(&e) {
                                let message = format!("{} cannot share blocks with {original}", task.resource());
                                return task.error(ErrorKind::Unsupported, message).with_source(e).into();
                            }
                            if e.is(sys::VIR_ERR_OPERATION_INVALID) && find(task, &origin_pool, &from_name).is_ok() {
                                let message = format!("{original} is in use");
                                return task.error(ErrorKind::Busy, message).with_source(e).into();
                            }
                            explain(task, &pool, &name, &doc, e)
                        },
                    )
                })
            })?;
            describe(task, &at, &made)?.ok_or_else(|| task.not_found().into())
        })
        .await
    }

    async fn create_preallocated(&self, pool: &PoolName, doc: &StorageVolume) -> Result<VolumeInfo> {
        self.make_volume(pool, doc, sys::VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA).await
    }

    async fn definition(&self, pool: &PoolName, volume: &VolumeName) -> Result<StorageVolume> {
        let (at, name) = (pool.clone(), volume.clone());
        self.ask("read", resource(pool, volume), move |task| {
            let (_, volume) = place(task, &at, &name)?;
            read(task, &volume)
        })
        .await
    }
}

impl Libvirt {
    /// Opens a stream on the connection for long work, where it stays.
    async fn open_stream(
        &self,
        verb: &'static str,
        pool: &PoolName,
        volume: &VolumeName,
        work: impl FnOnce(&Task<'_>) -> Result<Opened, Failure> + Send + 'static,
    ) -> Result<Opened> {
        let subject = Subject::new(verb, resource(pool, volume));
        self.jobs.call(subject, self.config.call_deadline, work).await
    }
}

/// A volume and its pool, which is active.
fn place(task: &Task<'_>, pool: &PoolName, volume: &VolumeName) -> Result<(StoragePool, StorageVol), Failure> {
    let about = task.resource();
    let pool = lookup(task, pool)?;
    check_active(task, &pool)?;
    task.about(about);
    let volume = find(task, &pool, volume)?;
    Ok((pool, volume))
}

fn read(task: &Task<'_>, volume: &StorageVol) -> Result<StorageVolume, Failure> {
    document::read(task, &volume.xml_desc(0)?)
}

/// How long the file or device is; where the host does not say, as large as the disk in it.
fn length(doc: &StorageVolume) -> Bytes {
    bytes(doc.physical.as_ref().or(doc.capacity.as_ref()))
}

/// Refuses a change of size into the other direction.
fn check_size(present: Bytes, size: Bytes, how: Resize) -> Result<()> {
    match how {
        Resize::Grow | Resize::Allocate if size <= present => {
            Err(Error::invalid("size", format!("the volume has {present} already; to make it smaller, say so")))
        }
        Resize::Shrink if size >= present => {
            Err(Error::invalid("size", format!("the volume has {present}, which is not more")))
        }
        _ => Ok(()),
    }
}

/// What file systems say that cannot share blocks, or not with that file, and libvirt of formats that it never shares.
fn cannot_share(e: &LibvirtError) -> bool {
    matches!(e.os_error(), Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::EXDEV | libc::EINVAL))
        || e.kind() == Some(ErrorKind::Unsupported)
        || e.is(sys::VIR_ERR_INVALID_ARG)
}

fn unknown(task: &Task<'_>, what: impl std::fmt::Display) -> Failure {
    task.error(ErrorKind::Unsupported, format!("this version does not know {what}")).into()
}
