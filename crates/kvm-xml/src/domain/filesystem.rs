//! Host directories inside the guest.

use super::{Address, Alias, DeviceAcpi, DeviceBoot, DiskFormat, VirtioModel};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Mode, OnOff, Size, Unit};
use kvm_xml_derive::Xml;

/// Maps of user and group ids into a container.
#[derive(Clone, Default, Xml)]
pub struct Idmap {
    pub uid: Vec<IdmapEntry>,
    pub gid: Vec<IdmapEntry>,
    pub _extra: Extra,
}

/// One range of ids.
#[derive(Clone, Default, Xml)]
pub struct IdmapEntry {
    pub start: Option<u32>,
    pub target: Option<u32>,
    pub count: Option<u32>,
    pub _extra: Extra,
}

/// A host directory inside the guest: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
#[xml(root = "filesystem", key = "target.dir")]
pub struct Filesystem {
    pub model: Option<VirtioModel>,
    pub r#type: Option<FilesystemType>,
    pub accessmode: Option<FilesystemAccessmode>,
    pub multidevs: Option<FilesystemMultidevs>,
    pub fmode: Option<Mode>,
    pub dmode: Option<Mode>,
    pub driver: Option<FilesystemDriver>,
    pub source: Option<FilesystemSource>,
    pub target: Option<FilesystemTarget>,
    pub readonly: bool,
    pub boot: Option<DeviceBoot>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub space_hard_limit: Option<Size>,
    pub space_soft_limit: Option<Size>,
    pub binary: Option<VirtiofsdBinary>,
    pub idmap: Option<Idmap>,
    pub _extra: Extra,
}

/// How the hypervisor handles a filesystem.
#[derive(Clone, Default, Xml)]
pub struct FilesystemDriver {
    pub r#type: Option<FilesystemDriverType>,
    pub format: Option<DiskFormat>,
    pub wrpolicy: Option<FilesystemDriverWrpolicy>,
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    pub queue: Option<u32>,
    pub _extra: Extra,
}

/// What is shared with the guest.
#[derive(Clone, Default, Xml)]
pub struct FilesystemSource {
    pub file: Option<String>,
    pub dev: Option<String>,
    pub dir: Option<String>,
    pub socket: Option<String>,
    pub name: Option<String>,
    pub usage: Option<u64>,
    pub units: Option<Unit>,
    pub _extra: Extra,
}

/// The mount tag, or the path inside a container.
#[derive(Clone, Default, Xml)]
pub struct FilesystemTarget {
    pub dir: Option<String>,
    pub _extra: Extra,
}

/// The virtiofs daemon and its options.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdBinary {
    pub path: Option<String>,
    pub xattr: Option<OnOff>,
    pub cache: Option<VirtiofsdCache>,
    pub sandbox: Option<VirtiofsdSandbox>,
    pub lock: Option<VirtiofsdLock>,
    pub thread_pool: Option<VirtiofsdThreadPool>,
    pub openfiles: Option<VirtiofsdOpenFiles>,
    pub _extra: Extra,
}

/// The cache of the virtiofs daemon.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdCache {
    pub mode: Option<VirtiofsdCacheMode>,
    pub _extra: Extra,
}

/// The sandbox of the virtiofs daemon.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdSandbox {
    pub mode: Option<VirtiofsdSandboxMode>,
    pub _extra: Extra,
}

/// Which locks the virtiofs daemon passes through.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdLock {
    pub posix: Option<OnOff>,
    pub flock: Option<OnOff>,
    pub _extra: Extra,
}

/// The threads of the virtiofs daemon.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdThreadPool {
    pub size: Option<u32>,
    pub _extra: Extra,
}

/// How many files the virtiofs daemon may open.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdOpenFiles {
    #[xml(min = 1)]
    pub max: Option<u32>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Filesystem`] can be.
    pub enum FilesystemType {
        File = "file", Block = "block", Mount = "mount", Bind = "bind", Template = "template", Ram = "ram",
    }
    /// What `accessmode` of [`Filesystem`] can be.
    pub enum FilesystemAccessmode {
        Passthrough = "passthrough", Mapped = "mapped", Squash = "squash",
    }
    /// What `multidevs` of [`Filesystem`] can be.
    pub enum FilesystemMultidevs {
        Default = "default", Remap = "remap", Forbid = "forbid", Warn = "warn",
    }
    /// What `type` of [`FilesystemDriver`] can be.
    pub enum FilesystemDriverType {
        Path = "path", Handle = "handle", Loop = "loop", Nbd = "nbd", Ploop = "ploop", Virtiofs = "virtiofs",
        Mtp = "mtp",
    }
    /// What `wrpolicy` of [`FilesystemDriver`] can be.
    pub enum FilesystemDriverWrpolicy {
        Immediate = "immediate",
    }
    /// What `mode` of [`VirtiofsdCache`] can be.
    pub enum VirtiofsdCacheMode {
        None = "none", Always = "always",
    }
    /// What `mode` of [`VirtiofsdSandbox`] can be.
    pub enum VirtiofsdSandboxMode {
        Namespace = "namespace", Chroot = "chroot",
    }
}
