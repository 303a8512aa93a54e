//! What a rewriting needs to know from outside.

use crate::domain::{Disk, DiskSource, DiskType, Hostdev, Input, Interface, Redirdev, Tpm};
use crate::domain_capabilities::DomainCapabilities;
use crate::value::MacAddr;
use std::fmt;
use uuid::Uuid;

/// What is true outside the document: of the target, of the machines there, and what was chosen for the copy.
///
/// Whoever calls looks first and answers then; nothing here waits or fails. The default is the host that the machine
/// is on, with nothing in the way, [`Facts::other_host`] one of which nothing is known; values that must be new (uuid,
/// MAC addresses) are not made up.
#[expect(clippy::type_complexity, reason = "the type of a closure says what it is asked and what it answers")]
pub struct Facts<'a> {
    /// The name of the copy; without one it is derived.
    pub name: Option<String>,
    /// The uuid of the copy.
    pub uuid: Option<Uuid>,
    /// A generation id that was never used.
    pub genid: Option<Uuid>,
    /// What to note about where the copy comes from: the content of this product's element in the metadata, as XML.
    pub lineage: Option<String>,
    /// Where the copy is going to be.
    pub place: Place,
    /// What belongs to the machine and is not in its document.
    pub attached: Attached,
    /// What the target can do with this architecture and machine type.
    pub capabilities: Option<&'a DomainCapabilities>,
    /// The machine types of the target's emulator, aliases included.
    pub machines: Option<&'a [String]>,
    /// A MAC address that is free on both hosts and not given to another copy of the batch; `None` when there is none.
    pub mac: Box<dyn FnMut() -> Option<MacAddr> + 'a>,
    /// Whether a machine of the target has this name.
    pub name_taken: Box<dyn Fn(&str) -> bool + 'a>,
    /// What the target calls this network; `None` when it has none.
    pub network: Box<dyn Fn(Uplink<'_>) -> Option<String> + 'a>,
    /// Whether the copy and the original are going to hear each other on this network.
    pub shares_network: Box<dyn Fn(Uplink<'_>) -> bool + 'a>,
    /// The address on which the target's graphics listen in place of this one; `None` when it has no such address.
    pub listen: Box<dyn Fn(&str) -> Option<String> + 'a>,
    /// Where the copy of a file shall lie; `None` when the suggestion is fine.
    pub locate: Box<dyn Fn(&Request<'_>) -> Option<Location> + 'a>,
    /// Whether something lies there on the target.
    pub location_taken: Box<dyn Fn(&Location) -> bool + 'a>,
    /// Whether the target reaches the same bytes under the same source: a medium, a shared disk, a network disk.
    pub reaches: Box<dyn Fn(&DiskSource) -> bool + 'a>,
    /// Whether the target has this file.
    pub file_exists: Box<dyn Fn(&str) -> bool + 'a>,
    /// Points a device at the target's and says so, or leaves it alone.
    pub host_device: Box<dyn Fn(HostDevice<'_>) -> Mapped + 'a>,
    /// Whether the target has the secret with this uuid.
    pub secret_exists: Box<dyn Fn(Uuid) -> bool + 'a>,
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self {
            name: None,
            uuid: None,
            genid: None,
            lineage: None,
            place: Place::SameHost,
            attached: Attached::default(),
            capabilities: None,
            machines: None,
            mac: Box::new(|| None),
            name_taken: Box::new(|_| false),
            network: Box::new(|uplink| Some(uplink.name().to_owned())),
            shares_network: Box::new(|_| true),
            listen: Box::new(|address| Some(address.to_owned())),
            locate: Box::new(|_| None),
            location_taken: Box::new(|_| false),
            reaches: Box::new(|_| true),
            file_exists: Box::new(|_| true),
            host_device: Box::new(|_| Mapped::No),
            secret_exists: Box::new(|_| true),
        }
    }
}

impl Facts<'_> {
    /// Another host of which nothing is known: it has no network, file or secret of this one, reaches none of its
    /// sources, and listens only on addresses that every host has.
    #[must_use]
    pub fn other_host() -> Self {
        const EVERYWHERE: [&str; 5] = ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"];
        Self {
            place: Place::OtherHost,
            network: Box::new(|_| None),
            shares_network: Box::new(|_| true),
            listen: Box::new(|address| EVERYWHERE.contains(&address).then(|| address.to_owned())),
            reaches: Box::new(|_| false),
            file_exists: Box::new(|_| false),
            secret_exists: Box::new(|_| false),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("name", &self.name)
            .field("uuid", &self.uuid)
            .field("genid", &self.genid)
            .field("place", &self.place)
            .field("attached", &self.attached)
            .finish_non_exhaustive()
    }
}

/// Where a copy is going to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On the host of the original.
    #[default]
    SameHost,
    /// On another one.
    OtherHost,
}

/// What belongs to a machine and is not in its document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Snapshots that libvirt knows.
    pub snapshots: usize,
    /// Checkpoints that libvirt knows.
    pub checkpoints: usize,
    /// Snapshots inside qcow2 images, known to libvirt or not.
    pub internal_snapshots: usize,
    /// Schedules and alerts.
    pub schedules: usize,
    /// Whether it starts with its host.
    pub starts_with_host: bool,
}

