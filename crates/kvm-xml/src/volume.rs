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
    pub r#type: Option<VolumeType>,
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub key: Option<String>,
    pub source: Option<VolumeSource>,
    pub capacity: Option<Size>,
    pub allocation: Option<Size>,
    pub physical: Option<Size>,
    pub target: Option<VolumeTarget>,
    #[xml("backingStore")]
    pub backing_store: Option<VolumeBackingStore>,
    pub _extra: Extra,
}

/// Where a volume's bytes are on its devices: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct VolumeSource {
    pub device: Vec<VolumeDevice>,
    pub _extra: Extra,
}

/// Where and how a volume is stored: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct VolumeTarget {
    #[xml(el)]
    pub path: Option<String>,
    pub format: Option<VolumeFormat>,
    pub permissions: Option<Permissions>,
    pub timestamps: Option<Timestamps>,
    pub encryption: Option<Encryption>,
    #[xml(el)]
    pub compat: Option<Compat>,
    pub nocow: bool,
    #[xml("clusterSize")]
    pub cluster_size: Option<Size>,
    pub features: Option<VolumeFeatures>,
    pub _extra: Extra,
}

/// The volume below: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct VolumeBackingStore {
    #[xml(el)]
    pub path: Option<String>,
    pub format: Option<VolumeFormat>,
    pub permissions: Option<Permissions>,
    pub timestamps: Option<Timestamps>,
    pub _extra: Extra,
}

/// One device that holds a volume's bytes: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct VolumeDevice {
    pub path: Option<String>,
    pub extent: Vec<Extent>,
    pub _extra: Extra,
}

/// The format of a volume: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct VolumeFormat {
    pub r#type: Option<VolumeFormatType>,
    pub _extra: Extra,
}

/// Seconds since 1970, with nanoseconds: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct Timestamps {
    #[xml(el)]
    pub atime: Option<Timestamp>,
    #[xml(el)]
    pub btime: Option<Timestamp>,
    #[xml(el)]
    pub mtime: Option<Timestamp>,
    #[xml(el)]
    pub ctime: Option<Timestamp>,
    pub _extra: Extra,
}

/// Features of a qcow2 image: <https://libvirt.org/formatstorage.html>.
#[derive(Clone, Default, Xml)]
pub struct VolumeFeatures {
    pub lazy_refcounts: bool,
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
