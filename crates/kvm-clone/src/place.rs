//! Where the images of a copy go.

use std::collections::BTreeMap;

use kvm_core::{
    Bytes, DiskPath, Error, ErrorKind, Holes, Host, PoolInfo, PoolName, Resource, Result, VolumeInfo, VolumeName,
};
use kvm_vm::VolumeRef;
use kvm_xml::Domain;
use kvm_xml::domain::{Disk, DiskDevice, DiskFormat, DiskType};
use kvm_xml::rewrite::{Content, Location, Request};

use crate::survey::{self, Survey};

/// An image of the original, and the pool of the target that takes its copy.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) volume: VolumeInfo,
    /// How long its file is, which is not what a guest sees.
    pub(crate) stored: Bytes,
    pub(crate) pool: PoolInfo,
    /// Whether the machine's document says so. A pool only looks at the image, which the guest of a raw disk has written.
    pub(crate) is_qcow2: bool,
}

/// The images that are copied, by where they lie.
pub(crate) type Images = BTreeMap<Location, Own>;

/// Finds the images that a machine has for itself, and a pool for the copy of each.
///
/// `Unsupported` for what is no file or device of a pool, or encrypted.
pub(crate) async fn images(survey: &mut Survey<'_>, asked: Option<&PoolName>, default: &PoolName) -> Result<Images> {
    images_in(survey, |_| asked.cloned(), default).await
}

/// The same, where a pool may be asked for by the disk's name in the guest.
pub(crate) async fn images_in(
    survey: &mut Survey<'_>,
    asked: impl Fn(&str) -> Option<PoolName>,
    default: &PoolName,
) -> Result<Images> {
    let mut images = Images::new();
    let disks: Vec<_> = own(&survey.document).cloned().collect();
    for disk in disks {
        let Some(location) = location(&disk) else { continue };
        let name = name(&disk);
        if disk.encryption.is_some() || disk.source.as_ref().is_some_and(|source| source.encryption.is_some()) {
            return Err(Error::new(ErrorKind::Unsupported, format!("disk {name} is encrypted, and is not copied"))
                .on(Resource::Field("disk".into()))
                .with_detail("the target has no passphrase for the path of the copy"));
        }
        let volume = volume(survey.source, &location).await.map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                Error::new(ErrorKind::InvalidState, format!("disk {name}: no pool of the source knows {location}"))
                    .on(Resource::Volume(location.to_string()))
                    .with_detail("refresh its pool, or make one: kvmctl pool create NAME --target DIR")
            }
            _ => e,
        })?;
        let pool = choose(survey, &volume, asked(&name).as_ref(), default)?;
        survey.look_into(&pool).await?;
        let stored = stored(survey.source, &volume).await?;
        let is_qcow2 = disk.driver.as_ref().and_then(|driver| driver.r#type) == Some(DiskFormat::Qcow2);
        images.insert(location, Own { volume, stored, pool, is_qcow2 });
    }
    Ok(images)
}

/// The disk's name in the guest: `vda`.
pub(crate) fn name(disk: &Disk) -> String {
    disk.target.as_ref().and_then(|target| target.dev.as_ref()).map(ToString::to_string).unwrap_or_default()
}

/// Where the images lie that a machine has for itself, by the names of their disks.
pub(crate) fn locations(document: &Domain) -> impl Iterator<Item = (String, Location)> {
    own(document).filter_map(|disk| Some((name(disk), location(disk)?)))
}

/// Disks that the machine alone writes to.
pub(crate) fn own(document: &Domain) -> impl Iterator<Item = &Disk> {
    document.devices.iter().flat_map(|devices| &devices.disk).filter(|disk| {
        matches!(disk.device, None | Some(DiskDevice::Disk | DiskDevice::Lun)) && !disk.readonly && !disk.shareable
    })
}

