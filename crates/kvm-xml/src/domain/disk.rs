//! Disks.

use super::{
    Address, Alias, BackendDomain, BackingStore, DeviceAcpi, DeviceBoot, DiskSource, DiskType, ImageFormat, Iotune,
    MetadataCache,
};
use crate::common::{Auth, Encryption};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{DiskName, OnOff, Wwn, YesNo};
use kvm_xml_derive::Xml;

/// A disk, CD-ROM, floppy or LUN: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
///
/// What makes a plain disk: `type`, `device`, `driver.type`, `source`, `target`. An empty CD-ROM drive has no `source`.
#[derive(Clone, Default, Xml)]
#[xml(root = "disk", key = "target.dev")]
pub struct Disk {
    /// Decides which fields of `source` count: `File` its `file`, `Block` its `dev`, `Dir` its `dir`, `Network` its
    /// `protocol`, `name` and `host`, `Volume` its `pool` and `volume`.
    pub r#type: Option<DiskType>,
    /// Default [`DiskDevice::Disk`]. `Lun` hands SCSI commands of the guest on to a whole block device or iSCSI unit.
    pub device: Option<DiskDevice>,
    /// The hypervisor may send any SCSI command. Only with `device` `Lun`; QEMU gives the right to all disks of the
    /// guest. Default no. Since 0.9.10.
    pub rawio: Option<YesNo>,
    /// Whether the host filters the guest's SCSI commands. Only with `device` `Lun`; default `Filtered`. Since 1.0.2.
    pub sgio: Option<Sgio>,
    /// Only on the virtio bus. Since 5.2.0.
    pub model: Option<VirtioModel>,
    /// What a snapshot of the domain does with this disk; `No` is the default of read-only disks. Since 0.9.5.
    pub snapshot: Option<DiskSnapshot>,
    pub driver: Option<DiskDriver>,
    /// libvirt prefers it inside `source` (since 3.9.0); it may not be in both places.
    pub auth: Option<Auth>,
    pub source: Option<DiskSource>,
    /// The chain of images below `source`. libvirt reports it of a running guest; in a new document it overrides what
    /// the image says of its base. Since 1.2.4, read since 5.10.0.
    #[xml("backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    /// Set by libvirt while a block copy or commit runs; ignored in new documents.
    pub mirror: Option<Box<Mirror>>,
    pub target: Option<DiskTarget>,
    /// The guest cannot write. CD-ROM drives are so by default.
    pub readonly: bool,
    /// Seen by the guest. Truncated without a word: often to 20 characters on IDE and SATA, to 20, 36 or 247 on SCSI.
    #[xml(el)]
    pub serial: Option<String>,
    /// Not together with `os.boot`. Since 0.8.8.
    pub boot: Option<DeviceBoot>,
    /// The driver domain that has the image. Xen only. Since 1.2.13.
    pub backenddomain: Option<BackendDomain>,
    /// Several guests may write at once; use it with a cluster filesystem and without cache.
    pub shareable: bool,
    /// Writes are thrown away when the guest stops. QEMU since 6.9.0; prevents migration and snapshots.
    pub transient: Option<Transient>,
    /// libvirt prefers it inside `source` (since 3.9.0).
    pub encryption: Option<Encryption>,
    /// Limits shared with other disks; instead of `iotune`. QEMU, since 11.2.0.
    pub throttlefilters: Option<ThrottleFilters>,
    /// Limits of this disk alone; `blkiotune` of the domain works on host devices. Since 0.9.8.
    pub iotune: Option<Iotune>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    /// For s390 DASD and very old systems. Since 0.10.0.
    pub geometry: Option<Geometry>,
    pub blockio: Option<BlockIo>,
    /// Seen by the guest. Since 0.10.1.
    #[xml(el)]
    pub wwn: Option<Wwn>,
    /// At most 8 printable characters, on SCSI. Since 1.0.1.
    #[xml(el)]
    pub vendor: Option<String>,
    /// At most 16 printable characters on SCSI (since 1.0.1), 40 on SATA and IDE (since 11.1.0).
    #[xml(el)]
    pub product: Option<String>,
    pub _extra: Extra,
}

/// How the hypervisor handles a disk: format, cache, discard, queues: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct DiskDriver {
    /// `qemu` for QEMU; `tap`, `tap2`, `phy` or `file` for Xen.
    #[xml(form = "word")]
    pub name: Option<String>,
    /// The image's format. libvirt does not guess: absent means raw, and a qcow2 file is then read as raw bytes.
    pub r#type: Option<DiskFormat>,
    /// `None` bypasses the host's page cache and is what live migration wants; `Writeback` uses it and honours flushes;
    /// `Writethrough` flushes each write; `Directsync` is both bypass and flush; `Unsafe` ignores the guest's flushes.
    pub cache: Option<DiskCache>,
    /// What a failed read or write does; `Enospace` stops the guest on a full disk only. The hypervisor's default if
    /// absent.
    pub error_policy: Option<DiskErrorPolicy>,
    /// For reads, instead of `error_policy`. Since 0.9.7.
    pub rerror_policy: Option<DiskReadErrorPolicy>,
    /// `Native` needs `cache` `None` or `Directsync`. `IoUring` since 6.3.0.
    pub io: Option<DiskIo>,
    /// A thread of its own takes requests, so that the guest runs on. Leave it to the hypervisor unless measured. Since
    /// 0.9.3.
    pub ioeventfd: Option<OnOff>,
    /// Fewer interrupts. Leave it to the hypervisor unless measured. Since 0.9.5.
    pub event_idx: Option<OnOff>,
    /// What is read from the backing image is copied up; default off. Since 0.9.10.
    pub copy_on_read: Option<OnOff>,
    /// `Unmap` frees on the host what the guest trims; `Ignore` does not. Since 1.0.6.
    pub discard: Option<DiskDiscard>,
    /// The number of the I/O thread, from 1; virtio bus only. Since 1.2.8.
    pub iothread: Option<u32>,
    /// Costs CPU time, saves space; `Unmap` frees zeroed areas and needs `discard` `Unmap`. Since 2.0.0.
    pub detect_zeroes: Option<DetectZeroes>,
    /// qcow2: keeps the cluster's place on discard, against fragmentation. Since 9.5.0.
    pub discard_no_unref: Option<OnOff>,
    /// virtio and vhost-user only; the hypervisor's default is one for each virtual CPU on newer machine types. Since
    /// 3.9.0.
    #[xml(min = 1)]
    pub queues: Option<u32>,
    /// Requests that fit into a queue; virtio and vhost-user only. Since 7.8.0.
    #[xml(min = 1)]
    pub queue_size: Option<u32>,
    /// See [`VirtioDriver`](super::VirtioDriver).
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    /// The memory for qcow2's tables, of the topmost image only. Since 7.0.0.
    pub metadata_cache: Option<MetadataCache>,
    /// Several threads for one virtio disk; instead of `iothread`. Since 10.0.0.
    pub iothreads: Option<DiskIothreads>,
    pub _extra: Extra,
}

