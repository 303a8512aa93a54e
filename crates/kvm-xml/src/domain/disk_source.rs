//! Where the bytes of a disk are.

use super::{DeviceSeclabel, DiskFormat, DiskType, MouseOwner, PathOnly, UnixSocket};
use crate::common::{Auth, Encryption, Initiator, PciAddress, Reconnect};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Size, YesNo};
use kvm_xml_derive::Xml;

/// Where a disk's bytes are; which fields count is decided by the `type` beside it: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct DiskSource {
    /// `Pci` for an NVMe disk, `Unix` for vhost-user.
    pub r#type: Option<DiskSourceKind>,
    /// NVMe: libvirt takes the controller from its host driver at start.
    pub managed: Option<YesNo>,
    /// NVMe: the namespace, from 1.
    #[xml(hexable)]
    pub namespace: Option<u32>,
    pub protocol: Option<DiskProtocol>,
    /// Network: the image. For RBD `pool/image`, for iSCSI the target and, after a slash, the LUN; optional for NBD.
    pub name: Option<String>,
    /// Block: the absolute path of the device. vhost-vdpa: `/dev/vhost-vdpa-N`.
    pub dev: Option<String>,
    /// File: the absolute path on the host.
    #[xml(form = "path")]
    pub file: Option<String>,
    /// Opens the image by file descriptors that the client associated with the domain under this name. Since 9.0.0.
    pub fdgroup: Option<String>,
    /// Set by libvirt while the guest runs: how block jobs name this image (`vda[1]`).
    #[xml(min = 1)]
    pub index: Option<u32>,
    /// What happens when the source is not there: `Mandatory` (default) fails, `Requisite` fails at boot and drops it
    /// after migration, `Optional` drops it. File and volume only. Since 0.9.7, hard disks since 1.1.2.
    #[xml("startupPolicy")]
    pub startup_policy: Option<StartupPolicy>,
    /// Dir: shown to the guest as a FAT filesystem.
    #[xml(form = "path")]
    pub dir: Option<String>,
    /// NBD and VxHS: encrypted by the host's certificates. Since 4.5.0 for NBD.
    pub tls: Option<YesNo>,
    /// NBD: the name expected in the server's certificate. Since 8.2.0.
    #[xml("tlsHostname")]
    pub tls_hostname: Option<String>,
    /// HTTP: what stands after the `?`. Since 6.2.0.
    pub query: Option<String>,
    /// Volume: the name of the storage pool, which must be active when the guest starts.
    #[xml(form = "object")]
    pub pool: Option<String>,
    /// Volume: the name of the volume in its pool.
    #[xml(form = "object")]
    pub volume: Option<String>,
    /// iSCSI pools only: `Host` (default) uses the host's block device, `Direct` lets the hypervisor log in itself.
    /// Since 1.1.1.
    pub mode: Option<IscsiMode>,
    /// vhost-user: the socket.
    #[xml(form = "path")]
    pub path: Option<String>,
    /// A part of the file instead of the whole. Since 6.1.0.
    pub slices: Option<Slices>,
    /// The raw file beside a qcow2 image. Since 10.10.0.
    #[xml("dataStore")]
    pub data_store: Option<Box<DataStore>>,
    pub encryption: Option<Encryption>,
    /// Overrides the domain's labels for this source. Since 0.9.9.
    pub seclabel: Vec<DeviceSeclabel>,
    /// Lets the guest reserve a SCSI disk for itself, as clusters do. Since 4.4.0.
    pub reservations: Option<Reservations>,
    /// RBD and gluster take several, the others one. `port` is the protocol's usual one if absent; NFS takes none.
    pub host: Vec<SourceHost>,
    /// vhost-user: `enabled` and `timeout`. NBD: `delay` only.
    pub reconnect: Option<Reconnect>,
    /// RBD: the snapshot to read. Since 1.2.11.
    pub snapshot: Option<SourceSnapshot>,
    /// RBD: the client's configuration. Since 1.2.11.
    pub config: Option<SourceConfig>,
    /// For RBD, iSCSI and SSH. Since 3.9.0.
    pub auth: Option<Auth>,
    /// iSCSI: the name the host logs in with. Since 4.7.0.
    pub initiator: Option<Initiator>,
    /// HTTP: sent with each request. Since 6.2.0.
    pub cookies: Option<Cookies>,
    pub readahead: Option<Readahead>,
    pub timeout: Option<SourceTimeout>,
    pub ssl: Option<Ssl>,
    /// SSH only: the file with the server's key; without a match the connection fails. Since 9.8.0.
    #[xml("knownHosts")]
    pub known_hosts: Option<PathOnly>,
    /// NFS: `user` and `group`. SSH: `username` with `keyfile` or `agentsock`.
    pub identity: Option<SourceIdentity>,
    /// NVMe: the controller on the host. Since 6.0.0.
    pub address: Option<PciAddress>,
    pub _extra: Extra,
}

