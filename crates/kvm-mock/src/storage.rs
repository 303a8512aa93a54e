//! Pools, and the volumes in them: every file directly below a pool's directory that the pool has looked at.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use kvm_core::{
    Autostart, Bytes, DiskPath, Error, ErrorKind, PoolInfo, PoolName, PoolSetup, Resource, Result, SecretStore,
    Storage, VolumeContent, VolumeInfo, VolumeName, check_pool, check_volume,
};
use kvm_xml::pool::PoolType;
use kvm_xml::volume::VolumeFormatType;
use kvm_xml::{StoragePool, StorageVolume};
use serde::{Deserialize, Serialize};

use crate::document;
use crate::fault::Method;
use crate::file::SparseFile;
use crate::image;
use crate::mock::Mock;
use crate::secret;
use crate::world::World;

/// The file system below a pool that no scenario gave a size.
pub(crate) const DEFAULT_CAPACITY: Bytes = Bytes::from_gib(1024);
/// What an empty qcow2 image takes: header, tables and reference counts.
pub(crate) const QCOW2_OVERHEAD: u64 = 196_624;
/// The header of LUKS in an encrypted image, with its eight slots for keys.
const LUKS_HEADER: u64 = 2_068_480;

/// A storage pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pool {
    #[serde(with = "document::text")]
    document: StoragePool,
    kind: String,
    pub(crate) target: DiskPath,
    pub(crate) capacity: Bytes,
    active: bool,
    autostart: bool,
    /// What was there when the pool looked last.
    volumes: BTreeSet<VolumeName>,
}

impl Pool {
    pub(crate) fn document(&self) -> &StoragePool {
        &self.document
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Stops it.
    pub(crate) fn deactivate(&mut self) {
        self.active = false;
    }

    pub(crate) fn path_of(&self, volume: &VolumeName) -> Result<DiskPath> {
        DiskPath::adopt(&format!("{}/{}", self.target.as_str(), volume.as_str()))
    }

    pub(crate) fn info(&self, name: &PoolName, world: &World) -> PoolInfo {
        let used = Bytes::new(self.files(world).map(|(_, file)| file.allocated()).sum());
        let known = |bytes: Bytes| self.active.then_some(bytes);
        PoolInfo {
            name: name.clone(),
            kind: self.kind.clone(),
            active: self.active,
            autostart: self.autostart,
            persistent: true,
            target: Some(self.target.clone()),
            capacity: known(self.capacity),
            allocation: known(used),
            available: known(self.capacity.saturating_sub(used)),
        }
    }

    /// The files directly in the pool's directory.
    pub(crate) fn files<'a>(&'a self, world: &'a World) -> impl Iterator<Item = (&'a str, &'a SparseFile)> {
        let here = |path: &str| Path::new(path).parent() == Some(self.target.as_path());
        world.files.iter().filter(move |(path, _)| here(path)).map(|(path, file)| (path.as_str(), file))
    }

    fn look(&self, world: &World) -> BTreeSet<VolumeName> {
        let name = |path: &str| path.rsplit('/').next().and_then(|name| VolumeName::adopt(name).ok());
        self.files(world).filter_map(|(path, _)| name(path)).collect()
    }

    pub(crate) fn volume(&self, pool: &PoolName, name: &VolumeName, world: &World) -> Option<VolumeInfo> {
        let path = self.path_of(name).ok().filter(|_| self.volumes.contains(name))?;
        let file = world.files.get(path.as_str())?;
        let image = image::probe(file);
        Some(VolumeInfo {
            pool: pool.clone(),
            name: name.clone(),
            path,
            format: Some(image.format.to_owned()),
            capacity: Bytes::new(image.capacity),
            allocation: Bytes::new(file.allocated()),
            backing: image.backing.and_then(|path| DiskPath::adopt(&path).ok()),
        })
    }
}

#[async_trait]
impl Storage for Mock {
    async fn pools(&self) -> Result<Vec<PoolInfo>> {
        self.read(Method::Pools, "", |world, _| {
            Ok(world.pools.iter().map(|(name, pool)| pool.info(name, world)).collect())
        })
        .await
    }

    async fn find_pool(&self, pool: &PoolName) -> Result<PoolInfo> {
        self.read(Method::FindPool, pool, |world, _| Ok(known(world, pool)?.info(pool, world))).await
    }

    async fn create_pool(&self, doc: &StoragePool, autostart: Autostart) -> Result<()> {
        let name = doc.name.clone().unwrap_or_default();
        self.change(Method::CreatePool, &name, |world, _| {
            world.create_pool(doc, DEFAULT_CAPACITY, autostart)?;
            Ok(())
        })
        .await
    }

    async fn start_pool(&self, pool: &PoolName) -> Result<()> {
        self.change(Method::StartPool, pool, |world, _| {
            if known(world, pool)?.active {
                return Err(wrong_state("pool is active", pool));
            }
            known_mut(world, pool)?.active = true;
            refresh(world, pool)
        })
        .await
    }

