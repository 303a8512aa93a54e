//! Storage volumes.

use crate::common::{Encryption, Permissions};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::pool::Extent;
use crate::value::{Compat, Size, Timestamp};
use kvm_xml_derive::Xml;

/// A storage volume: <https://libvirt.org/formatstorage.html#storage-volume-xml>.
#[derive(Clone, Default, Xml)]
#[xml(root = "volume")]
pub struct StorageVolume {
    /// Read only, since 1.2.0.
    pub r#type: Option<VolumeType>,
    /// Unique in its pool. In a `disk` pool that of the next partition, `sdb1`.
    #[xml(el, form = "object")]
    pub name: Option<String>,
    /// Read only.
    #[xml(el)]
    pub key: Option<String>,
    /// Read only, and not for all pools.
    pub source: Option<VolumeSource>,
    /// What the guest sees. Needed to create a volume.
    pub capacity: Option<Size>,
    /// What it takes on the host. Less than `capacity` asks for a sparse volume; absent, all is allocated at once.
    pub allocation: Option<Size>,
    /// The size of the file or device on the host. Read only, since 3.0.0.
    pub physical: Option<Size>,
    pub target: Option<VolumeTarget>,
    /// The volume that this one has only the differences to.
    #[xml("backingStore")]
    pub backing_store: Option<VolumeBackingStore>,
    pub _extra: Extra,
}

/// Where a volume's bytes are on its devices: <https://libvirt.org/formatstorage.html#storage-volume-general-metadata>.
#[derive(Clone, Default, Xml)]
pub struct VolumeSource {
    pub device: Vec<VolumeDevice>,
    pub _extra: Extra,
}

/// Where and how a volume is stored: <https://libvirt.org/formatstorage.html#storage-volume-target-elements>.
#[derive(Clone, Default, Xml)]
pub struct VolumeTarget {
    /// Absolute. Read only.
    #[xml(el)]
    pub path: Option<String>,
    /// The pool's default if there is none.
    pub format: Option<VolumeFormat>,
    /// For files; `mode` is 0600 unless said otherwise.
    pub permissions: Option<Permissions>,
    /// Read only, since 0.10.0.
    pub timestamps: Option<Timestamps>,
    pub encryption: Option<Encryption>,
    /// The version of qcow2: `0.10`, or `1.1` for all newer features. Since 1.1.0.
    #[xml(el)]
    pub compat: Option<Compat>,
    /// Turns copy on write of btrfs off for this file. Since 1.2.7.
    pub nocow: bool,
    /// Of qcow2. Since 7.4.0.
    #[xml("clusterSize")]
    pub cluster_size: Option<Size>,
    pub features: Option<VolumeFeatures>,
    pub _extra: Extra,
}

/// The volume below: <https://libvirt.org/formatstorage.html#backing-store-elements>.
#[derive(Clone, Default, Xml)]
pub struct VolumeBackingStore {
    /// Absolute.
    #[xml(el, form = "path")]
    pub path: Option<String>,
    pub format: Option<VolumeFormat>,
    pub permissions: Option<Permissions>,
    pub timestamps: Option<Timestamps>,
    pub _extra: Extra,
}

/// One device that holds a volume's bytes: <https://libvirt.org/formatstorage.html#device-extents>.
#[derive(Clone, Default, Xml)]
pub struct VolumeDevice {
    /// The block device.
    #[xml(form = "path")]
    pub path: Option<String>,
    pub extent: Vec<Extent>,
    pub _extra: Extra,
}

/// The format of a volume: <https://libvirt.org/formatstorage.html#storage-volume-target-elements>.
///
/// Files have image formats, partitions those of a partition table; <https://libvirt.org/storage.html> says which pool
/// takes which.
#[derive(Clone, Default, Xml)]
pub struct VolumeFormat {
    pub r#type: Option<VolumeFormatType>,
    pub _extra: Extra,
}

/// Seconds since 1970, with nanoseconds: <https://libvirt.org/formatstorage.html#storage-volume-target-elements>.
#[derive(Clone, Default, Xml)]
pub struct Timestamps {
    /// Of the last reading.
    #[xml(el)]
    pub atime: Option<Timestamp>,
    /// Of the creation.
    #[xml(el)]
    pub btime: Option<Timestamp>,
    /// Of the last writing.
    #[xml(el)]
    pub mtime: Option<Timestamp>,
    /// Of the last change of name, owner or permissions.
    #[xml(el)]
    pub ctime: Option<Timestamp>,
    pub _extra: Extra,
}

/// Features of a qcow2 image: <https://libvirt.org/formatstorage.html#storage-volume-target-elements>.
#[derive(Clone, Default, Xml)]
pub struct VolumeFeatures {
    /// Reference counts are written late: quicker, but a check is due after a crash. Needs `compat` 1.1.
    pub lazy_refcounts: bool,
    /// Clusters are allocated in parts. Needs `compat` 1.1.
    pub extended_l2: bool,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`StorageVolume`] can be.
    pub enum VolumeType {
        File = "file", Block = "block", Dir = "dir", Network = "network", Netdir = "netdir",
    }
    /// What `type` of [`VolumeFormat`] can be.
    pub enum VolumeFormatType {
        Unknown = "unknown", Raw = "raw", Dir = "dir", Bochs = "bochs", Cloop = "cloop", Dmg = "dmg", Iso = "iso",
        Vpc = "vpc", Vdi = "vdi", Fat = "fat", Vhd = "vhd", Ploop = "ploop", Luks = "luks", Cow = "cow",
        Qcow = "qcow", Qcow2 = "qcow2", Qed = "qed", Vmdk = "vmdk", None = "none", Auto = "auto", Ext2 = "ext2",
        Ext3 = "ext3", Ext4 = "ext4", Ufs = "ufs", Iso9660 = "iso9660", Udf = "udf", Gfs = "gfs", Gfs2 = "gfs2",
        Vfat = "vfat", HfsPlus = "hfs+", Xfs = "xfs", Ocfs2 = "ocfs2", Vmfs = "vmfs", Linux = "linux",
        Fat16 = "fat16", Fat32 = "fat32", LinuxSwap = "linux-swap", LinuxLvm = "linux-lvm", LinuxRaid = "linux-raid",
        Extended = "extended",
    }
}
