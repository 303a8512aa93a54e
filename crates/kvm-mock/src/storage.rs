//! Pools, and the volumes in them: every file directly below a pool's directory, or every unit of an iSCSI target, that the
//! pool has looked at.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use kvm_core::{
    Autostart, Bytes, DiskPath, Error, ErrorKind, PoolInfo, PoolName, PoolSetup, Resource, Result, SecretStore,
    Storage, VolumeContent, VolumeInfo, VolumeName, check_pool, check_volume,
};
use kvm_xml::pool::PoolType;
use kvm_xml::volume::VolumeFormatType;
use kvm_xml::{Domain, StoragePool, StorageVolume};
use serde::{Deserialize, Serialize};

use crate::document::{self, Disk};
use crate::fault::Method;
use crate::file::SparseFile;
use crate::image;
use crate::mock::Mock;
use crate::secret;
use crate::world::World;

/// The file system below a pool that no scenario gave a size.
pub(crate) const DEFAULT_CAPACITY: Bytes = Bytes::from_gib(1024);
/// How the volumes of an iSCSI target are called, up to the number of the unit.
const UNIT: &str = "unit:0:0:";
/// What an empty qcow2 image takes: header, tables and reference counts.
pub(crate) const QCOW2_OVERHEAD: u64 = 196_624;
/// The header of LUKS in an encrypted image, with its eight slots for keys.
const LUKS_HEADER: u64 = 2_068_480;

/// Where a pool's volumes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Place {
    /// Files directly in a directory of the host.
    Directory(DiskPath),
    /// Units of an iSCSI target: the bytes are another machine's, kept among the files under what the host calls them.
    Target {
        /// What the host calls a unit, up to its number.
        units: String,
    },
}

impl Place {
    fn of(doc: &StoragePool) -> Result<Self> {
        let missing = |field: &str| Error::invalid(field, "a pool needs it");
        match doc.r#type.ok_or_else(|| missing("type"))? {
            PoolType::Dir | PoolType::Fs | PoolType::Netfs => {
                let path = doc.target.as_ref().and_then(|target| target.path.as_deref());
                let path = path.ok_or_else(|| missing("target"))?;
                DiskPath::adopt(path.trim_end_matches('/')).map(Self::Directory)
            }
            PoolType::IscsiDirect => {
                let source = doc.source.as_ref().ok_or_else(|| missing("source"))?;
                let portal = source.host.first().ok_or_else(|| missing("source.host"))?;
                let host = portal.name.as_deref().ok_or_else(|| missing("source.host"))?;
                let target = source.device.first().and_then(|device| device.path.as_deref());
                let target = target.ok_or_else(|| missing("source.device"))?;
                let initiator = source.initiator.as_ref().and_then(|initiator| initiator.iqn.as_ref());
                initiator.ok_or_else(|| missing("source.initiator"))?;
                let port = portal.port.unwrap_or(3260);
                Ok(Self::Target { units: format!("ip-{host}:{port}-iscsi-{target}-lun-") })
            }
            _ => Err(Error::invalid("type", "this host has pools of directories and of iSCSI targets only")),
        }
    }

    /// The key of a volume among the files.
    fn file_of(&self, volume: &str) -> Option<String> {
        match self {
            Self::Directory(dir) => Some(format!("{}/{volume}", dir.as_str())),
            Self::Target { units } => Some(format!("{units}{}", volume.strip_prefix(UNIT)?)),
        }
    }

    /// The volume that a file is, if it is here.
    fn volume_of<'a>(&self, file: &'a str) -> Option<Cow<'a, str>> {
        match self {
            Self::Directory(dir) => {
                let here = Path::new(file).parent() == Some(dir.as_path());
                file.rsplit('/').next().filter(|_| here).map(Cow::Borrowed)
            }
            Self::Target { units } => file.strip_prefix(units.as_str()).map(|unit| format!("{UNIT}{unit}").into()),
        }
    }
}