    async fn stop_pool(&self, pool: &PoolName) -> Result<()> {
        self.change(Method::StopPool, pool, |world, _| {
            active(world, pool)?;
            known_mut(world, pool)?.deactivate();
            Ok(())
        })
        .await
    }

    async fn refresh_pool(&self, pool: &PoolName) -> Result<()> {
        self.change(Method::RefreshPool, pool, |world, _| {
            active(world, pool)?;
            refresh(world, pool)
        })
        .await
    }

    async fn undefine_pool(&self, pool: &PoolName) -> Result<()> {
        self.change(Method::UndefinePool, pool, |world, _| {
            if known(world, pool)?.active {
                return Err(wrong_state("pool is active", pool));
            }
            world.pools.remove(pool);
            Ok(())
        })
        .await
    }

    async fn set_pool_autostart(&self, pool: &PoolName, autostart: Autostart) -> Result<()> {
        self.change(Method::SetPoolAutostart, pool, |world, _| {
            known_mut(world, pool)?.autostart = autostart == Autostart::On;
            Ok(())
        })
        .await
    }

    async fn volumes(&self, pool: &PoolName) -> Result<Vec<VolumeInfo>> {
        self.read(Method::Volumes, pool, |world, _| {
            let found = active(world, pool)?;
            Ok(found.volumes.iter().filter_map(|name| found.volume(pool, name, world)).collect())
        })
        .await
    }

    async fn find_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<VolumeInfo> {
        self.read(Method::FindVolume, place(pool, volume), |world, _| {
            active(world, pool)?.volume(pool, volume, world).ok_or_else(|| no_such_volume(&place(pool, volume)))
        })
        .await
    }

    async fn volume_at(&self, path: &DiskPath) -> Result<VolumeInfo> {
        self.read(Method::VolumeAt, path, |world, _| {
            let mut pools = world.pools.iter().filter(|(_, pool)| pool.active);
            pools
                .find_map(|(name, pool)| {
                    let volume = pool.volumes.iter().find(|v| pool.path_of(v).is_ok_and(|p| p == *path))?;
                    pool.volume(name, volume, world)
                })
                .ok_or_else(|| no_such_volume(path.as_str()))
        })
        .await
    }

    async fn create_volume(&self, pool: &PoolName, doc: &StorageVolume) -> Result<VolumeInfo> {
        let name = doc.name.clone().unwrap_or_default();
        self.change(Method::CreateVolume, format!("{}/{name}", pool.as_str()), |world, _| {
            world.create_volume(pool, doc)
        })
        .await
    }

