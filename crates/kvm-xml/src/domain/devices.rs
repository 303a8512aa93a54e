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
    #[xml(el)]
    pub emulator: Option<String>,
    pub disk: Vec<Disk>,
    pub controller: Vec<Controller>,
    pub lease: Vec<Lease>,
    pub filesystem: Vec<Filesystem>,
    pub interface: Vec<Interface>,
    pub smartcard: Vec<Smartcard>,
    pub serial: Vec<Serial>,
    pub parallel: Vec<Serial>,
    pub console: Vec<Serial>,
    pub channel: Vec<Channel>,
    pub input: Vec<Input>,
    pub tpm: Vec<Tpm>,
    pub graphics: Vec<Graphics>,
    pub sound: Vec<Sound>,
    pub audio: Vec<Audio>,
    pub video: Vec<Video>,
    pub hostdev: Vec<Hostdev>,
    pub redirdev: Vec<Redirdev>,
    pub redirfilter: Vec<Redirfilter>,
    pub hub: Vec<Hub>,
    pub watchdog: Vec<Watchdog>,
    pub memballoon: Option<Memballoon>,
    pub rng: Vec<Rng>,
    pub nvram: Option<NvramDevice>,
    pub panic: Vec<Panic>,
    pub shmem: Vec<Shmem>,
    pub memory: Vec<MemoryDevice>,
    pub iommu: Option<Iommu>,
    pub vsock: Option<Vsock>,
    pub crypto: Vec<Crypto>,
    pub pstore: Option<Pstore>,
    pub _extra: Extra,
}

