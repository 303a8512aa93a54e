//! Storage pools.

use async_trait::async_trait;
use kvm_core::{
    Autostart, Bytes, DiskPath, Error, ErrorKind, PoolInfo, PoolName, PoolSetup, Resource, Result, SecretStore,
    Storage, VolumeContent, VolumeInfo, VolumeName, check_pool,
};
use kvm_xml::Document;
use kvm_xml::pool::PoolType;
use virt::storage_pool::StoragePool;
use virt::sys;

use crate::document::{self, looked_again, refused};
use crate::error::{LibvirtError, optional};
use crate::libvirt::Libvirt;
use crate::task::{Failure, Task};

#[async_trait]
impl Storage for Libvirt {
    async fn pools(&self) -> Result<Vec<PoolInfo>> {
        self.ask("list the pools of", self.host(), list).await
    }

    async fn find_pool(&self, pool: &PoolName) -> Result<PoolInfo> {
        let name = pool.clone();
        self.ask("find", resource(pool), move |task| {
            describe(task, &lookup(task, &name)?)?.ok_or_else(|| task.not_found().into())
        })
        .await
    }

    async fn create_pool(&self, doc: &kvm_xml::StoragePool, autostart: Autostart) -> Result<()> {
        let name = check_pool(doc)?;
        let (doc, resource) = (doc.clone(), resource(&name));
        self.work("create", resource, move |task| create(task, &doc, &name, autostart)).await
    }

    async fn start_pool(&self, pool: &PoolName) -> Result<()> {
        self.on_pool("start", pool, |task, pool| {
            check_inactive(task, pool)?;
            pool.create(0).map_err(|e| looked_again(e, || check_inactive(task, pool), |e| cannot_start(task, e)))
        })
        .await
    }

    async fn stop_pool(&self, pool: &PoolName) -> Result<()> {
        self.on_pool("stop", pool, |task, pool| {
            check_active(task, pool)?;
            pool.destroy().map_err(|e| looked_again(e, || check_active(task, pool), Failure::Libvirt))
        })
        .await
    }

    async fn refresh_pool(&self, pool: &PoolName) -> Result<()> {
        self.on_pool("refresh", pool, |task, pool| {
            check_active(task, pool)?;
            pool.refresh(0).map_err(|e| looked_again(e, || check_active(task, pool), Failure::Libvirt))
        })
        .await
    }

    async fn undefine_pool(&self, pool: &PoolName) -> Result<()> {
        self.on_pool("undefine", pool, |task, pool| {
            check_inactive(task, pool)?;
            pool.undefine().map_err(|e| looked_again(e, || check_inactive(task, pool), Failure::Libvirt))
        })
        .await
    }

    async fn set_pool_autostart(&self, pool: &PoolName, autostart: Autostart) -> Result<()> {
        self.on_pool("set the autostart of", pool, move |_, pool| Ok(pool.set_autostart(autostart == Autostart::On)?))
            .await
    }

    async fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeInfo>> {
        self.list_volumes(pool).await
    }

    async fn find_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<VolumeInfo> {
        self.find_one_volume(pool, volume).await
    }

    async fn volume_at(&self, path: &DiskPath) -> Result<VolumeInfo> {
        self.find_volume_at(path).await
    }

    async fn create_volume(&self, pool: &PoolName, doc: &kvm_xml::StorageVolume) -> Result<VolumeInfo> {
        self.make_volume(pool, doc, 0).await
    }

    async fn delete_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<()> {
        self.remove_volume(pool, volume).await
    }

    fn content(&self) -> Option<&dyn VolumeContent> {
        Some(self)
    }

    fn setup(&self) -> Option<&dyn PoolSetup> {
        Some(self)
    }

    fn secrets(&self) -> Option<&dyn SecretStore> {
        Some(self)
    }
}

impl Libvirt {
    /// Looks a pool up and does something with it that may take long.
    pub(crate) async fn on_pool<T: Send + 'static>(
        &self,
        verb: &'static str,
        name: &PoolName,
        work: impl FnOnce(&Task<'_>, &StoragePool) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let name = name.clone();
        self.work(verb, resource(&name), move |task| work(task, &lookup(task, &name)?)).await
    }
}

/// The resource of a pool.
pub(crate) fn resource(name: &PoolName) -> Resource {
    Resource::Pool(name.as_str().into())
}

/// Looks a pool up. `NotFound` is about the pool, whatever the call is about.
pub(crate) fn lookup(task: &Task<'_>, name: &PoolName) -> Result<StoragePool, Failure> {
    let found = optional(task.connection().lookup_storage_pool_by_name(name.as_str()))?;
    found.ok_or_else(|| {
        let resource = resource(name);
        Error::new(ErrorKind::NotFound, format!("no {resource}")).on(resource).into()
    })
}

/// Checks that a pool's volumes can be used.
pub(crate) fn check_active(task: &Task<'_>, pool: &StoragePool) -> Result<(), Failure> {
    if pool.is_active()? { Ok(()) } else { Err(wrong_state(task, pool, "is not active")?.into()) }
}

