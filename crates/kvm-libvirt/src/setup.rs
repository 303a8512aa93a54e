//! How storage pools are set up and taken down.

use async_trait::async_trait;
use kvm_core::{Build, Error, ErrorKind, PoolName, PoolSetup, Result, check_pool};
use kvm_xml::pool::{PoolSource, PoolSources, PoolType};
use kvm_xml::{Document as _, StoragePool};
use virt::sys;

use crate::document::{self, looked_again, refused};
use crate::error::LibvirtError;
use crate::ffi;
use crate::libvirt::Libvirt;
use crate::storage::{check_free, check_inactive, resource};
use crate::task::{Failure, Task};

#[async_trait]
impl PoolSetup for Libvirt {
    async fn define(&self, doc: &StoragePool) -> Result<()> {
        let name = check_pool(doc)?;
        let (doc, resource) = (doc.clone(), resource(&name));
        self.work("define", resource, move |task| {
            check_free(task, &doc, &name)?;
            let defined = task.connection().define_storage_pool_xml(&doc.to_xml(), 0);
            defined.map(drop).map_err(|e| looked_again(e, || check_free(task, &doc, &name), |e| refused(task, e)))
        })
        .await
    }

    async fn definition(&self, pool: &PoolName) -> Result<StoragePool> {
        self.on_pool("read", pool, |task, pool| {
            // One that is not stored is only there as it is now.
            let flags = if pool.is_persistent()? { sys::VIR_STORAGE_XML_INACTIVE } else { 0 };
            let xml = match pool.xml_desc(flags).map_err(LibvirtError::from) {
                // The test driver keeps one document of each pool.
                Err(e) if e.is(sys::VIR_ERR_INVALID_ARG) => pool.xml_desc(0)?,
                xml => xml?,
            };
            document::read(task, &xml)
        })
        .await
    }

    async fn build(&self, pool: &PoolName, build: Build) -> Result<()> {
        self.on_pool("build", pool, move |task, pool| {
            check_inactive(task, pool)?;
            let flags = match build {
                Build::Place => sys::VIR_STORAGE_POOL_BUILD_NEW,
                Build::Format => sys::VIR_STORAGE_POOL_BUILD_NO_OVERWRITE,
                Build::Overwrite => sys::VIR_STORAGE_POOL_BUILD_OVERWRITE,
            };
            pool.build(flags).map_err(|e| looked_again(e, || check_inactive(task, pool), |e| not_built(task, e)))
        })
        .await
    }

    async fn destroy_data(&self, pool: &PoolName) -> Result<()> {
        self.on_pool("destroy the data of", pool, |task, pool| {
            check_inactive(task, pool)?;
            let Err(e) = pool.delete(sys::VIR_STORAGE_POOL_DELETE_NORMAL) else { return Ok(()) };
            let e = LibvirtError::from(e);
            // Gone already, which is what was asked for.
            if e.os_error() == Some(libc::ENOENT) {
                return Ok(());
            }
            Err(looked_again(
                e,
                || check_inactive(task, pool),
                |e| match e.os_error() {
                    Some(libc::ENOTEMPTY | libc::EEXIST) => {
                        task.invalid_state("has a directory that is not empty").with_source(e).into()
                    }
                    _ => e.into(),
                },
            ))
        })
        .await
    }

    async fn find_sources(&self, kind: PoolType, at: &PoolSource) -> Result<Vec<PoolSource>> {
        let needs_place = matches!(kind, PoolType::Netfs | PoolType::Iscsi | PoolType::IscsiDirect | PoolType::Gluster);
        if needs_place && at.host.iter().all(|host| host.name.is_none()) {
            return Err(Error::invalid("source.host", "it has to be said which server to ask"));
        }
        let spec = (!at.host.is_empty() || at.initiator.is_some()).then(|| at.to_xml());
        self.work("look for storage on", self.host(), move |task| {
            let found = ffi::pool_source::find(task.connection(), kind.as_str(), spec.as_deref());
            let found = match found {
                // The server answered, and had nothing.
                Err(e) if e.is(sys::VIR_ERR_OPERATION_FAILED) => None,
                found => found.map_err(|e| not_found(task, kind, e))?,
            };
            let Some(found) = found else { return Ok(Vec::new()) };
            Ok(document::read::<PoolSources>(task, &found)?.source)
        })
        .await
    }
}

/// libvirt has no number for "there is something already".
fn not_built(task: &Task<'_>, e: LibvirtError) -> Failure {
    match e.kind() {
        Some(ErrorKind::InvalidInput) => {
            let message = format!("{} cannot be built like this", task.resource());
            task.error(ErrorKind::Unsupported, message).with_source(e).into()
        }
        Some(_) => e.into(),
        None if e.is(sys::VIR_ERR_OPERATION_INVALID) || e.is(sys::VIR_ERR_OPERATION_FAILED) => {
            task.invalid_state("stands on something that is in use or holds data").with_source(e).into()
        }
        None => e.into(),
    }
}

/// libvirt's own number for a part of it that is not installed, or a program, is that of every bug.
fn not_found(task: &Task<'_>, kind: PoolType, e: LibvirtError) -> Failure {
    match e.kind() {
        None | Some(ErrorKind::Unsupported | ErrorKind::InvalidInput) => {
            let message = format!("this host cannot look for storage of type {kind}");
            task.error(ErrorKind::Unsupported, message).with_source(e).into()
        }
        Some(_) => e.into(),
    }
}
