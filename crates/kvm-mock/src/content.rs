//! What is in volumes: bytes that are really kept, as far as anybody wrote them.

use async_trait::async_trait;
use kvm_core::{
    Blocks, Bytes, Error, ErrorKind, Holes, Piece, PoolName, Resize, Resource, Result, VolumeContent, VolumeInfo,
    VolumeName, VolumeReader, VolumeWriter, WipePattern,
};
use kvm_xml::StorageVolume;
use kvm_xml::common::{Encryption, EncryptionFormat};
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeBackingStore, VolumeFormat, VolumeTarget};

use crate::fault::Method;
use crate::file::{Extent, SparseFile};
use crate::mock::Mock;
use crate::storage::{active, no_such_volume, place};
use crate::world::World;
use crate::{image, qcow2};

/// How deep a chain of images may be.
const CHAIN_MAX: usize = 64;

#[async_trait]
impl VolumeContent for Mock {
    async fn download(&self, pool: &PoolName, volume: &VolumeName, holes: Holes) -> Result<Box<dyn VolumeReader>> {
        let place = place(pool, volume);
        let (path, length) = self
            .read(Method::DownloadVolume, &place, |world, _| {
                let (path, file) = find_own(world, pool, volume)?;
                Ok((path, file.len()))
            })
            .await?;
        Ok(Box::new(Reader { mock: self.clone(), place, path, length, at: 0, holes }))
    }

    async fn upload(
        &self,
        pool: &PoolName,
        volume: &VolumeName,
        length: Bytes,
        holes: Holes,
    ) -> Result<Box<dyn VolumeWriter>> {
        let place = place(pool, volume);
        let path = self.read(Method::UploadVolume, &place, |world, _| Ok(find_own(world, pool, volume)?.0)).await?;
        Ok(Box::new(Writer { mock: self.clone(), pool: pool.clone(), place, path, length: length.get(), at: 0, holes }))
    }

    async fn resize(&self, pool: &PoolName, volume: &VolumeName, size: Bytes, how: Resize) -> Result<()> {
        self.change(Method::ResizeVolume, place(pool, volume), |world, _| {
            let (path, file) = find_own(world, pool, volume)?;
            let present = Bytes::new(image::probe(file).capacity);
            match how {
                Resize::Grow | Resize::Allocate if size <= present => {
                    return Err(Error::invalid("size", format!("the volume has {present} already")));
                }
                Resize::Shrink if size >= present => {
                    return Err(Error::invalid("size", format!("the volume has {present}, which is not more")));
                }
                Resize::Shrink if file.allocated() > size.get() => {
                    return Err(Error::new(ErrorKind::InvalidState, "the volume takes more space than it is to have")
                        .on(Resource::Volume(place(pool, volume))));
                }
                _ => {}
            }
            room(world, pool, size.saturating_sub(present))?;
            let Some(file) = world.files.get_mut(&path) else { return Err(no_such_volume(&place(pool, volume))) };
            match how {
                Resize::Shrink => image::shrink(file, size.get()),
                Resize::Grow => image::grow(file, size.get()),
                Resize::Allocate => {
                    image::grow(file, size.get());
                    let reserved = file.allocated() + size.get() - present.get();
                    *file = file.clone().reserving(reserved);
                }
            }
            Ok(())
        })
        .await
    }