/// The copy or commit that runs on a disk: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Mirror {
    /// What older versions wrote instead of `source`.
    #[xml(form = "path")]
    pub file: Option<String>,
    /// What older versions wrote instead of the element.
    pub format: Option<DiskFormat>,
    /// The call that started it. Since 1.2.7.
    pub job: Option<MirrorJob>,
    pub r#type: Option<DiskType>,
    /// Absent while data is still copied; `Yes` when the job can be completed; `Abort` or `Pivot` while it ends.
    pub ready: Option<MirrorReady>,
    pub source: Option<DiskSource>,
    #[xml("format")]
    pub format_el: Option<ImageFormat>,
    #[xml("backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    pub _extra: Extra,
}

/// Where the guest sees a disk; `dev` is unique within a guest: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct DiskTarget {
    /// A name for libvirt's commands and an order for the guest's devices; the guest's kernel names them itself.
    pub dev: Option<DiskName>,
    /// Guessed from `dev` if absent: `vd` is virtio, `sd` SCSI, `hd` IDE, `fd` a floppy drive.
    pub bus: Option<DiskBus>,
    /// CD-ROM and floppy; default `Closed`. Changes while the guest runs. Since 0.9.11.
    pub tray: Option<Tray>,
    /// USB and SCSI; default off. Since 1.1.3.
    pub removable: Option<OnOff>,
    /// SCSI, IDE and SATA: 1 for solid state, 1025 to 65534 for revolutions per minute. Since 7.3.0.
    #[xml(min = 1)]
    pub rotation_rate: Option<u32>,
    pub _extra: Extra,
}

/// Changes to the disk are thrown away when the guest stops: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Transient {
    /// The image is shared with other running guests; the disk is then plugged in after start. Since 7.4.0.
    #[xml("shareBacking")]
    pub share_backing: Option<YesNo>,
    pub _extra: Extra,
}

/// The throttle groups a disk goes through: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct ThrottleFilters {
    pub throttlefilter: Vec<ThrottleFilter>,
    pub _extra: Extra,
}

/// Cylinders, heads and sectors as the guest sees them: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Geometry {
    pub cyls: Option<u32>,
    pub heads: Option<u32>,
    /// Sectors per track.
    pub secs: Option<u32>,
    /// How the BIOS translates.
    pub trans: Option<GeometryTrans>,
    pub _extra: Extra,
}

/// Block sizes as the guest sees them, in bytes, since 0.10.2: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct BlockIo {
    /// The smallest unit of I/O: 512 unless set.
    pub logical_block_size: Option<u32>,
    /// The sector size that the guest aligns to.
    pub physical_block_size: Option<u32>,
    /// A multiple of `logical_block_size`.
    pub discard_granularity: Option<u32>,
    pub _extra: Extra,
}

/// I/O threads that share the queues of a device: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct DiskIothreads {
    pub iothread: Vec<DiskIothread>,
    pub _extra: Extra,
}

/// One throttle group by name: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
#[xml(key = "group")]
pub struct ThrottleFilter {
    /// The `group_name` of one of the domain's `throttlegroups`.
    pub group: Option<String>,
    pub _extra: Extra,
}

/// One I/O thread and its queues: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct DiskIothread {
    pub id: Option<u32>,
    /// Which queues it serves; if one thread says so, all queues of the device must be given out.
    pub queue: Vec<IothreadQueue>,
    pub _extra: Extra,
}

/// One queue: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct IothreadQueue {
    /// From 0.
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
    /// What `model` of [`Disk`], [`Filesystem`](crate::domain::Filesystem), [`Input`](crate::domain::Input),
    /// [`Rng`](crate::domain::Rng) and [`Vsock`](crate::domain::Vsock) can be.
    ///
    /// `VirtioTransitional` also works with drivers of virtio 0.9 and sits on conventional PCI, `VirtioNonTransitional`
    /// needs virtio 1.0; `Virtio` leaves it to libvirt ([virtio device
    /// models](https://libvirt.org/formatdomain.html#virtio-device-models)).
    pub enum VirtioModel {
        Virtio = "virtio", VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional",
    }
    /// What `snapshot` of [`Disk`] can be.
    pub enum DiskSnapshot {
        No = "no", Internal = "internal", External = "external", Manual = "manual",
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
}
