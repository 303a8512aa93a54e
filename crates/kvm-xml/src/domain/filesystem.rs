//! Host directories inside the guest.

use super::{Address, Alias, DeviceAcpi, DeviceBoot, DiskFormat, VirtioModel};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Mode, OnOff, Size, Unit};
use kvm_xml_derive::Xml;

/// Maps of user and group ids into a container: <https://libvirt.org/formatdomain.html#container-boot>.
#[derive(Clone, Default, Xml)]
pub struct Idmap {
    pub uid: Vec<IdmapEntry>,
    pub gid: Vec<IdmapEntry>,
    pub _extra: Extra,
}

/// One range of ids: <https://libvirt.org/formatdomain.html#container-boot>.
#[derive(Clone, Default, Xml)]
#[xml(key = "start")]
pub struct IdmapEntry {
    /// The first id inside; 0 for a container.
    pub start: Option<u32>,
    /// The first id on the host.
    pub target: Option<u32>,
    pub count: Option<u32>,
    pub _extra: Extra,
}

/// A host directory inside the guest: <https://libvirt.org/formatdomain.html#filesystems>.
///
/// With virtiofs (`driver.type`), the memory must be shared: `memory_backing.access` `Shared`. A Linux guest mounts it by
/// `mount -t virtiofs TAG DIR`, and 9p by `mount -t 9p -o trans=virtio TAG DIR`.
#[derive(Clone, Default, Xml)]
#[xml(root = "filesystem", key = "target.dir")]
pub struct Filesystem {
    /// Since 5.2.0.
    pub model: Option<VirtioModel>,
    /// `Mount` (default) for virtual machines; the others are for containers.
    pub r#type: Option<FilesystemType>,
    /// 9p: `Passthrough` keeps owners and needs rights, `Mapped` stores them beside the file, `Squash` ignores
    /// failures. virtiofs: `Passthrough`. Since 0.8.5.
    pub accessmode: Option<FilesystemAccessmode>,
    /// 9p: what happens when the directory spans several host filesystems. Since 6.3.0.
    pub multidevs: Option<FilesystemMultidevs>,
    /// 9p with `Mapped`: of new files, default 0600. Since 6.10.0.
    pub fmode: Option<Mode>,
    /// 9p with `Mapped`: of new directories, default 0700. Since 6.10.0.
    pub dmode: Option<Mode>,
    pub driver: Option<FilesystemDriver>,
    pub source: Option<FilesystemSource>,
    pub target: Option<FilesystemTarget>,
    /// Default writable. virtiofs since 11.0.0.
    pub readonly: bool,
    pub boot: Option<DeviceBoot>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    /// OpenVZ. Bytes unless `unit` says otherwise. Since 0.9.13.
    pub space_hard_limit: Option<Size>,
    /// OpenVZ: may be exceeded for a while. Bytes unless `unit` says otherwise. Since 0.9.13.
    pub space_soft_limit: Option<Size>,
    /// virtiofs only.
    pub binary: Option<VirtiofsdBinary>,
    /// virtiofs only. Since 10.0.0.
    pub idmap: Option<Idmap>,
    pub _extra: Extra,
}

/// How the hypervisor handles a filesystem: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
pub struct FilesystemDriver {
    /// `Virtiofs` (since 6.2.0) is faster than `Path`, which is 9p; `Mtp` is a USB device (since 10.2.0); `Loop` and
    /// `Nbd` are for containers.
    pub r#type: Option<FilesystemDriverType>,
    /// Containers: the image's format.
    pub format: Option<DiskFormat>,
    /// 9p: `Immediate` writes to the host's disk at once. Since 0.9.10.
    pub wrpolicy: Option<FilesystemDriverWrpolicy>,
    /// See [`VirtioDriver`](super::VirtioDriver).
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    /// virtiofs: how many requests fit. Since 6.2.0.
    pub queue: Option<u32>,
    pub _extra: Extra,
}

/// What is shared with the guest: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
pub struct FilesystemSource {
    #[xml(form = "path")]
    pub file: Option<String>,
    #[xml(form = "path")]
    pub dev: Option<String>,
    /// `Mount` and `Bind`: the absolute path on the host.
    #[xml(form = "path")]
    pub dir: Option<String>,
    /// virtiofs: of a daemon started by someone else; then most other fields do not count.
    #[xml(form = "path")]
    pub socket: Option<String>,
    /// `Template` only.
    #[xml(form = "word")]
    pub name: Option<String>,
    /// `Ram`: the limit; KiB unless `units` says otherwise.
    pub usage: Option<u64>,
    pub units: Option<Unit>,
    pub _extra: Extra,
}

/// The mount tag, or the path inside a container: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
pub struct FilesystemTarget {
    /// For a virtual machine only a tag that the guest mounts by.
    pub dir: Option<String>,
    pub _extra: Extra,
}

/// The virtiofs daemon and its options: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdBinary {
    #[xml(form = "path")]
    pub path: Option<String>,
    /// Extended attributes.
    pub xattr: Option<OnOff>,
    pub cache: Option<VirtiofsdCache>,
    /// Since 7.2.0.
    pub sandbox: Option<VirtiofsdSandbox>,
    pub lock: Option<VirtiofsdLock>,
    /// Since 8.5.0.
    pub thread_pool: Option<VirtiofsdThreadPool>,
    /// Since 10.6.0.
    pub openfiles: Option<VirtiofsdOpenFiles>,
    pub _extra: Extra,
}

/// The cache of the virtiofs daemon: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdCache {
    pub mode: Option<VirtiofsdCacheMode>,
    pub _extra: Extra,
}

/// The sandbox of the virtiofs daemon: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdSandbox {
    pub mode: Option<VirtiofsdSandboxMode>,
    pub _extra: Extra,
}

/// Which locks the virtiofs daemon passes through: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdLock {
    pub posix: Option<OnOff>,
    pub flock: Option<OnOff>,
    pub _extra: Extra,
}

/// The threads of the virtiofs daemon: <https://libvirt.org/formatdomain.html#filesystems>.
#[derive(Clone, Default, Xml)]
pub struct VirtiofsdThreadPool {
    /// 0 means none; some help slow storage.
    pub size: Option<u32>,
    pub _extra: Extra,
}

/// How many files the virtiofs daemon may open: <https://libvirt.org/formatdomain.html#filesystems>.
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
