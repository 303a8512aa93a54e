//! The devices, and those that need no file of their own.

use super::{
    Address, Audio, Channel, CharLog, CharProtocol, CharSource, CharType, Controller, Disk, Filesystem, Graphics,
    Hostdev, Input, Interface, MemoryDevice, Redirdev, Redirfilter, Serial, Smartcard, Sound, Tpm, Video, VirtioModel,
};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Memory, OnOff, Size, YesNo};
use kvm_xml_derive::Xml;

/// Everything plugged into the guest: <https://libvirt.org/formatdomain.html#devices>.
#[derive(Clone, Default, Xml)]
pub struct Devices {
    /// The absolute path of the hypervisor's program; the host's capabilities name the usual one, which libvirt takes
    /// if absent.
    #[xml(el, form = "path")]
    pub emulator: Option<String>,
    pub disk: Vec<Disk>,
    pub controller: Vec<Controller>,
    pub lease: Vec<Lease>,
    pub filesystem: Vec<Filesystem>,
    pub interface: Vec<Interface>,
    pub smartcard: Vec<Smartcard>,
    pub serial: Vec<Serial>,
    pub parallel: Vec<Serial>,
    /// The first one may be the first serial port once more; see [`Serial`].
    pub console: Vec<Serial>,
    pub channel: Vec<Channel>,
    pub input: Vec<Input>,
    /// QEMU takes one, and an `SpaprTpmProxy` beside it.
    pub tpm: Vec<Tpm>,
    pub graphics: Vec<Graphics>,
    pub sound: Vec<Sound>,
    pub audio: Vec<Audio>,
    /// The first is the primary one, unless another says so.
    pub video: Vec<Video>,
    pub hostdev: Vec<Hostdev>,
    pub redirdev: Vec<Redirdev>,
    pub redirfilter: Vec<Redirfilter>,
    pub hub: Vec<Hub>,
    /// q35 machines have an `Itco` one from the start.
    pub watchdog: Vec<Watchdog>,
    /// Added by libvirt; `model` `None` prevents it.
    pub memballoon: Option<Memballoon>,
    pub rng: Vec<Rng>,
    pub nvram: Option<NvramDevice>,
    /// Added by libvirt on pSeries and s390.
    pub panic: Vec<Panic>,
    pub shmem: Vec<Shmem>,
    pub memory: Vec<MemoryDevice>,
    /// QEMU takes one.
    pub iommu: Option<Iommu>,
    pub vsock: Option<Vsock>,
    /// Since 9.0.0.
    pub crypto: Vec<Crypto>,
    /// Since 10.6.0.
    pub pstore: Option<Pstore>,
    pub _extra: Extra,
}

/// A lease the guest must hold to run: <https://libvirt.org/formatdomain.html#device-leases>.
#[derive(Clone, Default, Xml)]
#[xml(root = "lease", key = "key")]
pub struct Lease {
    /// Unique in its lock space.
    #[xml(el)]
    pub key: Option<String>,
    /// As the lock manager names it.
    #[xml(el)]
    pub lockspace: Option<String>,
    pub target: Option<LeaseTarget>,
    pub _extra: Extra,
}

