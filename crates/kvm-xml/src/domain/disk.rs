//! Disks and their sources.

use super::{
    Address, Alias, BackendDomain, DeviceAcpi, DeviceBoot, DeviceSeclabel, DiskType, Iotune, MouseOwner, PathOnly,
    UnixSocket,
};
use crate::common::{Auth, Encryption, Initiator, PciAddress, Reconnect};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{DiskName, OnOff, Size, Wwn, YesNo};
use kvm_xml_derive::Xml;

/// A disk, CD-ROM, floppy or LUN: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
#[xml(root = "disk", key = "target.dev")]
pub struct Disk {
    pub r#type: Option<DiskType>,
    pub device: Option<DiskDevice>,
    pub rawio: Option<YesNo>,
    pub sgio: Option<Sgio>,
    pub model: Option<VirtioModel>,
    pub snapshot: Option<DiskSnapshot>,
    pub driver: Option<DiskDriver>,
    pub auth: Option<Auth>,
    pub source: Option<DiskSource>,
    #[xml("backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    pub mirror: Option<Box<Mirror>>,
    pub target: Option<DiskTarget>,
    pub readonly: bool,
    #[xml(el)]
    pub serial: Option<String>,
    pub boot: Option<DeviceBoot>,
    pub backenddomain: Option<BackendDomain>,
    pub shareable: bool,
    pub transient: Option<Transient>,
    pub encryption: Option<Encryption>,
    pub throttlefilters: Option<ThrottleFilters>,
    pub iotune: Option<Iotune>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub geometry: Option<Geometry>,
    pub blockio: Option<BlockIo>,
    #[xml(el)]
    pub wwn: Option<Wwn>,
    #[xml(el)]
    pub vendor: Option<String>,
    #[xml(el)]
    pub product: Option<String>,
    pub _extra: Extra,
}

/// Where a disk's bytes are; which fields count is decided by the `type` beside it.
#[derive(Clone, Default, Xml)]
pub struct DiskSource {
    pub r#type: Option<DiskSourceKind>,
    pub managed: Option<YesNo>,
    #[xml(hexable)]
    pub namespace: Option<u32>,
    pub protocol: Option<DiskProtocol>,
    pub name: Option<String>,
    pub dev: Option<String>,
    pub file: Option<String>,
    pub fdgroup: Option<String>,
    #[xml(min = 1)]
    pub index: Option<u32>,
    #[xml("startupPolicy")]
    pub startup_policy: Option<StartupPolicy>,
    pub dir: Option<String>,
    pub tls: Option<YesNo>,
    #[xml("tlsHostname")]
    pub tls_hostname: Option<String>,
    pub query: Option<String>,
    pub pool: Option<String>,
    pub volume: Option<String>,
    pub mode: Option<IscsiMode>,
    pub path: Option<String>,
    pub slices: Option<Slices>,
    #[xml("dataStore")]
    pub data_store: Option<Box<DataStore>>,
    pub encryption: Option<Encryption>,
    pub seclabel: Vec<DeviceSeclabel>,
    pub reservations: Option<Reservations>,
    pub host: Vec<SourceHost>,
    pub reconnect: Option<Reconnect>,
    pub snapshot: Option<SourceSnapshot>,
    pub config: Option<SourceConfig>,
    pub auth: Option<Auth>,
    pub initiator: Option<Initiator>,
    pub cookies: Option<Cookies>,
    pub readahead: Option<Readahead>,
    pub timeout: Option<SourceTimeout>,
    pub ssl: Option<Ssl>,
    #[xml("knownHosts")]
    pub known_hosts: Option<PathOnly>,
    pub identity: Option<SourceIdentity>,
    pub address: Option<PciAddress>,
    pub _extra: Extra,
}

