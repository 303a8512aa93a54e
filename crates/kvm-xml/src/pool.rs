//! Storage pools.

use crate::common::{Initiator, Named, Permissions, ScsiAdapter};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Size, YesNo};
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A storage pool: <https://libvirt.org/formatstorage.html#storage-pool-xml>.
#[derive(Clone, Default, Xml)]
#[xml(root = "pool")]
pub struct StoragePool {
    /// What backs the pool; decides which fields of `source` count.
    pub r#type: Option<PoolType>,
    /// Unique on its host.
    #[xml(el, form = "object")]
    pub name: Option<String>,
    /// Chosen at random if there is none.
    #[xml(el)]
    pub uuid: Option<Uuid>,
    /// All there is. Read only, as the next two.
    pub capacity: Option<Size>,
    /// What is in use, which may be more than the volumes' sum.
    pub allocation: Option<Size>,
    /// What new volumes can take, though perhaps not a single one.
    pub available: Option<Size>,
    /// Since 6.6.0.
    pub features: Option<PoolFeatures>,
    /// Where the storage comes from; a directory needs none.
    pub source: Option<PoolSource>,
    /// Where it appears on the host.
    pub target: Option<PoolTarget>,
    /// For `fs` and `netfs`, without guarantee from libvirt, since 5.1.0.
    #[xml("mount_opts", ns = "fs")]
    pub fs_mount_opts: Option<MountOptions>,
    /// For `rbd`, since 5.2.0.
    pub refresh: Option<PoolRefresh>,
    /// For `rbd`, without guarantee from libvirt, since 5.1.0.
    #[xml("config_opts", ns = "rbd")]
    pub rbd_config_opts: Option<RbdOptions>,
    pub _extra: Extra,
}

/// Features of a pool, since 6.6.0: <https://libvirt.org/formatstorage.html#features>.
#[derive(Clone, Default, Xml)]
pub struct PoolFeatures {
    pub cow: Option<PoolCow>,
    pub _extra: Extra,
}

/// Where a pool's storage comes from: <https://libvirt.org/formatstorage.html#source-elements>.
///
/// On its own it is what `virConnectFindStoragePoolSources` takes (where to look) and gives (what was found).
#[derive(Clone, Default, Xml)]
#[xml(root = "source")]
pub struct PoolSource {
    /// Since 0.8.4, as is `product`.
    pub vendor: Option<Named>,
    pub product: Option<Named>,
    /// Several only with `rbd`.
    pub host: Vec<PoolHost>,
    /// For `fs`, `logical`, `disk`, `iscsi`, `iscsi-direct`, `zfs` and `vstorage`.
    pub device: Vec<PoolDevice>,
    /// For `iscsi`, `iscsi-direct` and `rbd`.
    pub auth: Option<PoolAuth>,
    /// The volume group, RBD pool, Sheepdog or Gluster volume; one.
    pub name: Vec<String>,
    /// For `dir`, `netfs` and `gluster`.
    pub dir: Option<PoolDir>,
    /// For `fs`, `netfs`, `disk` and `logical`; each has a default.
    pub format: Option<PoolFormat>,
    /// For `netfs`, since 5.1.0.
    pub protocol: Option<PoolProtocol>,
    /// For `iscsi-direct`, which needs it, and `iscsi`. Since 4.7.0.
    pub initiator: Option<Initiator>,
    /// For `scsi`.
    pub adapter: Option<ScsiAdapter>,
    pub _extra: Extra,
}

/// What `virConnectFindStoragePoolSources` found, one source for each pool that could be made:
/// <https://libvirt.org/html/libvirt-libvirt-storage.html#virConnectFindStoragePoolSources>.
#[derive(Clone, Default, Xml)]
#[xml(root = "sources")]
pub struct PoolSources {
    pub source: Vec<PoolSource>,
    pub _extra: Extra,
}

/// Where a pool's storage appears on the host: <https://libvirt.org/formatstorage.html#storage-pool-target-elements>.
#[derive(Clone, Default, Xml)]
pub struct PoolTarget {
    /// Absolute. Ignored by `logical`, `zfs` and `mpath`, which know theirs.
    #[xml(el, form = "path")]
    pub path: Option<String>,
    /// Of the directory when the pool is built; `mode` is 0711 unless said otherwise.
    pub permissions: Option<Permissions>,
    pub _extra: Extra,
}

