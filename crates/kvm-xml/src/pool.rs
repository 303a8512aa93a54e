//! Storage pools.

use crate::common::{Initiator, Named, Permissions, ScsiAdapter};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Size, YesNo};
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A storage pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "pool")]
pub struct StoragePool {
    pub r#type: Option<PoolType>,
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub capacity: Option<Size>,
    pub allocation: Option<Size>,
    pub available: Option<Size>,
    pub features: Option<PoolFeatures>,
    pub source: Option<PoolSource>,
    pub target: Option<PoolTarget>,
    #[xml("mount_opts", ns = "fs")]
    pub fs_mount_opts: Option<MountOptions>,
    pub refresh: Option<PoolRefresh>,
    #[xml("config_opts", ns = "rbd")]
    pub rbd_config_opts: Option<RbdOptions>,
    pub _extra: Extra,
}

/// Features of a pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolFeatures {
    pub cow: Option<PoolCow>,
    pub _extra: Extra,
}

/// Where a pool's storage comes from: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "source")]
pub struct PoolSource {
    pub vendor: Option<Named>,
    pub product: Option<Named>,
    pub host: Vec<PoolHost>,
    pub device: Vec<PoolDevice>,
    pub auth: Option<PoolAuth>,
    pub name: Vec<String>,
    pub dir: Option<PoolDir>,
    pub format: Option<PoolFormat>,
    pub protocol: Option<PoolProtocol>,
    pub initiator: Option<Initiator>,
    pub adapter: Option<ScsiAdapter>,
    pub _extra: Extra,
}

/// What `virConnectFindStoragePoolSources` found: one source for each pool that could be made.
#[derive(Clone, Default, Xml)]
#[xml(root = "sources")]
pub struct PoolSources {
    pub source: Vec<PoolSource>,
    pub _extra: Extra,
}

/// Where a pool's storage appears on the host: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolTarget {
    #[xml(el)]
    pub path: Option<String>,
    pub permissions: Option<Permissions>,
    pub _extra: Extra,
}

/// Mount options of a file system pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct MountOptions {
    #[xml(ns = "fs")]
    pub option: Vec<Named>,
    pub _extra: Extra,
}

/// What a refresh looks at: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolRefresh {
    pub volume: Option<RefreshVolume>,
    pub _extra: Extra,
}

/// Options of an RBD pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct RbdOptions {
    #[xml(ns = "rbd")]
    pub option: Vec<RbdOption>,
    pub _extra: Extra,
}

/// Whether copy on write is on: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolCow {
    pub state: Option<YesNo>,
    pub _extra: Extra,
}

/// A device behind a pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "path")]
pub struct PoolDevice {
    pub path: Option<String>,
    pub part_separator: Option<YesNo>,
    #[xml("freeExtent")]
    pub free_extent: Vec<Extent>,
    pub _extra: Extra,
}

/// The format of a pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolFormat {
    pub r#type: Option<PoolFormatType>,
    pub vendor: Option<Named>,
    pub product: Option<Named>,
    pub _extra: Extra,
}

/// A server behind a pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct PoolHost {
    pub name: Option<String>,
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    pub _extra: Extra,
}

/// A directory behind a pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolDir {
    pub path: Option<String>,
    pub _extra: Extra,
}

/// The version of the protocol: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolProtocol {
    pub ver: Option<String>,
    pub _extra: Extra,
}

/// Who logs in to the storage server, and with which secret: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolAuth {
    pub r#type: Option<PoolAuthType>,
    pub username: Option<String>,
    pub secret: Option<PoolSecret>,
    pub _extra: Extra,
}

/// How a refresh finds out how much a volume takes: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct RefreshVolume {
    pub allocation: Option<RefreshVolumeAllocation>,
    pub _extra: Extra,
}

/// One option of an RBD pool: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct RbdOption {
    pub name: Option<String>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A range of bytes on a device: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "start")]
pub struct Extent {
    pub start: Option<u64>,
    pub end: Option<u64>,
    pub _extra: Extra,
}

/// The secret, by uuid or usage: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolSecret {
    pub uuid: Option<String>,
    pub usage: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`StoragePool`] can be.
    pub enum PoolType {
        Dir = "dir", Fs = "fs", Netfs = "netfs", Logical = "logical", Disk = "disk", Iscsi = "iscsi",
        IscsiDirect = "iscsi-direct", Scsi = "scsi", Mpath = "mpath", Rbd = "rbd", Sheepdog = "sheepdog",
        Gluster = "gluster", Zfs = "zfs", Vstorage = "vstorage",
    }
    /// What `type` of [`PoolFormat`] can be.
    pub enum PoolFormatType {
        Auto = "auto", Ext2 = "ext2", Ext3 = "ext3", Ext4 = "ext4", Ufs = "ufs", Iso9660 = "iso9660", Udf = "udf",
        Gfs = "gfs", Gfs2 = "gfs2", Vfat = "vfat", HfsPlus = "hfs+", Xfs = "xfs", Ocfs2 = "ocfs2", Vmfs = "vmfs",
        Nfs = "nfs", Cifs = "cifs", Glusterfs = "glusterfs", Unknown = "unknown", Lvm2 = "lvm2", Dos = "dos",
        Dvh = "dvh", Gpt = "gpt", Mac = "mac", Bsd = "bsd", Pc98 = "pc98", Sun = "sun",
    }
    /// What `type` of [`PoolAuth`] can be.
    pub enum PoolAuthType {
        Chap = "chap", Ceph = "ceph",
    }
    /// What `allocation` of [`RefreshVolume`] can be.
    pub enum RefreshVolumeAllocation {
        Default = "default", Capacity = "capacity",
    }
}