/// How the hypervisor handles a disk: format, cache, discard, queues.
#[derive(Clone, Default, Xml)]
pub struct DiskDriver {
    pub name: Option<String>,
    pub r#type: Option<DiskFormat>,
    pub cache: Option<DiskCache>,
    pub error_policy: Option<DiskErrorPolicy>,
    pub rerror_policy: Option<DiskReadErrorPolicy>,
    pub io: Option<DiskIo>,
    pub ioeventfd: Option<OnOff>,
    pub event_idx: Option<OnOff>,
    pub copy_on_read: Option<OnOff>,
    pub discard: Option<DiskDiscard>,
    pub iothread: Option<u32>,
    pub detect_zeroes: Option<DetectZeroes>,
    pub discard_no_unref: Option<OnOff>,
    #[xml(min = 1)]
    pub queues: Option<u32>,
    #[xml(min = 1)]
    pub queue_size: Option<u32>,
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    pub metadata_cache: Option<MetadataCache>,
    pub iothreads: Option<DiskIothreads>,
    pub _extra: Extra,
}

/// The copy or commit that runs on a disk.
#[derive(Clone, Default, Xml)]
pub struct Mirror {
    pub file: Option<String>,
    pub format: Option<DiskFormat>,
    pub job: Option<MirrorJob>,
    pub r#type: Option<DiskType>,
    pub ready: Option<MirrorReady>,
    pub source: Option<DiskSource>,
    #[xml("format")]
    pub format_el: Option<ImageFormat>,
    #[xml("backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    pub _extra: Extra,
}

/// Where the guest sees a disk; `dev` is unique within a guest.
#[derive(Clone, Default, Xml)]
pub struct DiskTarget {
    pub dev: Option<DiskName>,
    pub bus: Option<DiskBus>,
    pub tray: Option<Tray>,
    pub removable: Option<OnOff>,
    #[xml(min = 1)]
    pub rotation_rate: Option<u32>,
    pub _extra: Extra,
}

/// Changes to the disk are thrown away when the guest stops.
#[derive(Clone, Default, Xml)]
pub struct Transient {
    #[xml("shareBacking")]
    pub share_backing: Option<YesNo>,
    pub _extra: Extra,
}

/// The throttle groups a disk goes through.
#[derive(Clone, Default, Xml)]
pub struct ThrottleFilters {
    pub throttlefilter: Vec<ThrottleFilter>,
    pub _extra: Extra,
}

/// Cylinders, heads and sectors as the guest sees them.
#[derive(Clone, Default, Xml)]
pub struct Geometry {
    pub cyls: Option<u32>,
    pub heads: Option<u32>,
    pub secs: Option<u32>,
    pub trans: Option<GeometryTrans>,
    pub _extra: Extra,
}

/// Block sizes as the guest sees them, in bytes.
#[derive(Clone, Default, Xml)]
pub struct BlockIo {
    pub logical_block_size: Option<u32>,
    pub physical_block_size: Option<u32>,
    pub discard_granularity: Option<u32>,
    pub _extra: Extra,
}

/// The image below; an empty one ends the chain.
#[derive(Clone, Default, Xml)]
pub struct BackingStore {
    pub r#type: Option<DiskType>,
    #[xml(min = 1)]
    pub index: Option<u32>,
    pub format: Option<ImageFormat>,
    pub source: Option<DiskSource>,
    #[xml("backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    pub _extra: Extra,
}

/// The part of a file that is used.
#[derive(Clone, Default, Xml)]
pub struct Slices {
    pub slice: Option<Slice>,
    pub _extra: Extra,
}

/// The raw data file of a qcow2 image.
#[derive(Clone, Default, Xml)]
pub struct DataStore {
    pub r#type: Option<DiskType>,
    pub format: Option<ImageFormat>,
    pub source: Option<Box<DiskSource>>,
    pub _extra: Extra,
}

/// The daemon that makes persistent SCSI reservations.
#[derive(Clone, Default, Xml)]
pub struct Reservations {
    pub managed: Option<YesNo>,
    pub source: Option<ReservationsSource>,
    pub _extra: Extra,
}

/// A server of a network disk.
#[derive(Clone, Default, Xml)]
pub struct SourceHost {
    pub name: Option<String>,
    pub port: Option<u32>,
    pub transport: Option<SourceHostTransport>,
    pub socket: Option<String>,
    pub _extra: Extra,
}