    async fn delete_volume(&self, pool: &PoolName, volume: &VolumeName) -> Result<()> {
        self.change(Method::DeleteVolume, place(pool, volume), |world, _| {
            let found = active(world, pool)?;
            let path = found.path_of(volume)?;
            if found.volume(pool, volume, world).is_none() {
                return Err(no_such_volume(&place(pool, volume)));
            }
            world.files.remove(path.as_str());
            known_mut(world, pool)?.volumes.remove(volume);
            Ok(())
        })
        .await
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

impl World {
    /// Defines a pool and starts it.
    pub(crate) fn create_pool(&mut self, doc: &StoragePool, capacity: Bytes, autostart: Autostart) -> Result<PoolName> {
        let name = check_pool(doc)?;
        let missing = |field: &str| Error::invalid(field, "a pool needs it");
        let kind = doc.r#type.ok_or_else(|| missing("type"))?;
        if !matches!(kind, PoolType::Dir | PoolType::Fs | PoolType::Netfs) {
            return Err(Error::invalid("type", "this host has pools of directories only"));
        }
        let target = doc.target.as_ref().and_then(|target| target.path.as_deref()).ok_or_else(|| missing("target"))?;
        let target = DiskPath::adopt(target.trim_end_matches('/'))?;
        if self.pools.contains_key(&name) || self.pools.values().any(|pool| pool.target == target) {
            return Err(Error::new(ErrorKind::AlreadyExists, "the pool's name or target is taken")
                .on(Resource::Pool(name.as_str().to_owned())));
        }
        if let Some(file) = target.as_path().ancestors().find_map(|dir| self.files.get_key_value(dir.to_str()?)) {
            return Err(Error::new(ErrorKind::InvalidState, "the pool's directory cannot be made")
                .on(Resource::Pool(name.as_str().to_owned()))
                .with_detail(format!("{} is a file", kvm_core::text::printable(file.0))));
        }
        let mut pool = Pool {
            document: doc.clone(),
            kind: kind.to_string(),
            target,
            capacity,
            active: true,
            autostart: autostart == Autostart::On,
            volumes: BTreeSet::new(),
        };
        pool.volumes = pool.look(self);
        self.pools.insert(name.clone(), pool);
        Ok(name)
    }

    /// Makes a volume in an active pool.
    pub(crate) fn create_volume(&mut self, pool: &PoolName, doc: &StorageVolume) -> Result<VolumeInfo> {
        let (name, file) = self.new_volume(pool, doc)?;
        self.add_volume(pool, name, file)
    }

    /// The name and the empty file of a volume that can be made.
    pub(crate) fn new_volume(&self, pool: &PoolName, doc: &StorageVolume) -> Result<(VolumeName, SparseFile)> {
        let found = active(self, pool)?;
        let name = check_volume(doc)?;
        let capacity = doc.capacity.as_ref().and_then(|size| size.bytes()).unwrap_or_default();
        let path = found.path_of(&name)?;
        if self.files.contains_key(path.as_str()) {
            return Err(Error::new(ErrorKind::AlreadyExists, "the volume's name is taken")
                .on(Resource::Volume(place(pool, &name))));
        }
        let backing = doc.backing_store.as_ref().and_then(|backing| backing.path.as_deref());
        if backing.is_some_and(|path| !self.files.contains_key(path)) {
            return Err(Error::invalid("backingStore", "there is no such image"));
        }
        let format = doc.target.as_ref().and_then(|target| target.format.as_ref());
        let encryption = doc.target.as_ref().and_then(|target| target.encryption.as_ref());
        let file = match format.map(|format| format.r#type) {
            Some(Some(VolumeFormatType::Qcow2)) if encryption.is_some() => {
                secret::check_encryption(self, encryption)?;
                image::encrypted(image::qcow2(capacity, backing)).reserving(QCOW2_OVERHEAD + LUKS_HEADER)
            }
            _ if encryption.is_some() => {
                return Err(Error::invalid("encryption", "this host encrypts qcow2 volumes only"));
            }
            Some(Some(VolumeFormatType::Qcow2)) => image::qcow2(capacity, backing).reserving(QCOW2_OVERHEAD),
            None | Some(Some(VolumeFormatType::Raw)) if backing.is_none() => {
                let allocation = doc.allocation.as_ref().and_then(|size| size.bytes());
                SparseFile::hole(capacity).reserving(allocation.unwrap_or(capacity).min(capacity))
            }
            _ => return Err(Error::invalid("format", "this host makes raw and qcow2 volumes, and overlays in qcow2")),
        };
        Ok((name, file))
    }

    /// Puts the file of a volume into its pool, if there is room.
    pub(crate) fn add_volume(&mut self, pool: &PoolName, name: VolumeName, file: SparseFile) -> Result<VolumeInfo> {
        let found = active(self, pool)?;
        let path = found.path_of(&name)?;
        let info = found.info(pool, self);
        if info.available.is_some_and(|free| file.allocated() > free.get()) {
            return Err(Error::new(ErrorKind::NoSpace, "not enough space in the pool")
                .on(Resource::Pool(pool.as_str().to_owned()))
                .with_detail(format!(
                    "asked {} bytes, free {} bytes",
                    file.allocated(),
                    info.available.unwrap_or_default().get()
                )));
        }
        self.files.insert(path.as_str().to_owned(), file);
        let pool_now = known_mut(self, pool)?;
        pool_now.volumes.insert(name.clone());
        known(self, pool)?.volume(pool, &name, self).ok_or_else(|| Error::internal("the volume is not there"))
    }
}

fn refresh(world: &mut World, name: &PoolName) -> Result<()> {
    let volumes = known(world, name)?.look(world);
    known_mut(world, name)?.volumes = volumes;
    Ok(())
}

pub(crate) fn known<'a>(world: &'a World, name: &PoolName) -> Result<&'a Pool> {
    world.pools.get(name).ok_or_else(|| no_such_pool(name))
}

fn known_mut<'a>(world: &'a mut World, name: &PoolName) -> Result<&'a mut Pool> {
    world.pools.get_mut(name).ok_or_else(|| no_such_pool(name))
}

pub(crate) fn active<'a>(world: &'a World, name: &PoolName) -> Result<&'a Pool> {
    let pool = known(world, name)?;
    if pool.active { Ok(pool) } else { Err(wrong_state("pool is not active", name)) }
}

fn no_such_pool(name: &PoolName) -> Error {
    Error::new(ErrorKind::NotFound, "no such pool").on(Resource::Pool(name.as_str().to_owned()))
}

pub(crate) fn wrong_state(why: &str, name: &PoolName) -> Error {
    Error::new(ErrorKind::InvalidState, why).on(Resource::Pool(name.as_str().to_owned()))
}

pub(crate) fn no_such_volume(place: &str) -> Error {
    Error::new(ErrorKind::NotFound, "no such volume").on(Resource::Volume(place.to_owned()))
}

pub(crate) fn place(pool: &PoolName, volume: &VolumeName) -> String {
    format!("{}/{}", pool.as_str(), volume.as_str())
}
