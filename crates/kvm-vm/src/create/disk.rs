//! New disks, with all that the specification left open.

use std::collections::BTreeMap;

use kvm_core::op::PlanLine;
use kvm_core::{
    Bytes, DiskPath, Entropy, Error, ErrorKind, Host, PoolInfo, PoolName, Resource, Result, SecretId, VmName,
    VolumeInfo, VolumeName,
};
use kvm_image::Format;
use kvm_xml::domain::DiskFormat;
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeFormat as XmlFormat, VolumeFormatType, VolumeTarget};
use kvm_xml::{Document as _, StorageVolume};

use crate::chain::DiskGraph;
use crate::foreign::judge;
use crate::place::{Image, Location, Places, volume_name};
use crate::policy::Policy;
use crate::secret::{NewSecret, encryption};
use crate::spec::{
    CacheMode, CreateSpec, DiskBus, DiskOptions, DiskSource, DiskSpec, ImageRef, VolumeEncryption, VolumeFormat,
    VolumeRef,
};
use crate::step::CreateVolume;

/// A disk of a new machine, or one that is plugged into a machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Disk {
    pub(crate) at: Location,
    pub(crate) format: DiskFormat,
    pub(crate) bus: Option<DiskBus>,
    pub(crate) cache: Option<CacheMode>,
    pub(crate) options: DiskOptions,
    /// What opens it, if it is encrypted.
    pub(crate) secret: Option<SecretId>,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
enum Origin {
    New { volume: VolumeRef, size: Bytes, grows: bool, document: String, secret: Option<NewSecret> },
    There(Image),
}

impl Disk {
    fn there(wanted: &DiskSpec, image: Image, format: DiskFormat, secret: Option<SecretId>) -> Self {
        Self {
            at: image.at.clone(),
            format,
            bus: wanted.bus,
            cache: wanted.cache,
            options: wanted.options.clone(),
            secret,
            origin: Origin::There(image),
        }
    }

    /// How the plan tells of it.
    pub(crate) fn line(&self, usage: &DiskGraph) -> PlanLine {
        match &self.origin {
            Origin::New { volume, size, .. } => self.created(volume, *size),
            Origin::There(image) => {
                let line = PlanLine::new("use", if image.volume.is_some() { "volume" } else { "file" }, image.name());
                match usage.users(&self.at.key(), None).describe() {
                    Some(users) => line.note(format!("{}, also {users}", self.format)),
                    None => line.note(self.format.to_string()),
                }
            }
        }
    }

    /// The same of one whose volume is a new one.
    pub(crate) fn new_line(&self) -> Option<PlanLine> {
        match &self.origin {
            Origin::New { volume, size, .. } => Some(self.created(volume, *size)),
            Origin::There(_) => None,
        }
    }

    fn created(&self, volume: &VolumeRef, size: Bytes) -> PlanLine {
        let encrypted = if self.secret.is_some() { ", encrypted" } else { "" };
        PlanLine::new("create", "volume", volume.as_text()).note(format!("{size}, {}{encrypted}", self.format))
    }

    /// The form of a new volume's content.
    pub(crate) fn volume_format(&self) -> VolumeFormat {
        if self.format == DiskFormat::Qcow2 { VolumeFormat::Qcow2 } else { VolumeFormat::Raw }
    }

    /// The secret that has to be there before its volume, if that is a new one and encrypted.
    pub(crate) fn new_secret(&self) -> Option<&NewSecret> {
        match &self.origin {
            Origin::New { secret, .. } => secret.as_ref(),
            Origin::There(_) => None,
        }
    }

    /// The step that makes its volume, if it is a new one.
    pub(crate) fn new_volume(&self) -> Option<CreateVolume> {
        let Origin::New { volume, size, grows, document, .. } = &self.origin else { return None };
        Some(CreateVolume {
            pool: volume.pool.clone(),
            volume: volume.volume.clone(),
            // New ones are made where pools have paths.
            path: self.at.host_path().ok()?.clone(),
            size: *size,
            grows: *grows,
            document: document.clone(),
            is_copy: false,
        })
    }
}

/// Disks that a machine is to get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The machine, after which new volumes are named.
    pub(crate) vm: &'a VmName,
    pub(crate) disks: &'a [DiskSpec],
    /// Who uses which image of the host.
    pub(crate) graph: &'a DiskGraph,
    /// Whether volumes that grow may promise more than the pool has.
    pub(crate) overcommit: bool,
    /// For the passphrases of volumes that are encrypted.
    pub(crate) entropy: &'a dyn Entropy,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(spec: &'a CreateSpec, graph: &'a DiskGraph, entropy: &'a dyn Entropy) -> Self {
        Self { vm: &spec.name, disks: &spec.disks, graph, overcommit: spec.allow_overcommit, entropy }
    }
}