/// The internal snapshot to read from.
#[derive(Clone, Default, Xml)]
pub struct SourceSnapshot {
    pub name: Option<String>,
    pub _extra: Extra,
}

/// A configuration file of the storage client.
#[derive(Clone, Default, Xml)]
pub struct SourceConfig {
    pub file: Option<String>,
    pub _extra: Extra,
}

/// Cookies sent with each HTTP request.
#[derive(Clone, Default, Xml)]
pub struct Cookies {
    pub cookie: Vec<Cookie>,
    pub _extra: Extra,
}

/// How many bytes are read ahead.
#[derive(Clone, Default, Xml)]
pub struct Readahead {
    #[xml(min = 1)]
    pub size: Option<u64>,
    pub _extra: Extra,
}

/// The deadline of a request, in seconds.
#[derive(Clone, Default, Xml)]
pub struct SourceTimeout {
    #[xml(min = 1)]
    pub seconds: Option<u32>,
    pub _extra: Extra,
}

/// Whether the server's certificate is verified.
#[derive(Clone, Default, Xml)]
pub struct Ssl {
    pub verify: Option<YesNo>,
    pub _extra: Extra,
}

/// Who logs in to the server.
#[derive(Clone, Default, Xml)]
pub struct SourceIdentity {
    pub username: Option<String>,
    pub keyfile: Option<String>,
    pub agentsock: Option<String>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub _extra: Extra,
}

/// The cache for a format's metadata.
#[derive(Clone, Default, Xml)]
pub struct MetadataCache {
    pub max_size: Option<Size>,
    pub _extra: Extra,
}

/// I/O threads that share the queues of a device.
#[derive(Clone, Default, Xml)]
pub struct DiskIothreads {
    pub iothread: Vec<DiskIothread>,
    pub _extra: Extra,
}

/// The format of an image.
#[derive(Clone, Default, Xml)]
pub struct ImageFormat {
    pub r#type: Option<DiskFormat>,
    pub metadata_cache: Option<MetadataCache>,
    pub _extra: Extra,
}

/// One throttle group by name.
#[derive(Clone, Default, Xml)]
pub struct ThrottleFilter {
    pub group: Option<String>,
    pub _extra: Extra,
}

/// One part of a file, in bytes.
#[derive(Clone, Default, Xml)]
pub struct Slice {
    pub r#type: Option<SliceType>,
    pub offset: Option<u64>,
    #[xml(min = 1)]
    pub size: Option<u64>,
    pub _extra: Extra,
}

/// The socket of the reservations daemon.
#[derive(Clone, Default, Xml)]
pub struct ReservationsSource {
    pub r#type: Option<UnixSocket>,
    pub path: Option<String>,
    pub mode: Option<MouseOwner>,
    pub reconnect: Option<Reconnect>,
    pub _extra: Extra,
}