    async fn wipe(&self, pool: &PoolName, volume: &VolumeName, pattern: WipePattern) -> Result<()> {
        self.change(Method::WipeVolume, place(pool, volume), |world, _| {
            let (path, file) = find(world, pool, volume)?;
            if pattern != WipePattern::Zero {
                return Err(Error::new(ErrorKind::Unsupported, "this host overwrites with zeros only")
                    .on(Resource::Volume(place(pool, volume))));
            }
            // What took all its space goes on to do so; what had holes becomes one.
            let reserved = if file.allocated() >= file.len() { file.len() } else { 0 };
            let wiped = SparseFile::hole(file.len()).reserving(reserved);
            world.files.insert(path, wiped);
            Ok(())
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
        let name = doc.name.clone().unwrap_or_default();
        self.change(Method::CopyVolume, format!("{}/{name}", pool.as_str()), |world, _| {
            let (path, _) = find_own(world, from.0, from.1)?;
            let (name, empty) = world.new_volume(pool, doc)?;
            if blocks == Blocks::Shared {
                return Err(Error::new(ErrorKind::Unsupported, "this host's file systems share no blocks")
                    .on(Resource::Volume(place(pool, &name))));
            }
            if world.files.get(&path).is_some_and(image::is_encrypted) {
                return Err(Error::new(ErrorKind::Unsupported, "this host copies no encrypted image")
                    .on(Resource::Volume(path)));
            }
            let mut disk = disk_at(world, &path, CHAIN_MAX)?;
            let wanted = image::probe(&empty);
            disk.lengthen(wanted.capacity);
            let capacity = disk.len();
            let copy = match wanted.format {
                "qcow2" => qcow2::encode(&disk, capacity, wanted.backing.as_deref()).reserving(empty.allocated()),
                _ => disk.reserving(empty.allocated()),
            };
            world.add_volume(pool, name, copy)
        })
        .await
    }

    async fn create_preallocated(&self, pool: &PoolName, doc: &StorageVolume) -> Result<VolumeInfo> {
        let name = doc.name.clone().unwrap_or_default();
        self.change(Method::CreatePreallocated, format!("{}/{name}", pool.as_str()), |world, _| {
            let (name, file) = world.new_volume(pool, doc)?;
            let image = image::probe(&file);
            if image.format == "raw" {
                return Err(Error::new(ErrorKind::Unsupported, "plain bytes have no tables")
                    .on(Resource::Volume(place(pool, &name))));
            }
            // A table has eight bytes for each cluster.
            let tables = image.capacity.div_ceil(1 << image::CLUSTER_BITS) * 8;
            let space = doc.allocation.as_ref().and_then(Size::bytes).unwrap_or_default().min(image.capacity);
            let taken = file.allocated() + tables + space;
            world.add_volume(pool, name, file.reserving(taken))
        })
        .await
    }

    async fn definition(&self, pool: &PoolName, volume: &VolumeName) -> Result<StorageVolume> {
        self.read(Method::VolumeDefinition, place(pool, volume), |world, _| {
            let (path, file) = find(world, pool, volume)?;
            if active(world, pool)?.directory().is_none() {
                let size = || Some(Size::from_bytes(file.len()));
                return Ok(StorageVolume {
                    name: Some(volume.as_str().to_owned()),
                    key: Some(path.clone()),
                    capacity: size(),
                    allocation: size(),
                    target: Some(VolumeTarget { path: Some(path), ..VolumeTarget::default() }),
                    ..StorageVolume::default()
                });
            }
            let image = image::probe(file);
            let format = |name: &str| VolumeFormat { r#type: name.parse().ok(), ..VolumeFormat::default() };
            Ok(StorageVolume {
                name: Some(volume.as_str().to_owned()),
                key: Some(path.clone()),
                capacity: Some(Size::from_bytes(image.capacity)),
                allocation: Some(Size::from_bytes(file.allocated())),
                physical: Some(Size::from_bytes(file.len())),
                target: Some(VolumeTarget {
                    path: Some(path.clone()),
                    format: Some(format(image.format)),
                    // Which secret opens it, an image does not say.
                    encryption: image::is_encrypted(file)
                        .then(|| Encryption { format: Some(EncryptionFormat::Luks), ..Encryption::default() }),
                    ..VolumeTarget::default()
                }),
                backing_store: image.backing.map(|below| VolumeBackingStore {
                    format: world.files.get(&below).map(|file| format(image::probe(file).format)),
                    path: Some(below),
                    ..VolumeBackingStore::default()
                }),
                ..StorageVolume::default()
            })
        })
        .await
    }
}

/// The path and the file of a volume.
fn find<'a>(world: &'a World, pool: &PoolName, volume: &VolumeName) -> Result<(String, &'a SparseFile)> {
    let found = active(world, pool)?;
    let missing = || no_such_volume(&place(pool, volume));
    let path = found.file_of(volume).ok_or_else(missing)?;
    let file = world.files.get(&path).ok_or_else(missing)?;
    Ok((path, file))
}

/// The same of one whose bytes the host can move and count.
fn find_own<'a>(world: &'a World, pool: &PoolName, volume: &VolumeName) -> Result<(String, &'a SparseFile)> {
    let found = find(world, pool, volume)?;
    active(world, pool)?.check_own()?;
    Ok(found)
}

/// What a guest sees of an image, with all that is below it.
fn disk_at(world: &World, path: &str, depth: usize) -> Result<SparseFile> {
    let file = world.files.get(path).filter(|_| depth > 0);
    let file = file.ok_or_else(|| {
        Error::new(ErrorKind::InvalidState, "an image below is missing, or they form a circle")
            .on(Resource::Volume(path.to_owned()))
    })?;
    let image = image::probe(file);
    match (image.format, image.backing) {
        ("qcow2", Some(below)) => qcow2::decode(file, Some(&disk_at(world, &below, depth - 1)?)),
        ("qcow2", None) => qcow2::decode(file, None),
        _ => Ok(file.clone()),
    }
}

/// Refuses what does not fit into a pool.
fn room(world: &World, pool: &PoolName, more: Bytes) -> Result<()> {
    let free = active(world, pool)?.info(pool, world).available.unwrap_or_default();
    if more <= free {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NoSpace, "not enough space in the pool")
        .on(Resource::Pool(pool.as_str().to_owned()))
        .with_detail(format!("asked {more}, free {free}")))
}