/// Looks existing images up and finds place and name for new ones.
pub(crate) async fn resolve(host: &Host, spec: &Wanted<'_>, places: &Places<'_>, policy: &Policy) -> Result<Vec<Disk>> {
    let mut disks: Vec<Disk> = Vec::with_capacity(spec.disks.len());
    let mut room = Room { left: BTreeMap::new(), overcommit: spec.overcommit };
    let mut number = 0;
    for wanted in spec.disks {
        let disk = match &wanted.source {
            DiskSource::New { pool, name, size, format, encrypt } => {
                let pool = pool.clone().map_or_else(|| policy.default_pool(), Ok)?;
                let pool = places.pool(pool.as_str())?;
                let format = choose_format(pool, *format)?;
                let name = name.clone().map_or_else(|| new_name(spec.vm, number, pool, format), Ok)?;
                number += 1;
                let path = Places::path_in(pool, &name)?;
                room.take(pool, &name, *size)?;
                check_free(host, &pool.name, &name).await?;
                let volume = VolumeRef { pool: pool.name.clone(), volume: name };
                let secret = match encrypt {
                    Some(_) if format != VolumeFormat::Qcow2 => {
                        return Err(Error::invalid("encrypt", "only qcow2 images are encrypted; say format=qcow2"));
                    }
                    Some(VolumeEncryption::Luks) => {
                        Some(NewSecret::new(host, &volume, &path, None, spec.entropy).await?)
                    }
                    None => None,
                };
                new(wanted, pool, &path, (volume, *size, format), secret)
            }
            DiskSource::Volume { volume, format } => {
                let image = places.image(&ImageRef::Volume(volume.clone())).await?;
                open(host, wanted, (places, spec.graph), image, *format, policy).await?
            }
            DiskSource::Path { path, format } => {
                let image = places.at(path).await?;
                open(host, wanted, (places, spec.graph), image, *format, policy).await?
            }
        };
        if disks.iter().any(|other| other.at.key() == disk.at.key()) {
            return Err(Error::invalid("disks", format!("two disks are {}", disk.at)));
        }
        disks.push(disk);
    }
    Ok(disks)
}

/// The same disk with a name for its new volume that its pool has not given away: of a machine that has disks already,
/// the next number.
pub(crate) async fn named(
    host: &Host,
    vm: &VmName,
    disk: &DiskSpec,
    places: &Places<'_>,
    policy: &Policy,
) -> Result<DiskSpec> {
    let mut disk = disk.clone();
    if let DiskSource::New { pool, name: name @ None, format, .. } = &mut disk.source {
        let place = places.pool(pool.clone().map_or_else(|| policy.default_pool(), Ok)?.as_str())?;
        let format = choose_format(place, *format)?;
        let taken: Vec<_> = host.storage.volumes(&place.name).await?.into_iter().map(|volume| volume.name).collect();
        let mut number = 0;
        let free = loop {
            let candidate = new_name(vm, number, place, format)?;
            if !taken.contains(&candidate) {
                break candidate;
            }
            number += 1;
        };
        *name = Some(free);
    }
    Ok(disk)
}