pub(crate) fn location(disk: &Disk) -> Option<Location> {
    Location::of(disk.r#type.unwrap_or(DiskType::File), disk.source.as_ref()?)
}

pub(crate) async fn volume(source: &Host, location: &Location) -> Result<VolumeInfo> {
    match location {
        Location::File(path) | Location::Block(path) => source.storage.volume_at(&DiskPath::adopt(path)?).await,
        Location::Volume { pool, volume } => {
            source.storage.find_volume(&PoolName::adopt(pool)?, &VolumeName::adopt(volume)?).await
        }
    }
}

pub(crate) async fn stored(source: &Host, volume: &VolumeInfo) -> Result<Bytes> {
    let missing = || Error::new(ErrorKind::Unsupported, "the source cannot reach into its volumes");
    let content = source.storage.content().ok_or_else(missing)?;
    Ok(content.download(&volume.pool, &volume.name, Holes::Fill).await?.length())
}

/// The pool that was asked for; else the one in the same directory; else the host's default.
pub(crate) fn choose(
    survey: &Survey<'_>,
    volume: &VolumeInfo,
    asked: Option<&PoolName>,
    default: &PoolName,
) -> Result<PoolInfo> {
    let directory = volume.path.as_ref().and_then(|path| path.as_path().parent());
    let beside = survey
        .pools
        .iter()
        .find(|pool| pool.active && directory.is_some() && pool.target.as_ref().map(DiskPath::as_path) == directory);
    let named = |name: &PoolName| {
        survey.pools.iter().find(|pool| pool.name == *name).ok_or_else(|| {
            let there: Vec<_> = survey.pools.iter().map(|pool| pool.name.to_string()).collect();
            Error::new(ErrorKind::NotFound, format!("{} has no pool named {name}", survey.there.target))
                .on(Resource::Pool(name.as_str().to_owned()))
                .with_detail(match there.is_empty() {
                    true => "make one there: kvmctl pool create NAME --target DIR".to_owned(),
                    false => format!("pools there are: {}", there.join(", ")),
                })
        })
    };
    let pool = match (asked, beside) {
        (Some(name), _) => named(name)?,
        (None, Some(pool)) => pool,
        (None, None) => named(default)?,
    };
    if !pool.active {
        let message = format!("pool {} is not active on {}", pool.name, survey.there.target);
        return Err(Error::new(ErrorKind::InvalidState, message).on(Resource::Pool(pool.name.as_str().to_owned())));
    }
    if !matches!(pool.kind.as_str(), "dir" | "fs" | "netfs") || pool.target.is_none() {
        let message = format!("pool {} is of type {}, and images are copied into files", pool.name, pool.kind);
        return Err(Error::new(ErrorKind::Unsupported, message)
            .on(Resource::Pool(pool.name.as_str().to_owned()))
            .with_detail("name a pool of type dir, fs or netfs"));
    }
    Ok(pool.clone())
}

/// For each pool that takes images, whether they fit; what is written there is as much as lies here. `NoSpace`.
pub(crate) fn check_room(images: &Images) -> Result<()> {
    for pool in images.values().map(|own| &own.pool) {
        let here = images.values().filter(|own| own.pool.name == pool.name);
        survey::check_room(pool, here.fold(Bytes::ZERO, |sum, own| sum.saturating_add(own.volume.allocation)))?;
    }
    Ok(())
}

/// Where the copy of a file goes; `None` where the suggestion is fine.
pub(crate) fn locate(images: &Images, taken: impl Fn(&str) -> bool, request: &Request<'_>) -> Option<Location> {
    if request.content != Content::Disk {
        return None;
    }
    let own = images.get(request.from)?;
    let suggested = request.suggested.unwrap_or(request.from);
    let name = file_name(suggested);
    // A copy of a device is a file, and says so.
    let name = match suggested {
        Location::Block(_) => format!("{name}.raw"),
        Location::File(_) | Location::Volume { .. } => name.to_owned(),
    };
    let (stem, ending) = name.rsplit_once('.').map_or((name.as_str(), String::new()), |(a, b)| (a, format!(".{b}")));
    let names = std::iter::once(name.clone()).chain((1..).map(|number| format!("{stem}-{number}{ending}")));
    let directory = own.pool.target.as_ref()?.as_str().trim_end_matches('/').to_owned();
    names.map(|name| format!("{directory}/{name}")).find(|path| !taken(path)).map(Location::File)
}

fn file_name(location: &Location) -> &str {
    let (Location::File(name) | Location::Block(name) | Location::Volume { volume: name, .. }) = location;
    name.rsplit('/').next().unwrap_or(name)
}

/// The volume that a place will be.
pub(crate) fn reference(pool: &PoolInfo, place: &Location) -> Result<VolumeRef> {
    Ok(VolumeRef { pool: pool.name.clone(), volume: VolumeName::parse(file_name(place))? })
}