/// A file that is read.
#[derive(Debug)]
struct Reader {
    mock: Mock,
    place: String,
    path: String,
    length: u64,
    at: u64,
    holes: Holes,
}

#[async_trait]
impl VolumeReader for Reader {
    fn length(&self) -> Bytes {
        Bytes::new(self.length)
    }

    async fn next(&mut self) -> Result<Option<Piece>> {
        let (path, at, holes) = (&self.path, self.at, self.holes);
        let next = |world: &World, _| {
            let file = world.files.get(path).ok_or_else(|| no_such_volume(path))?;
            let most = Piece::DATA_MAX.get();
            let data = |length: u64| Piece::Data(file.read(at, usize::try_from(length.min(most)).unwrap_or(0)));
            Ok(file.extent_at(at).map(|extent| match (extent, holes) {
                (Extent::Hole(length), Holes::Keep) => Piece::Hole(Bytes::new(length)),
                (Extent::Data(length), Holes::Keep) => data(length),
                (_, Holes::Fill) => data(file.len() - at),
            }))
        };
        let piece = self.mock.read(Method::DownloadVolume, &self.place, next).await?;
        self.at += piece.as_ref().map_or(0, |piece| piece.length().get());
        Ok(piece)
    }
}

/// A file that is written.
#[derive(Debug)]
struct Writer {
    mock: Mock,
    pool: PoolName,
    place: String,
    path: String,
    length: u64,
    at: u64,
    holes: Holes,
}

#[async_trait]
impl VolumeWriter for Writer {
    async fn write(&mut self, piece: Piece) -> Result<()> {
        let (path, at, holes) = (&self.path, self.at, self.holes);
        let end = at + piece.length().get();
        if end > self.length {
            return Err(Error::invalid("length", "more is written than was promised"));
        }
        let write = |world: &mut World, _| {
            let before = world.files.get(path).ok_or_else(|| no_such_volume(path))?;
            let mut file = before.clone();
            match &piece {
                Piece::Data(data) => file.write(at, data),
                // As a real host skips: the file ends there until more is written.
                Piece::Hole(_) if holes == Holes::Keep => {
                    file.truncate(end);
                    file.lengthen(end);
                }
                Piece::Hole(length) => file.write(at, &vec![0; usize::try_from(length.get()).unwrap_or(0)]),
            }
            room(world, &self.pool, Bytes::new(file.allocated().saturating_sub(before.allocated())))?;
            world.files.insert(path.clone(), file);
            Ok(())
        };
        self.mock.change(Method::UploadVolume, &self.place, write).await?;
        self.at = end;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        if self.at < self.length {
            return Err(Error::invalid("length", format!("{} bytes fewer than were promised", self.length - self.at)));
        }
        self.mock.change(Method::UploadVolume, &self.place, |_, _| Ok(())).await
    }
}