/// A USB hub: <https://libvirt.org/formatdomain.html#hub-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "hub")]
pub struct Hub {
    pub r#type: Option<UsbBus>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A random number generator: <https://libvirt.org/formatdomain.html#random-number-generator-device>.
///
/// Since 1.0.3.
#[derive(Clone, Default, Xml)]
#[xml(root = "rng")]
pub struct Rng {
    /// Needed; [`VirtioModel::Virtio`] is the usual one.
    pub model: Option<VirtioModel>,
    pub backend: Option<RngBackend>,
    pub driver: Option<VirtioDriver>,
    /// Without one, the guest takes as much as it wants. Since 1.0.4.
    pub rate: Option<RngRate>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// Memory shared with other guests: <https://libvirt.org/formatdomain.html#shared-memory-device>.
///
/// Since 1.2.10.
#[derive(Clone, Default, Xml)]
#[xml(root = "shmem", key = "name")]
pub struct Shmem {
    /// The same in all guests that share it; no `/`.
    pub name: Option<String>,
    /// `Master` takes the content along on migration, one guest at most; `Peer` cannot be migrated. Since 6.6.0.
    pub role: Option<ShmemRole>,
    /// `IvshmemPlain` without a server, `IvshmemDoorbell` with one.
    pub model: Option<ShmemModel>,
    /// A power of two, at least 1 MiB; bytes unless `unit` says otherwise.
    pub size: Option<Size>,
    /// The default path is under `/var/lib/libvirt/shmem`.
    pub server: Option<PathOnly>,
    /// With `server` only.
    pub msi: Option<ShmemMsi>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A virtio crypto device: <https://libvirt.org/formatdomain.html#crypto>.
#[derive(Clone, Default, Xml)]
#[xml(root = "crypto")]
pub struct Crypto {
    pub model: Option<CryptoModel>,
    pub r#type: Option<CryptoType>,
    /// Needed.
    pub backend: Option<CryptoBackend>,
    pub driver: Option<VirtioDriver>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A watchdog: <https://libvirt.org/formatdomain.html#watchdog-devices>.
///
/// Does nothing until a program in the guest feeds it. Since 0.7.3.
#[derive(Clone, Default, Xml)]
#[xml(root = "watchdog")]
pub struct Watchdog {
    /// `Itco` for q35 (since 9.1.0), `I6300esb` elsewhere on PCI, `Ib700` on ISA, `Diag288` on s390.
    pub model: Option<WatchdogModel>,
    /// Default `Reset`. `Shutdown` asks a guest that no longer answers, so libvirt advises against it.
    pub action: Option<WatchdogAction>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// The memory balloon: <https://libvirt.org/formatdomain.html#memory-balloon-device>.
///
/// It gives memory back to the host down to `current_memory`. Since 0.8.3.
#[derive(Clone, Default, Xml)]
#[xml(root = "memballoon")]
pub struct Memballoon {
    pub model: Option<MemballoonModel>,
    /// The guest gets memory back before it kills a process. Since 1.3.1.
    pub autodeflate: Option<OnOff>,
    /// Pages that the guest does not use go back to the host. Since 6.9.0.
    #[xml("freePageReporting")]
    pub free_page_reporting: Option<OnOff>,
    /// Without a period there are no statistics from inside the guest. Since 1.1.1.
    pub stats: Option<BalloonStats>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub driver: Option<VirtioDriver>,
    pub _extra: Extra,
}

/// The NVRAM device of pSeries guests: <https://libvirt.org/formatdomain.html#nvram-device>.
///
/// Only to set its address. Since 1.0.5.
#[derive(Clone, Default, Xml)]
#[xml(root = "nvram")]
pub struct NvramDevice {
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// How the guest tells that it has crashed: <https://libvirt.org/formatdomain.html#panic-device>.
///
/// `on_crash` says what happens then. Since 1.2.1.
#[derive(Clone, Default, Xml)]
#[xml(root = "panic")]
pub struct Panic {
    /// `Isa` on x86 (default there), `Pvpanic` on PCI (since 9.1.0), `Hyperv` for Windows (since 1.3.0).
    pub model: Option<PanicModel>,
    pub alias: Option<Alias>,
    /// Better left out: I/O port 0x505.
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// The guest's IOMMU: <https://libvirt.org/formatdomain.html#iommu-devices>.
///
/// Since 2.1.0.
#[derive(Clone, Default, Xml)]
#[xml(root = "iommu")]
pub struct Iommu {
    /// `Intel` for q35, `Smmuv3` for ARM virt (since 5.5.0), `Virtio` for both (since 8.3.0).
    pub model: Option<IommuModel>,
    pub driver: Option<IommuDriver>,
    pub acpi: Option<DeviceAcpi>,
    /// `Virtio` only.
    pub address: Option<Address>,
    pub alias: Option<Alias>,
    pub _extra: Extra,
}

/// A socket between host and guest: <https://libvirt.org/formatdomain.html#vsock>.
///
/// Sockets of the address family `AF_VSOCK`. Since 4.4.0.
#[derive(Clone, Default, Xml)]
#[xml(root = "vsock")]
pub struct Vsock {
    /// Default `Virtio`.
    pub model: Option<VirtioModel>,
    pub cid: Option<VsockCid>,
    pub address: Option<Address>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    /// Since 7.1.0.
    pub driver: Option<VirtioDriver>,
    pub _extra: Extra,
}

/// Storage for the guest's last words: <https://libvirt.org/formatdomain.html#pstore>.
///
/// A Linux guest writes the kernel's messages there when it crashes, and finds them under `/sys/fs/pstore` after the
/// reboot. Since 10.6.0.
#[derive(Clone, Default, Xml)]
#[xml(root = "pstore")]
pub struct Pstore {
    pub backend: Option<PstoreBackend>,
    /// The absolute path of a file on the host.
    #[xml(el, form = "path")]
    pub path: Option<String>,
    /// KiB unless `unit` says otherwise.
    pub size: Option<Memory>,
    pub address: Option<Address>,
    pub alias: Option<Alias>,
    pub _extra: Extra,
}

/// A device's place in the boot order; 1 comes first: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
///
/// Not together with `os.boot`. Since 0.8.8.
#[derive(Clone, Default, Xml)]
pub struct DeviceBoot {
    /// From 1, each number once in a domain.
    #[xml(min = 1)]
    pub order: Option<u32>,
    /// s390: 8 characters that choose an entry of the boot menu. Since 3.5.0.
    pub loadparm: Option<String>,
    pub _extra: Extra,
}

/// The Xen driver domain that serves a device: <https://libvirt.org/formatdomain.html#setting-up-a-network-backend-in-a-driver-domain>.
#[derive(Clone, Default, Xml)]
pub struct BackendDomain {
    #[xml(form = "line")]
    pub name: Option<String>,
    pub _extra: Extra,
}

/// The name libvirt or the user gave to a device: <https://libvirt.org/formatdomain.html#devices>.
#[derive(Clone, Default, Xml)]
pub struct Alias {
    /// libvirt's names (`virtio-disk0`) are there while the guest runs and are ignored in a new document. One of your
    /// own begins with `ua-`, has letters, digits, `-` and `_` only, is unique and stays (since 3.9.0).
    #[xml(form = "word")]
    pub name: Option<String>,
    pub _extra: Extra,
}

/// The ACPI index that gives a device a stable name: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct DeviceAcpi {
    /// 1 to 16383, unique in the guest. Since 7.3.0.
    pub index: Option<u32>,
    pub _extra: Extra,
}

/// The file and offset that hold a lease: <https://libvirt.org/formatdomain.html#device-leases>.
#[derive(Clone, Default, Xml)]
pub struct LeaseTarget {
    /// 0 if the lock manager needs none.
    pub offset: Option<u64>,
    /// An absolute path.
    pub path: Option<String>,
    pub _extra: Extra,
}

/// The option ROM of a PCI device: <https://libvirt.org/formatdomain.html#host-device-assignment>.
#[derive(Clone, Default, Xml)]
pub struct Rom {
    /// No keeps the ROM away; then no `bar` and `file`. Since 4.3.0.
    pub enabled: Option<YesNo>,
    /// Whether the guest sees it; default on in current QEMU. Since 0.9.7.
    pub bar: Option<OnOff>,
    /// The absolute path of another ROM, for network boot say. Since 0.9.10.
    #[xml(form = "path")]
    pub file: Option<String>,
    pub _extra: Extra,
}

/// Options that all virtio devices have: <https://libvirt.org/formatdomain.html#virtio-related-options>.
#[derive(Clone, Default, Xml)]
pub struct VirtioDriver {
    /// The device goes through the guest's IOMMU. Since 3.5.0.
    pub iommu: Option<OnOff>,
    /// Address translation by the device, for the IOMMU's cache. Since 3.5.0.
    pub ats: Option<OnOff>,
    /// Packed queues, if both sides can. Since 6.3.0.
    pub packed: Option<OnOff>,
    /// A page of notifications for each queue, for vDPA. Since 7.9.0.
    pub page_per_vq: Option<OnOff>,
    pub _extra: Extra,
}

/// Where random numbers come from; the text is the device's path: <https://libvirt.org/formatdomain.html#random-number-generator-device>.
#[derive(Clone, Default, Xml)]
pub struct RngBackend {
    /// `Random` reads `value`, `Builtin` is QEMU's own (since 6.1.0), `Egd` asks a daemon.
    pub model: Option<RngBackendModel>,
    /// `Egd` only.
    pub r#type: Option<CharType>,
    /// `Random` only: libvirt advises `/dev/urandom`. Any path since 1.3.4.
    #[xml(text)]
    pub value: Option<String>,
    /// `Egd` only.
    pub source: Vec<CharSource>,
    /// `Egd` only.
    pub protocol: Option<CharProtocol>,
    pub log: Option<CharLog>,
    pub _extra: Extra,
}

/// How many bytes the guest gets per period: <https://libvirt.org/formatdomain.html#random-number-generator-device>.
#[derive(Clone, Default, Xml)]
pub struct RngRate {
    #[xml(min = 1)]
    pub bytes: Option<u64>,
    /// Milliseconds; default 1000.
    #[xml(min = 1)]
    pub period: Option<u32>,
    pub _extra: Extra,
}

/// The device that shows shared memory to the guest: <https://libvirt.org/formatdomain.html#shared-memory-device>.
#[derive(Clone, Default, Xml)]
pub struct ShmemModel {
    pub r#type: Option<ShmemModelType>,
    pub _extra: Extra,
}

/// An element that is only an absolute path: <https://libvirt.org/formatdomain.html#shared-memory-device>.
#[derive(Clone, Default, Xml)]
pub struct PathOnly {
    #[xml(form = "path")]
    pub path: Option<String>,
    pub _extra: Extra,
}

/// Interrupts of a shared memory device: <https://libvirt.org/formatdomain.html#shared-memory-device>.
#[derive(Clone, Default, Xml)]
pub struct ShmemMsi {
    pub ioeventfd: Option<OnOff>,
    pub vectors: Option<u32>,
    pub _extra: Extra,
}

/// Who does the cryptography on the host: <https://libvirt.org/formatdomain.html#crypto>.
#[derive(Clone, Default, Xml)]
pub struct CryptoBackend {
    pub model: Option<CryptoBackendModel>,
    #[xml(min = 1)]
    pub queues: Option<u32>,
    pub _extra: Extra,
}

/// How often the guest reports memory statistics, in seconds: <https://libvirt.org/formatdomain.html#memory-balloon-device>.
#[derive(Clone, Default, Xml)]
pub struct BalloonStats {
    #[xml(min = 1)]
    pub period: Option<u32>,
    pub _extra: Extra,
}

/// Options of the guest's IOMMU: <https://libvirt.org/formatdomain.html#iommu-devices>.
#[derive(Clone, Default, Xml)]
pub struct IommuDriver {
    /// `Intel`: interrupt remapping; needs `features.ioapic` `Qemu`. Since 3.4.0.
    pub intremap: Option<OnOff>,
    /// `Intel`: needed for assigned devices. Since 3.4.0.
    pub caching_mode: Option<OnOff>,
    /// `Intel`: with `intremap`, for more than 255 virtual CPUs. Since 3.4.0.
    pub eim: Option<OnOff>,
    /// A cache that devices with `ats` use. Since 3.5.0.
    pub iotlb: Option<OnOff>,
    /// The address width. Since 6.5.0.
    #[xml(hexable)]
    pub aw_bits: Option<u8>,
    pub dma_translation: Option<OnOff>,
    pub _extra: Extra,
}

/// The context id of the guest: <https://libvirt.org/formatdomain.html#vsock>.
#[derive(Clone, Default, Xml)]
pub struct VsockCid {
    /// libvirt chooses a free one at start.
    pub auto: Option<YesNo>,
    /// 3 or more: 0 to 2 are taken. Needed unless `auto`.
    pub address: Option<u32>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Hub`]; `bus` of [`Redirdev`](crate::domain::Redirdev) can be.
    pub enum UsbBus {
        Usb = "usb",
    }
    /// What `role` of [`Shmem`] can be.
    pub enum ShmemRole {
        Master = "master", Peer = "peer",
    }
    /// What `model` of [`Crypto`] can be.
    pub enum CryptoModel {
        Virtio = "virtio",
    }
    /// What `type` of [`Crypto`] can be.
    pub enum CryptoType {
        Qemu = "qemu",
    }
    /// What `model` of [`Watchdog`] can be.
    pub enum WatchdogModel {
        I6300esb = "i6300esb", Ib700 = "ib700", Diag288 = "diag288", Itco = "itco",
    }
    /// What `action` of [`Watchdog`] can be.
    pub enum WatchdogAction {
        Reset = "reset", Shutdown = "shutdown", Poweroff = "poweroff", Pause = "pause", None = "none", Dump = "dump",
        InjectNmi = "inject-nmi",
    }
    /// What `model` of [`Memballoon`] can be.
    pub enum MemballoonModel {
        Virtio = "virtio", VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional", Xen = "xen", None = "none",
    }
    /// What `model` of [`Panic`] can be.
    pub enum PanicModel {
        Isa = "isa", Pseries = "pseries", Hyperv = "hyperv", S390 = "s390", Pvpanic = "pvpanic",
    }
    /// What `model` of [`Iommu`] can be.
    pub enum IommuModel {
        Intel = "intel", Smmuv3 = "smmuv3", Virtio = "virtio",
    }
    /// What `backend` of [`Pstore`] can be.
    pub enum PstoreBackend {
        AcpiErst = "acpi-erst",
    }
    /// What `model` of [`RngBackend`] can be.
    pub enum RngBackendModel {
        Random = "random", Egd = "egd", Builtin = "builtin",
    }
    /// What `type` of [`ShmemModel`] can be.
    pub enum ShmemModelType {
        Ivshmem = "ivshmem", IvshmemPlain = "ivshmem-plain", IvshmemDoorbell = "ivshmem-doorbell",
    }
    /// What `model` of [`CryptoBackend`] can be.
    pub enum CryptoBackendModel {
        Builtin = "builtin", Lkcf = "lkcf",
    }
}