/// What a network interface is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Uplink<'a> {
    /// A network of libvirt.
    Network(&'a str),
    /// A bridge of the host.
    Bridge(&'a str),
    /// An interface of the host.
    Device(&'a str),
}

impl<'a> Uplink<'a> {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Network(name) | Self::Bridge(name) | Self::Device(name) => name,
        }
    }
}

impl fmt::Display for Uplink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Network(_) => "network",
            Self::Bridge(_) => "bridge",
            Self::Device(_) => "host interface",
        };
        write!(f, "{kind} '{}'", self.name())
    }
}

/// A file that needs a place on the target.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What it holds.
    pub content: Content,
    /// The element that names it: `devices.disk[vda].source`.
    pub path: &'a str,
    /// Where it lies.
    pub from: &'a Location,
    /// Where it would lie by the policy; `None` when no name can be derived.
    pub suggested: Option<&'a Location>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// A disk.
    Disk,
    /// An image below a disk. Placed where it lies, it is shared.
    Backing,
    /// The file in which a qcow2 image keeps its data.
    DataStore,
    /// The firmware's variables.
    Nvram,
    /// The state of a TPM.
    Tpm,
    /// An NVDIMM.
    Nvdimm,
}

/// Where bytes lie.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// A file, by its absolute path.
    File(String),
    /// A block device, by its absolute path.
    Block(String),
    /// A volume of a storage pool.
    Volume {
        /// The pool's name.
        pool: String,
        /// The volume's name.
        volume: String,
    },
}

impl Location {
    /// Where a source of this type lies; `None` for what cannot be copied like a file.
    #[must_use]
    pub fn of(kind: DiskType, source: &DiskSource) -> Option<Self> {
        match kind {
            DiskType::File => source.file.clone().map(Self::File),
            DiskType::Block => source.dev.clone().map(Self::Block),
            DiskType::Volume => Some(Self::Volume { pool: source.pool.clone()?, volume: source.volume.clone()? }),
            _ => None,
        }
    }

    /// Makes a source and its type say this.
    pub(super) fn put(&self, kind: &mut Option<DiskType>, source: &mut DiskSource) {
        let (file, dev, pool, volume, new) = match self.clone() {
            Self::File(path) => (Some(path), None, None, None, DiskType::File),
            Self::Block(path) => (None, Some(path), None, None, DiskType::Block),
            Self::Volume { pool, volume } => (None, None, Some(pool), Some(volume), DiskType::Volume),
        };
        (source.file, source.dev, source.pool, source.volume) = (file, dev, pool, volume);
        if kind.unwrap_or(DiskType::File) != new {
            *kind = Some(new);
        }
    }

    /// The path, or the volume's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::File(path) | Self::Block(path) => path,
            Self::Volume { volume, .. } => volume,
        }
    }

    /// The same kind in the same folder or pool, under another name.
    pub(super) fn renamed(&self, rename: impl Fn(&str) -> String) -> Self {
        let beside = |path: &str| {
            // libvirt's schema knows paths of Windows too.
            let folder = path.rfind('/').or_else(|| path.rfind('\\')).map_or(0, |end| end + 1);
            format!("{}{}", &path[..folder], rename(&path[folder..]))
        };
        match self {
            Self::File(path) => Self::File(beside(path)),
            Self::Block(path) => Self::Block(beside(path)),
            Self::Volume { pool, volume } => Self::Volume { pool: pool.clone(), volume: beside(volume) },
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Block(path) => f.write_str(path),
            Self::Volume { pool, volume } => write!(f, "{pool}/{volume}"),
        }
    }
}

/// A device of the host that the guest has.
#[derive(Debug)]
pub enum HostDevice<'a> {
    /// An assigned PCI, USB, SCSI or mediated device.
    Hostdev(&'a mut Hostdev),
    /// An interface that is a host device: type `hostdev` or `vdpa`.
    Interface(&'a mut Interface),
    /// A disk that is a host device or is served by a program of the host: NVMe, vDPA, vhost-user.
    Disk(&'a mut Disk),
    /// The host's own TPM, or one that a program of the host serves.
    Tpm(&'a mut Tpm),
    /// An input device of the host.
    Input(&'a mut Input),
    /// A USB device that is redirected to something else than a SPICE client.
    Redirdev(&'a mut Redirdev),
}

/// Whether a host device was pointed at one of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// The device now names one of the target, which may be the same.
    Yes,
    /// The target has none for it; the device was left alone.
    No,
}