pub(crate) fn check_inactive(task: &Task<'_>, pool: &StoragePool) -> Result<(), Failure> {
    if pool.is_active()? { Err(wrong_state(task, pool, "is active")?.into()) } else { Ok(()) }
}

fn wrong_state(task: &Task<'_>, pool: &StoragePool, state: &str) -> Result<Error, LibvirtError> {
    task.about(Resource::Pool(pool.name()?));
    Ok(task.invalid_state(state))
}

/// A pool whose place is not there cannot be started as it is.
fn cannot_start(task: &Task<'_>, e: LibvirtError) -> Failure {
    match e.os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => {
            task.invalid_state("has its target at a place that is not there").with_source(e).into()
        }
        _ => e.into(),
    }
}

fn list(task: &Task<'_>) -> Result<Vec<PoolInfo>, Failure> {
    let mut all = Vec::new();
    for pool in task.connection().list_all_storage_pools(0)? {
        // It may have gone in the meantime.
        match describe(task, &pool) {
            Ok(info) => all.extend(info),
            Err(Failure::Libvirt(e)) if e.is(sys::VIR_ERR_NO_STORAGE_POOL) => {}
            Err(e) => return Err(e),
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// `None` for a pool that nobody may name.
fn describe(task: &Task<'_>, pool: &StoragePool) -> Result<Option<PoolInfo>, Failure> {
    let name = match PoolName::adopt(&pool.name()?) {
        Ok(name) => name,
        Err(e) => {
            tracing::warn!(error = %e, "left out a pool with an impossible name");
            return Ok(None);
        }
    };
    let active = pool.is_active()?;
    let space = if active { Some(pool.info()?) } else { None };
    let doc = read_document(task, pool)?;
    Ok(Some(PoolInfo {
        name,
        kind: doc.r#type.map_or_else(|| "unknown".into(), |kind| kind.to_string()),
        active,
        autostart: pool.autostart()?,
        persistent: pool.is_persistent()?,
        target: target(&doc),
        capacity: space.as_ref().map(|space| Bytes::new(space.capacity)),
        allocation: space.as_ref().map(|space| Bytes::new(space.allocation)),
        available: space.as_ref().map(|space| Bytes::new(space.available)),
    }))
}

fn read_document(task: &Task<'_>, pool: &StoragePool) -> Result<kvm_xml::StoragePool, Failure> {
    document::read(task, &pool.xml_desc(0).map_err(LibvirtError::from)?)
}

fn target(doc: &kvm_xml::StoragePool) -> Option<DiskPath> {
    DiskPath::adopt(doc.target.as_ref()?.path.as_deref()?).ok()
}

fn create(task: &Task<'_>, doc: &kvm_xml::StoragePool, name: &PoolName, autostart: Autostart) -> Result<(), Failure> {
    check_free(task, doc, name)?;
    let pool = task
        .connection()
        .define_storage_pool_xml(&doc.to_xml(), 0)
        .map_err(|e| looked_again(e, || check_free(task, doc, name), |e| refused(task, e)))?;
    bring_up(&pool, doc, autostart).map_err(|e| {
        // As if nothing had been asked for. What was there before it has not been touched.
        let undone = pool.is_active().and_then(|active| if active { pool.destroy() } else { Ok(()) });
        if let Err(e) = undone.and_then(|()| pool.undefine()) {
            tracing::warn!(error = %e, pool = %name, "a pool that could not be started stays defined");
        }
        cannot_start(task, e)
    })
}

fn bring_up(pool: &StoragePool, doc: &kvm_xml::StoragePool, autostart: Autostart) -> Result<(), LibvirtError> {
    // Of these, building makes the directory. Of others, it writes partition tables and volume groups.
    if matches!(doc.r#type, Some(PoolType::Dir | PoolType::Fs | PoolType::Netfs)) {
        pool.build(0)?;
    }
    pool.create(0)?;
    if autostart == Autostart::On {
        pool.set_autostart(true)?;
    }
    Ok(())
}

/// Checks that no pool has the name, the uuid or the target.
pub(crate) fn check_free(task: &Task<'_>, doc: &kvm_xml::StoragePool, name: &PoolName) -> Result<(), Failure> {
    for pool in task.connection().list_all_storage_pools(0)? {
        let taken_by = pool.name()?;
        let same_id = doc.uuid.is_some() && optional(pool.uuid())? == doc.uuid;
        if taken_by == name.as_str() || same_id {
            return Err(task.already_exists().into());
        }
        let Some(wanted) = target(doc) else { continue };
        let other = match read_document(task, &pool) {
            Err(Failure::Libvirt(e)) if e.is(sys::VIR_ERR_NO_STORAGE_POOL) => continue,
            other => other?,
        };
        if target(&other).is_some_and(|other| other.as_path() == wanted.as_path()) {
            let taken_by = Resource::Pool(taken_by);
            let message = format!("{taken_by} has the target {} already", kvm_core::text::printable(wanted.as_str()));
            return Err(task.error(ErrorKind::AlreadyExists, message).into());
        }
    }
    Ok(())
}