/// A storage pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pool {
    #[serde(with = "document::text")]
    document: StoragePool,
    kind: String,
    target: Place,
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

    /// Where its volumes are, if they are files of the host.
    pub(crate) fn directory(&self) -> Option<&DiskPath> {
        match &self.target {
            Place::Directory(dir) => Some(dir),
            Place::Target { .. } => None,
        }
    }

    /// Refuses what no host can do to another machine's volumes.
    pub(crate) fn check_own(&self) -> Result<()> {
        match self.directory() {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::Unsupported, "pools of this type do not support that")),
        }
    }

    pub(crate) fn info(&self, name: &PoolName, world: &World) -> PoolInfo {
        let size = |file: &SparseFile| if self.directory().is_some() { file.allocated() } else { file.len() };
        let used = Bytes::new(self.files(world).map(|(_, file)| size(file)).sum());
        // A target has what its units have.
        let capacity = if self.directory().is_some() { self.capacity } else { used };
        let known = |bytes: Bytes| self.active.then_some(bytes);
        PoolInfo {
            name: name.clone(),
            kind: self.kind.clone(),
            active: self.active,
            autostart: self.autostart,
            persistent: true,
            target: self.directory().cloned(),
            capacity: known(capacity),
            allocation: known(used),
            available: known(capacity.saturating_sub(used)),
        }
    }

    /// What is in the pool's place, by what its volumes are called.
    pub(crate) fn files<'a>(&'a self, world: &'a World) -> impl Iterator<Item = (Cow<'a, str>, &'a SparseFile)> {
        world.files.iter().filter_map(|(path, file)| Some((self.target.volume_of(path)?, file)))
    }

    fn look(&self, world: &World) -> BTreeSet<VolumeName> {
        self.files(world).filter_map(|(name, _)| VolumeName::adopt(&name).ok()).collect()
    }

    /// The key that a volume of this name has among the files.
    pub(crate) fn place_for(&self, volume: &VolumeName) -> Result<String> {
        let wrong = || Error::invalid("name", "no volume of this pool is called like this");
        self.target.file_of(volume.as_str()).ok_or_else(wrong)
    }

    /// The same of one that is known.
    pub(crate) fn file_of(&self, volume: &VolumeName) -> Option<String> {
        self.target.file_of(volume.as_str()).filter(|_| self.volumes.contains(volume))
    }

    pub(crate) fn volume(&self, pool: &PoolName, name: &VolumeName, world: &World) -> Option<VolumeInfo> {
        let path = self.file_of(name)?;
        let file = world.files.get(&path)?;
        if self.directory().is_none() {
            let size = Bytes::new(file.len());
            let (pool, name, address) = (pool.clone(), name.clone(), Some(path));
            let (capacity, allocation) = (size, size);
            return Some(VolumeInfo {
                pool,
                name,
                path: None,
                address,
                format: None,
                capacity,
                allocation,
                backing: None,
            });
        }
        let image = image::probe(file);
        Some(VolumeInfo {
            pool: pool.clone(),
            name: name.clone(),
            path: Some(DiskPath::adopt(&path).ok()?),
            address: None,
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
                    let volume = pool.volumes.iter().find(|v| pool.file_of(v).is_some_and(|p| p == path.as_str()))?;
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
            let path = found.file_of(volume).filter(|path| world.files.contains_key(path));
            let path = path.ok_or_else(|| no_such_volume(&place(pool, volume)))?;
            found.check_own()?;
            world.files.remove(&path);
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
        let target = Place::of(doc)?;
        let directory = match &target {
            Place::Directory(dir) => Some(dir),
            Place::Target { .. } => None,
        };
        let is_taken = directory.is_some() && self.pools.values().any(|pool| pool.target == target);
        if self.pools.contains_key(&name) || is_taken {
            return Err(Error::new(ErrorKind::AlreadyExists, "the pool's name or target is taken")
                .on(Resource::Pool(name.as_str().to_owned())));
        }
        let key_of = |dir: &Path| self.files.get_key_value(dir.to_str()?);
        if let Some(file) = directory.and_then(|dir| dir.as_path().ancestors().find_map(key_of)) {
            return Err(Error::new(ErrorKind::InvalidState, "the pool's directory cannot be made")
                .on(Resource::Pool(name.as_str().to_owned()))
                .with_detail(format!("{} is a file", kvm_core::text::printable(file.0))));
        }
        let mut pool = Pool {
            document: doc.clone(),
            kind: doc.r#type.map(|kind| kind.to_string()).unwrap_or_default(),
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
        found.check_own()?;
        let capacity = doc.capacity.as_ref().and_then(|size| size.bytes()).unwrap_or_default();
        if self.files.contains_key(&found.place_for(&name)?) {
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
        let path = found.place_for(&name)?;
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
        self.files.insert(path, file);
        let pool_now = known_mut(self, pool)?;
        pool_now.volumes.insert(name.clone());
        known(self, pool)?.volume(pool, &name, self).ok_or_else(|| Error::internal("the volume is not there"))
    }
}

impl World {
    /// The key among the files of what is behind a disk; `None` where nothing is, or no pool knows it.
    pub(crate) fn file_behind(&self, disk: &Disk) -> Option<String> {
        let Some((pool, volume)) = &disk.volume else { return disk.path.clone() };
        let pool = self.pools.get(&PoolName::adopt(pool).ok()?).filter(|pool| pool.active)?;
        pool.file_of(&VolumeName::adopt(volume).ok()?)
    }

    /// In words, what behind the disks of a document is not there.
    pub(crate) fn missing_image(&self, document: &Domain) -> Option<String> {
        document::disks(document).iter().find_map(|disk| {
            let shown = match (&disk.volume, &disk.path) {
                (Some((pool, volume)), _) => format!("volume {volume} in active pool {pool}"),
                (None, Some(path)) => format!("image {path}"),
                (None, None) => return None,
            };
            let is_there = self.file_behind(disk).is_some_and(|file| self.files.contains_key(&file));
            (!is_there).then(|| format!("there is no {}", kvm_core::text::printable(&shown)))
        })
    }
}

pub(crate) fn refresh(world: &mut World, name: &PoolName) -> Result<()> {
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