fn new(
    wanted: &DiskSpec,
    pool: &PoolInfo,
    path: &DiskPath,
    (volume, size, format): (VolumeRef, Bytes, VolumeFormat),
    secret: Option<NewSecret>,
) -> Disk {
    let is_block = Places::is_block(pool);
    let document = StorageVolume {
        name: Some(volume.volume.as_str().to_owned()),
        capacity: Some(Size::from_bytes(size.get())),
        // Devices take all their space at once, files none.
        allocation: (!is_block).then(|| Size::from_bytes(0)),
        target: (!is_block).then(|| VolumeTarget {
            format: Some(XmlFormat { r#type: Some(format.into()), ..XmlFormat::default() }),
            encryption: secret.as_ref().map(|secret| encryption(Some(secret.id))),
            ..VolumeTarget::default()
        }),
        ..StorageVolume::default()
    };
    Disk {
        at: Places::location(path, is_block),
        format: match format {
            VolumeFormat::Qcow2 => DiskFormat::Qcow2,
            VolumeFormat::Raw => DiskFormat::Raw,
        },
        bus: wanted.bus,
        cache: wanted.cache,
        options: wanted.options.clone(),
        secret: secret.as_ref().map(|secret| secret.id),
        origin: Origin::New { volume, size, grows: !is_block, document: document.to_xml(), secret },
    }
}

impl From<VolumeFormat> for VolumeFormatType {
    fn from(format: VolumeFormat) -> Self {
        match format {
            VolumeFormat::Qcow2 => Self::Qcow2,
            VolumeFormat::Raw => Self::Raw,
        }
    }
}

/// A disk of an image that is there: of the format that its header says, and opened with its passphrase if it is encrypted.
async fn open(
    host: &Host,
    wanted: &DiskSpec,
    (places, graph): (&Places<'_>, &DiskGraph),
    image: Image,
    said: Option<VolumeFormat>,
    policy: &Policy,
) -> Result<Disk> {
    let path = match &image.at {
        Location::File(path) | Location::Device(path) => path,
        Location::Network(volume) => {
            check_network(places, volume, said)?;
            return Ok(Disk::there(wanted, image, DiskFormat::Raw, None));
        }
    };
    let secret = match &image.volume {
        Some(volume) if said != Some(VolumeFormat::Raw) => crate::secret::of_volume(host, volume).await?,
        _ => None,
    };
    let key = if secret.is_some() { kvm_image::Secret::Given } else { kvm_image::Secret::Missing };
    let said = said.map(|format| match format {
        VolumeFormat::Qcow2 => Format::Qcow2,
        VolumeFormat::Raw => Format::Raw,
    });
    let format = judge(host, (places, graph), path, (said, key), policy).await?;
    let format: Option<DiskFormat> = format.and_then(|format| format.driver().parse().ok());
    let format = format.map_or_else(|| known_format(&image), Ok)?;
    Ok(Disk::there(wanted, image, format, secret))
}

/// Refuses a volume that the host cannot plug in by its pool, or of which it would have to read more than its guest's bytes.
fn check_network(places: &Places<'_>, volume: &VolumeInfo, said: Option<VolumeFormat>) -> Result<()> {
    let pool = places.pool(volume.pool.as_str())?;
    if pool.kind != "iscsi-direct" {
        let message = format!("volumes of pool {}, which is of type {}, are not plugged in", pool.name, pool.kind);
        return Err(Error::new(ErrorKind::Unsupported, message).on(Resource::Volume(volume_name(volume))).with_detail(
            "libvirt knows their address only from a disk of type network: write one with kvmctl vm edit",
        ));
    }
    match said {
        Some(VolumeFormat::Qcow2) => Err(Error::invalid(
            "format",
            format!("volume {} is reached over the network and opened as raw", volume.name),
        )
        .with_detail("leave the format out, or say raw")),
        _ => Ok(()),
    }
}

/// The format that the host says, for a file that cannot be read from here. Hosts take it from the file's header, which a
/// guest with a raw disk can write; what such a header could reach is refused with its backing file, and whoever knows
/// better says the format.
fn known_format(image: &Image) -> Result<DiskFormat> {
    let said = image.volume.as_ref().and_then(|volume| match &volume.format {
        Some(format) if format == "iso" => Some("raw"),
        None if image.at.is_device() => Some("raw"),
        format => format.as_deref(),
    });
    let known = said.and_then(|format| format.parse().ok()).filter(|format| *format != DiskFormat::Dir);
    known.ok_or_else(|| Error::invalid("format", format!("the format of {} is not known; say raw or qcow2", image.at)))
}

/// What suits the pool.
fn choose_format(pool: &PoolInfo, asked: Option<VolumeFormat>) -> Result<VolumeFormat> {
    match (Places::is_block(pool), asked) {
        (true, Some(VolumeFormat::Qcow2)) => {
            let message = format!("pool {} is of type {} and has volumes without a format", pool.name, pool.kind);
            Err(Error::invalid("format", message).with_detail("leave the format out, or say raw"))
        }
        (true, _) => Ok(VolumeFormat::Raw),
        (false, asked) => Ok(asked.unwrap_or(VolumeFormat::Qcow2)),
    }
}

/// Space that the plan's new volumes leave in each pool.
struct Room {
    left: BTreeMap<PoolName, Bytes>,
    overcommit: bool,
}

impl Room {
    fn take(&mut self, pool: &PoolInfo, name: &VolumeName, size: Bytes) -> Result<()> {
        let Some(available) = pool.available else { return Ok(()) };
        let grows = !Places::is_block(pool);
        let left = self.left.entry(pool.name.clone()).or_insert(available);
        match left.checked_sub(size) {
            Some(rest) => *left = rest,
            None if self.overcommit && grows => *left = Bytes::ZERO,
            None => {
                let place = pool.target.as_ref().map_or_else(|| pool.kind.clone(), ToString::to_string);
                return Err(Error::new(
                    ErrorKind::NoSpace,
                    format!("not enough space in pool {} for {name}", pool.name),
                )
                .on(Resource::Pool(pool.name.as_str().to_owned()))
                .with_detail(format!("asked {size}, free {left} (pool {place})")));
            }
        }
        Ok(())
    }
}

async fn check_free(host: &Host, pool: &PoolName, name: &VolumeName) -> Result<()> {
    let volume = VolumeRef { pool: pool.clone(), volume: name.clone() };
    match host.storage.find_volume(pool, name).await {
        Ok(_) => Err(Error::new(ErrorKind::AlreadyExists, format!("there is a volume {volume} already"))
            .on(Resource::Volume(volume.as_text()))
            .with_detail(format!("to use it, say volume={volume}; to keep it, give the new one another name"))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The name of a machine's `number`th new volume: `web.qcow2`, then `web-1.qcow2`.
fn new_name(vm: &VmName, number: usize, pool: &PoolInfo, format: VolumeFormat) -> Result<VolumeName> {
    let extension = match format {
        _ if Places::is_block(pool) => "",
        VolumeFormat::Qcow2 => ".qcow2",
        VolumeFormat::Raw => ".img",
    };
    let suffix = if number == 0 { extension.to_owned() } else { format!("-{number}{extension}") };
    // What a machine may be called and a volume may not.
    let name = vm.as_str();
    let name = name.strip_prefix([':', '*', '~']).map_or_else(|| name.to_owned(), |rest| format!("_{rest}"));
    let name = name.replace([':', '*'], "-");
    let mut end = name.len().min(200 - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = format!("{}{suffix}", name[..end].trim_end());
    // Whoever named the machine decided about its script.
    VolumeName::parse_mixed_script(&name)
        .map_err(|e| e.with_detail("no volume can be named after this VM; give the disk a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(kind: &str) -> PoolInfo {
        PoolInfo {
            name: PoolName::parse("default").unwrap(),
            kind: kind.into(),
            active: true,
            autostart: true,
            persistent: true,
            target: Some(DiskPath::parse("/pool").unwrap()),
            capacity: Some(Bytes::from_gib(100)),
            allocation: Some(Bytes::ZERO),
            available: Some(Bytes::from_gib(100)),
        }
    }

    fn named(vm: &str, number: usize, kind: &str, format: VolumeFormat) -> String {
        new_name(&VmName::parse(vm).unwrap(), number, &pool(kind), format).unwrap().as_str().to_owned()
    }

    #[test]
    fn volumes_are_named_after_their_machine() {
        assert_eq!(named("web", 0, "dir", VolumeFormat::Qcow2), "web.qcow2");
        assert_eq!(named("web", 1, "dir", VolumeFormat::Raw), "web-1.img");
        assert_eq!(named("web", 2, "logical", VolumeFormat::Raw), "web-2");
    }

    #[test]
    fn every_name_of_a_machine_gives_a_name_of_a_volume() {
        assert_eq!(named("a:b*c", 0, "dir", VolumeFormat::Qcow2), "a-b-c.qcow2");
        assert_eq!(named("~root", 0, "dir", VolumeFormat::Qcow2), "_root.qcow2");
        assert_eq!(named("*", 0, "dir", VolumeFormat::Qcow2), "_.qcow2");
        let long = named(&"é".repeat(100), 0, "dir", VolumeFormat::Qcow2);
        assert!(long.len() <= 200 && long.ends_with("é.qcow2"), "{long}");
    }

    #[test]
    fn room_is_counted_over_all_disks_of_a_pool() {
        let name = VolumeName::parse("a.qcow2").unwrap();
        let mut room = Room { left: BTreeMap::new(), overcommit: false };
        room.take(&pool("dir"), &name, Bytes::from_gib(60)).unwrap();
        let e = room.take(&pool("dir"), &name, Bytes::from_gib(60)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NoSpace);
        assert_eq!(e.detail(), Some("asked 60 GiB, free 40 GiB (pool /pool)"));
    }

    #[test]
    fn only_what_grows_may_be_overcommitted() {
        let name = VolumeName::parse("a").unwrap();
        let mut room = Room { left: BTreeMap::new(), overcommit: true };
        room.take(&pool("dir"), &name, Bytes::from_gib(500)).unwrap();
        let mut room = Room { left: BTreeMap::new(), overcommit: true };
        assert!(room.take(&pool("logical"), &name, Bytes::from_gib(500)).is_err());
    }
}