/// Mount options of a file system pool, since 5.1.0: <https://libvirt.org/formatstorage.html#storage-pool-namespaces>.
#[derive(Clone, Default, Xml)]
pub struct MountOptions {
    /// Given to `mount -o` one by one, unchecked.
    #[xml(ns = "fs")]
    pub option: Vec<Named>,
    pub _extra: Extra,
}

/// What a refresh looks at, since 5.2.0: <https://libvirt.org/formatstorage.html#refresh-overrides>.
#[derive(Clone, Default, Xml)]
pub struct PoolRefresh {
    pub volume: Option<RefreshVolume>,
    pub _extra: Extra,
}

/// Options of an RBD pool, since 5.1.0: <https://libvirt.org/formatstorage.html#storage-pool-namespaces>.
#[derive(Clone, Default, Xml)]
pub struct RbdOptions {
    /// Given to `rados_conf_set` one by one, unchecked.
    #[xml(ns = "rbd")]
    pub option: Vec<RbdOption>,
    pub _extra: Extra,
}

/// Whether files are copied on write: <https://libvirt.org/formatstorage.html#features>.
#[derive(Clone, Default, Xml)]
pub struct PoolCow {
    /// Only on btrfs, where libvirt turns it off unless told otherwise.
    pub state: Option<YesNo>,
    pub _extra: Extra,
}

/// A device behind a pool: <https://libvirt.org/formatstorage.html#source-elements>.
#[derive(Clone, Default, Xml)]
#[xml(key = "path")]
pub struct PoolDevice {
    /// A block device, or the qualified name (IQN) of an iSCSI target.
    pub path: Option<String>,
    /// Whether partitions of a multipath device are named with a `p` before the number. Since 1.3.1.
    pub part_separator: Option<YesNo>,
    /// Room for volumes. Read only.
    #[xml("freeExtent")]
    pub free_extent: Vec<Extent>,
    pub _extra: Extra,
}

/// The file system, partition table or metadata of a pool: <https://libvirt.org/formatstorage.html#source-elements>.
#[derive(Clone, Default, Xml)]
pub struct PoolFormat {
    pub r#type: Option<PoolFormatType>,
    pub vendor: Option<Named>,
    pub product: Option<Named>,
    pub _extra: Extra,
}

/// A server behind a pool: <https://libvirt.org/formatstorage.html#source-elements>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct PoolHost {
    /// A name or an address, resolved by whoever connects.
    #[xml(form = "host")]
    pub name: Option<String>,
    /// The protocol's own unless said otherwise.
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    pub _extra: Extra,
}

/// A directory behind a pool: <https://libvirt.org/formatstorage.html#source-elements>.
#[derive(Clone, Default, Xml)]
pub struct PoolDir {
    /// Absolute; for a `cifs` share without the leading slash.
    pub path: Option<String>,
    pub _extra: Extra,
}

/// The version of NFS, since 5.1.0: <https://libvirt.org/formatstorage.html#source-elements>.
#[derive(Clone, Default, Xml)]
pub struct PoolProtocol {
    /// `3`, `4.1`.
    pub ver: Option<String>,
    pub _extra: Extra,
}

/// Who logs in to the storage server, and with which secret: <https://libvirt.org/formatstorage.html#source-elements>.
#[derive(Clone, Default, Xml)]
pub struct PoolAuth {
    /// `chap` for iSCSI (since 1.1.1), `ceph` for RBD (since 0.9.7).
    pub r#type: Option<PoolAuthType>,
    pub username: Option<String>,
    pub secret: Option<PoolSecret>,
    pub _extra: Extra,
}

/// How a refresh finds out how much a volume takes: <https://libvirt.org/formatstorage.html#refresh-overrides>.
#[derive(Clone, Default, Xml)]
pub struct RefreshVolume {
    /// `capacity` saves the work where counting is expensive.
    pub allocation: Option<RefreshVolumeAllocation>,
    pub _extra: Extra,
}

/// One option of an RBD pool: <https://libvirt.org/formatstorage.html#storage-pool-namespaces>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct RbdOption {
    pub name: Option<String>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A range of bytes on a device: <https://libvirt.org/formatstorage.html#device-extents>.
#[derive(Clone, Default, Xml)]
#[xml(key = "start")]
pub struct Extent {
    /// In bytes.
    pub start: Option<u64>,
    /// In bytes.
    pub end: Option<u64>,
    pub _extra: Extra,
}

/// The secret object that holds the password, by uuid or usage: <https://libvirt.org/formatsecret.html>.
#[derive(Clone, Default, Xml)]
pub struct PoolSecret {
    /// Of the secret.
    pub uuid: Option<String>,
    /// What the secret says of itself.
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