/// A lease the guest must hold to run: <https://libvirt.org/formatdomain.html#device-leases>.
#[derive(Clone, Default, Xml)]
#[xml(root = "lease")]
pub struct Lease {
    #[xml(el)]
    pub key: Option<String>,
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
#[derive(Clone, Default, Xml)]
#[xml(root = "rng")]
pub struct Rng {
    pub model: Option<VirtioModel>,
    pub backend: Option<RngBackend>,
    pub driver: Option<VirtioDriver>,
    pub rate: Option<RngRate>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// Memory shared with other guests: <https://libvirt.org/formatdomain.html#shared-memory-device>.
#[derive(Clone, Default, Xml)]
#[xml(root = "shmem")]
pub struct Shmem {
    pub name: Option<String>,
    pub role: Option<ShmemRole>,
    pub model: Option<ShmemModel>,
    pub size: Option<Size>,
    pub server: Option<PathOnly>,
    pub msi: Option<ShmemMsi>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A virtio crypto device: <https://libvirt.org/formatdomain.html#crypto>.
#[derive(Clone, Default, Xml)]
pub struct Crypto {
    pub model: Option<CryptoModel>,
    pub r#type: Option<CryptoType>,
    pub backend: Option<CryptoBackend>,
    pub driver: Option<VirtioDriver>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A watchdog: <https://libvirt.org/formatdomain.html#watchdog-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "watchdog")]
pub struct Watchdog {
    pub model: Option<WatchdogModel>,
    pub action: Option<WatchdogAction>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// The memory balloon: <https://libvirt.org/formatdomain.html#memory-balloon-device>.
#[derive(Clone, Default, Xml)]
#[xml(root = "memballoon")]
pub struct Memballoon {
    pub model: Option<MemballoonModel>,
    pub autodeflate: Option<OnOff>,
    #[xml("freePageReporting")]
    pub free_page_reporting: Option<OnOff>,
    pub stats: Option<BalloonStats>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub driver: Option<VirtioDriver>,
    pub _extra: Extra,
}

/// The NVRAM device of pSeries guests: <https://libvirt.org/formatdomain.html#nvram-device>.
#[derive(Clone, Default, Xml)]
pub struct NvramDevice {
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// How the guest tells that it has crashed: <https://libvirt.org/formatdomain.html#panic-device>.
#[derive(Clone, Default, Xml)]
#[xml(root = "panic")]
pub struct Panic {
    pub model: Option<PanicModel>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// The guest's IOMMU: <https://libvirt.org/formatdomain.html#iommu-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "iommu")]
pub struct Iommu {
    pub model: Option<IommuModel>,
    pub driver: Option<IommuDriver>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub alias: Option<Alias>,
    pub _extra: Extra,
}

/// A socket between host and guest: <https://libvirt.org/formatdomain.html#vsock>.
#[derive(Clone, Default, Xml)]
#[xml(root = "vsock")]
pub struct Vsock {
    pub model: Option<VirtioModel>,
    pub cid: Option<VsockCid>,
    pub address: Option<Address>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub driver: Option<VirtioDriver>,
    pub _extra: Extra,
}

/// Storage for the guest's last words: <https://libvirt.org/formatdomain.html#pstore>.
#[derive(Clone, Default, Xml)]
pub struct Pstore {
    pub backend: Option<PstoreBackend>,
    #[xml(el)]
    pub path: Option<String>,
    pub size: Option<Memory>,
    pub address: Option<Address>,
    pub alias: Option<Alias>,
    pub _extra: Extra,
}

/// A device's place in the boot order; 1 comes first.
#[derive(Clone, Default, Xml)]
pub struct DeviceBoot {
    #[xml(min = 1)]
    pub order: Option<u32>,
    pub loadparm: Option<String>,
    pub _extra: Extra,
}

/// The Xen driver domain that serves a device.
#[derive(Clone, Default, Xml)]
pub struct BackendDomain {
    pub name: Option<String>,
    pub _extra: Extra,
}

/// The name libvirt or the user gave to a device.
#[derive(Clone, Default, Xml)]
pub struct Alias {
    pub name: Option<String>,
    pub _extra: Extra,
}

/// The ACPI index that gives a device a stable name.
#[derive(Clone, Default, Xml)]
pub struct DeviceAcpi {
    pub index: Option<u32>,
    pub _extra: Extra,
}

/// The file and offset that hold a lease.
#[derive(Clone, Default, Xml)]
pub struct LeaseTarget {
    pub offset: Option<u64>,
    pub path: Option<String>,
    pub _extra: Extra,
}

/// The option ROM of a PCI device.
#[derive(Clone, Default, Xml)]
pub struct Rom {
    pub enabled: Option<YesNo>,
    pub bar: Option<OnOff>,
    pub file: Option<String>,
    pub _extra: Extra,
}

/// Options that all virtio devices have.
#[derive(Clone, Default, Xml)]
pub struct VirtioDriver {
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    pub _extra: Extra,
}

/// Where random numbers come from; the text is the device's path.
#[derive(Clone, Default, Xml)]
pub struct RngBackend {
    pub model: Option<RngBackendModel>,
    pub r#type: Option<CharType>,
    #[xml(text)]
    pub value: Option<String>,
    pub source: Vec<CharSource>,
    pub protocol: Option<CharProtocol>,
    pub log: Option<CharLog>,
    pub _extra: Extra,
}

/// How many bytes the guest gets per period (milliseconds).
#[derive(Clone, Default, Xml)]
pub struct RngRate {
    #[xml(min = 1)]
    pub bytes: Option<u64>,
    #[xml(min = 1)]
    pub period: Option<u32>,
    pub _extra: Extra,
}

/// The device that shows shared memory to the guest.
#[derive(Clone, Default, Xml)]
pub struct ShmemModel {
    pub r#type: Option<ShmemModelType>,
    pub _extra: Extra,
}

/// An element that is only an absolute path.
#[derive(Clone, Default, Xml)]
pub struct PathOnly {
    pub path: Option<String>,
    pub _extra: Extra,
}

/// Interrupts of a shared memory device.
#[derive(Clone, Default, Xml)]
pub struct ShmemMsi {
    pub ioeventfd: Option<OnOff>,
    pub vectors: Option<u32>,
    pub _extra: Extra,
}

/// Who does the cryptography on the host.
#[derive(Clone, Default, Xml)]
pub struct CryptoBackend {
    pub model: Option<CryptoBackendModel>,
    #[xml(min = 1)]
    pub queues: Option<u32>,
    pub _extra: Extra,
}

/// How often the guest reports memory statistics, in seconds.
#[derive(Clone, Default, Xml)]
pub struct BalloonStats {
    #[xml(min = 1)]
    pub period: Option<u32>,
    pub _extra: Extra,
}

/// Options of the guest's IOMMU.
#[derive(Clone, Default, Xml)]
pub struct IommuDriver {
    pub intremap: Option<OnOff>,
    pub caching_mode: Option<OnOff>,
    pub eim: Option<OnOff>,
    pub iotlb: Option<OnOff>,
    #[xml(hexable)]
    pub aw_bits: Option<u8>,
    pub dma_translation: Option<OnOff>,
    pub _extra: Extra,
}

/// The context id of the guest.
#[derive(Clone, Default, Xml)]
pub struct VsockCid {
    pub auto: Option<YesNo>,
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