/// The image below; an empty one ends the chain: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct BackingStore {
    pub r#type: Option<DiskType>,
    /// Set by libvirt: how block jobs name this image (`vda[2]`).
    #[xml(min = 1)]
    pub index: Option<u32>,
    pub format: Option<ImageFormat>,
    pub source: Option<DiskSource>,
    #[xml("backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    pub _extra: Extra,
}

/// The part of a file that is used: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Slices {
    pub slice: Option<Slice>,
    pub _extra: Extra,
}

/// The raw data file of a qcow2 image: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct DataStore {
    pub r#type: Option<DiskType>,
    pub format: Option<ImageFormat>,
    pub source: Option<Box<DiskSource>>,
    pub _extra: Extra,
}

/// The daemon that makes persistent SCSI reservations: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Reservations {
    /// Yes: libvirt runs the daemon. No: `source` names its socket.
    pub managed: Option<YesNo>,
    pub source: Option<ReservationsSource>,
    pub _extra: Extra,
}

/// A server of a network disk: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name+port")]
pub struct SourceHost {
    #[xml(form = "host")]
    pub name: Option<String>,
    pub port: Option<u32>,
    /// Default `Tcp`. `Unix` for NBD and gluster, `Rdma` for gluster.
    pub transport: Option<SourceHostTransport>,
    /// With `Unix` only; then no `name` and `port`.
    #[xml(form = "path")]
    pub socket: Option<String>,
    pub _extra: Extra,
}

/// The internal snapshot to read from: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct SourceSnapshot {
    #[xml(form = "word")]
    pub name: Option<String>,
    pub _extra: Extra,
}

/// A configuration file of the storage client: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct SourceConfig {
    #[xml(form = "path")]
    pub file: Option<String>,
    pub _extra: Extra,
}

/// Cookies sent with each HTTP request: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Cookies {
    pub cookie: Vec<Cookie>,
    pub _extra: Extra,
}

/// How many bytes are read ahead, for protocols that can, since 6.2.0: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Readahead {
    #[xml(min = 1)]
    pub size: Option<u64>,
    pub _extra: Extra,
}

/// The deadline of a connection, in seconds, since 6.2.0: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct SourceTimeout {
    #[xml(min = 1)]
    pub seconds: Option<u32>,
    pub _extra: Extra,
}

/// Whether the certificate of an HTTPS or FTPS server is verified, since 6.2.0: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Ssl {
    pub verify: Option<YesNo>,
    pub _extra: Extra,
}

/// Who logs in to the server: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct SourceIdentity {
    /// SSH: the user on the server.
    #[xml(form = "word")]
    pub username: Option<String>,
    /// SSH: a key without passphrase.
    #[xml(form = "path")]
    pub keyfile: Option<String>,
    /// SSH: the socket of an agent that holds the key.
    #[xml(form = "path")]
    pub agentsock: Option<String>,
    /// NFS: a name, or a number after `+`.
    #[xml(form = "word")]
    pub user: Option<String>,
    /// NFS: a name, or a number after `+`.
    #[xml(form = "word")]
    pub group: Option<String>,
    pub _extra: Extra,
}

/// The cache for a format's metadata: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct MetadataCache {
    /// Bytes unless `unit` says otherwise.
    pub max_size: Option<Size>,
    pub _extra: Extra,
}

/// The format of an image: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct ImageFormat {
    pub r#type: Option<DiskFormat>,
    pub metadata_cache: Option<MetadataCache>,
    pub _extra: Extra,
}

/// One part of a file, in bytes: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Slice {
    pub r#type: Option<SliceType>,
    pub offset: Option<u64>,
    #[xml(min = 1)]
    pub size: Option<u64>,
    pub _extra: Extra,
}

/// The socket of the reservations daemon: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct ReservationsSource {
    pub r#type: Option<UnixSocket>,
    #[xml(form = "path")]
    pub path: Option<String>,
    /// Always `Client`.
    pub mode: Option<MouseOwner>,
    pub reconnect: Option<Reconnect>,
    pub _extra: Extra,
}

/// One HTTP cookie: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct Cookie {
    pub name: Option<String>,
    #[xml(text, secret)]
    pub value: Option<String>,
    pub _extra: Extra,
}

closed! {
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
    ///
    /// `Mandatory` fails if the source is missing; `Requisite` fails at boot and drops it after migration or restore;
    /// `Optional` drops it always.
    pub enum StartupPolicy {
        Mandatory = "mandatory", Requisite = "requisite", Optional = "optional",
    }
    /// What `mode` of [`DiskSource`] can be.
    pub enum IscsiMode {
        Host = "host", Direct = "direct",
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