/// One HTTP cookie.
#[derive(Clone, Default, Xml)]
pub struct Cookie {
    pub name: Option<String>,
    #[xml(text, secret)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// One I/O thread and its queues.
#[derive(Clone, Default, Xml)]
pub struct DiskIothread {
    pub id: Option<u32>,
    pub queue: Vec<IothreadQueue>,
    pub _extra: Extra,
}

/// One queue.
#[derive(Clone, Default, Xml)]
pub struct IothreadQueue {
    pub id: Option<u32>,
    pub _extra: Extra,
}

closed! {
    /// What `device` of [`Disk`] can be.
    pub enum DiskDevice {
        Floppy = "floppy", Disk = "disk", Cdrom = "cdrom", Lun = "lun",
    }
    /// What `sgio` of [`Disk`] and [`Hostdev`](crate::domain::Hostdev) can be.
    pub enum Sgio {
        Filtered = "filtered", Unfiltered = "unfiltered",
    }
    /// What `model` of [`Disk`], [`Filesystem`](crate::domain::Filesystem), [`Input`](crate::domain::Input), [`Rng`](crate::domain::Rng) and [`Vsock`](crate::domain::Vsock) can be.
    pub enum VirtioModel {
        Virtio = "virtio", VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional",
    }
    /// What `snapshot` of [`Disk`] can be.
    pub enum DiskSnapshot {
        No = "no", Internal = "internal", External = "external", Manual = "manual",
    }
    /// What `type` of [`DiskSource`] can be.
    pub enum DiskSourceKind {
        Pci = "pci", Unix = "unix",
    }
    /// What `protocol` of [`DiskSource`] can be.
    pub enum DiskProtocol {
        Nbd = "nbd", Gluster = "gluster", Rbd = "rbd", Iscsi = "iscsi", Http = "http", Https = "https", Ftps = "ftps",
        Ftp = "ftp", Ssh = "ssh", Sheepdog = "sheepdog", Tftp = "tftp", Vxhs = "vxhs", Nfs = "nfs",
    }
    /// What `startupPolicy` of [`DiskSource`] and [`HostdevSource`](crate::domain::HostdevSource) can be.
    pub enum StartupPolicy {
        Mandatory = "mandatory", Requisite = "requisite", Optional = "optional",
    }
    /// What `mode` of [`DiskSource`] can be.
    pub enum IscsiMode {
        Host = "host", Direct = "direct",
    }
    /// What `type` of [`DiskDriver`] and [`ImageFormat`]; `format` of [`Mirror`] and [`FilesystemDriver`](crate::domain::FilesystemDriver) can be.
    pub enum DiskFormat {
        Raw = "raw", Qcow2 = "qcow2", Dir = "dir", Bochs = "bochs", Cloop = "cloop", Dmg = "dmg", Iso = "iso",
        Vpc = "vpc", Vdi = "vdi", Fat = "fat", Vhd = "vhd", Ploop = "ploop", Luks = "luks", Cow = "cow",
        Qcow = "qcow", Qed = "qed", Vmdk = "vmdk", Aio = "aio",
    }
    /// What `cache` of [`DiskDriver`] can be.
    pub enum DiskCache {
        Default = "default", None = "none", Writeback = "writeback", Writethrough = "writethrough",
        Directsync = "directsync", Unsafe = "unsafe",
    }
    /// What `error_policy` of [`DiskDriver`] can be.
    pub enum DiskErrorPolicy {
        Stop = "stop", Report = "report", Ignore = "ignore", Enospace = "enospace",
    }
    /// What `rerror_policy` of [`DiskDriver`] can be.
    pub enum DiskReadErrorPolicy {
        Stop = "stop", Report = "report", Ignore = "ignore",
    }
    /// What `io` of [`DiskDriver`] can be.
    pub enum DiskIo {
        Threads = "threads", Native = "native", IoUring = "io_uring",
    }
    /// What `discard` of [`DiskDriver`] can be.
    pub enum DiskDiscard {
        Unmap = "unmap", Ignore = "ignore",
    }
    /// What `detect_zeroes` of [`DiskDriver`] can be.
    pub enum DetectZeroes {
        Off = "off", On = "on", Unmap = "unmap",
    }
    /// What `job` of [`Mirror`] can be.
    pub enum MirrorJob {
        Copy = "copy", ActiveCommit = "active-commit",
    }
    /// What `ready` of [`Mirror`] can be.
    pub enum MirrorReady {
        Yes = "yes", Abort = "abort", Pivot = "pivot",
    }
    /// What `bus` of [`DiskTarget`] can be.
    pub enum DiskBus {
        Ide = "ide", Fdc = "fdc", Scsi = "scsi", Virtio = "virtio", Xen = "xen", Usb = "usb", Uml = "uml",
        Sata = "sata", Sd = "sd",
    }
    /// What `tray` of [`DiskTarget`] can be.
    pub enum Tray {
        Open = "open", Closed = "closed",
    }
    /// What `trans` of [`Geometry`] can be.
    pub enum GeometryTrans {
        Auto = "auto", None = "none", Lba = "lba",
    }
    /// What `transport` of [`SourceHost`] can be.
    pub enum SourceHostTransport {
        Tcp = "tcp", Rdma = "rdma", Unix = "unix",
    }
    /// What `type` of [`Slice`] can be.
    pub enum SliceType {
        Storage = "storage",
    }
}
