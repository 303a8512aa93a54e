//! What a host can do.

use crate::common::Arch;
use crate::domain::{CacheType, CpuTopology, Distances, Interconnects, MaxPhysAddr, NumaCache};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{CpuSet, Memory, MonitorName, OnOff, Unit, YesNo};
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// What a host and its hypervisor can do: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "capabilities")]
pub struct Capabilities {
    pub host: Option<Host>,
    pub guest: Vec<Guest>,
    pub _extra: Extra,
}

/// The host itself: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct Host {
    /// Of the hardware, unless libvirt's configuration says another.
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub cpu: Option<HostCpu>,
    pub power_management: Option<PowerManagement>,
    /// Whether devices can be given to guests.
    pub iommu: Option<HostIommu>,
    pub migration_features: Option<MigrationFeatures>,
    /// What to look at for placing virtual CPUs; that of `cpu` is coarse.
    pub topology: Option<Topology>,
    pub cache: Option<HostCache>,
    pub memory_bandwidth: Option<MemoryBandwidth>,
    /// One for each security driver in use.
    pub secmodel: Vec<Secmodel>,
    pub _extra: Extra,
}

/// A kind of guest that the host can run: <https://libvirt.org/formatcaps.html#guest-capabilities>.
#[derive(Clone, Default, Xml)]
#[xml(key = "os_type+arch.name")]
pub struct Guest {
    #[xml(el)]
    pub os_type: Option<GuestOsType>,
    pub arch: Option<GuestArch>,
    pub features: Option<GuestFeatures>,
    pub _extra: Extra,
}

/// The host's CPU: <https://libvirt.org/formatcaps.html#host-capabilities>.
///
/// On its own it is what the calls for comparing CPUs and for finding a common one take.
#[derive(Clone, Default, Xml)]
#[xml(root = "cpu")]
pub struct HostCpu {
    #[xml(el)]
    pub arch: Option<Arch>,
    pub features: Option<HostCpuFlags>,
    /// The named model that comes nearest; `feature` says what there is beside.
    #[xml(el)]
    pub model: Option<String>,
    #[xml(el)]
    pub vendor: Option<String>,
    pub microcode: Option<Microcode>,
    pub signature: Option<CpuSignature>,
    pub counter: Option<CpuCounter>,
    pub topology: Option<CpuTopology>,
    pub maxphysaddr: Option<MaxPhysAddr>,
    pub feature: Vec<HostCpuFeature>,
    /// The page sizes that memory can have.
    pub pages: Vec<PageSize>,
    pub _extra: Extra,
}

/// The sleep states of the host: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct PowerManagement {
    /// To memory (S3).
    pub suspend_mem: bool,
    /// To disk (S4).
    pub suspend_disk: bool,
    /// To both.
    pub suspend_hybrid: bool,
    pub _extra: Extra,
}

/// Whether the host has an IOMMU: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct HostIommu {
    pub support: Option<YesNo>,
    pub _extra: Extra,
}

/// Whether and how guests can migrate: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct MigrationFeatures {
    /// Without a stop.
    pub live: bool,
    pub uri_transports: Option<UriTransports>,
    pub _extra: Extra,
}

/// The NUMA nodes of the host, and what is between them: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct Topology {
    pub cells: Option<Cells>,
    pub interconnects: Option<Interconnects>,
    pub _extra: Extra,
}

/// The caches of the host that can be shared out: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct HostCache {
    pub bank: Vec<CacheBank>,
    pub monitor: Option<ResourceMonitor>,
    pub _extra: Extra,
}

/// The memory bandwidth that can be shared out: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct MemoryBandwidth {
    pub node: Vec<BandwidthNode>,
    pub monitor: Option<ResourceMonitor>,
    pub _extra: Extra,
}

/// A security driver: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
#[xml(key = "model")]
pub struct Secmodel {
    /// `selinux`, `apparmor`, `dac`.
    #[xml(el)]
    pub model: Option<String>,
    /// The domain of interpretation.
    #[xml(el)]
    pub doi: Option<String>,
    pub baselabel: Vec<Baselabel>,
    pub _extra: Extra,
}

/// An architecture that guests can have: <https://libvirt.org/formatcaps.html#guest-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct GuestArch {
    pub name: Option<Arch>,
    /// In bits.
    #[xml(el)]
    pub wordsize: Option<u8>,
    /// The path of the program that runs such guests.
    #[xml(el, form = "path")]
    pub emulator: Option<String>,
    #[xml(el, form = "path")]
    pub loader: Option<String>,
    pub machine: Vec<Machine>,
    /// Who can run them.
    pub domain: Vec<GuestDomain>,
    pub _extra: Extra,
}

/// Features that guests can have: <https://libvirt.org/formatcaps.html#guest-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct GuestFeatures {
    /// Whether a domain's `cpu` is obeyed. Since 0.7.5.
    pub cpuselection: bool,
    /// Whether devices can have a `boot` order. Since 0.8.8.
    pub deviceboot: bool,
    pub acpi: Option<ToggleFeature>,
    pub apic: Option<ToggleFeature>,
    /// 32-bit guests can have PAE.
    pub pae: bool,
    /// 32-bit guests need no PAE.
    pub nonpae: bool,
    /// IA64 guests can be big-endian.
    pub ia64_be: bool,
    /// Whether disks can have external snapshots; absent, try it. Since 1.2.3.
    pub disksnapshot: Option<ToggleFeature>,
    pub hap: Option<ToggleFeature>,
    /// External snapshots can be deleted and reverted to. Since 9.9.0.
    #[xml("externalSnapshot")]
    pub external_snapshot: bool,
    pub _extra: Extra,
}

/// CPU flags, as Xen reports them: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct HostCpuFlags {
    pub pae: bool,
    pub nonpae: bool,
    pub vmx: bool,
    pub svm: bool,
    pub _extra: Extra,
}

/// The version of the microcode: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct Microcode {
    #[xml(min = 1)]
    pub version: Option<u32>,
    pub _extra: Extra,
}

/// Family, model and stepping of an x86 CPU: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct CpuSignature {
    #[xml(min = 1)]
    pub family: Option<u32>,
    pub model: Option<u32>,
    pub stepping: Option<u32>,
    pub _extra: Extra,
}

/// A CPU counter: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct CpuCounter {
    /// `tsc`.
    pub name: Option<String>,
    /// In hertz.
    #[xml(min = 1)]
    pub frequency: Option<u64>,
    /// Whether guests can have it at another frequency.
    pub scaling: Option<YesNo>,
    pub _extra: Extra,
}

/// A feature of the host's CPU: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct HostCpuFeature {
    #[xml(form = "word")]
    pub name: Option<String>,
    pub _extra: Extra,
}

/// A size that memory pages can have: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct PageSize {
    /// KiB if there is none.
    pub unit: Option<Unit>,
    pub size: Option<u64>,
    pub _extra: Extra,
}

/// Transports for migration: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct UriTransports {
    /// The scheme of a URI to migrate to.
    pub uri_transport: Vec<UriTransport>,
    pub _extra: Extra,
}

/// The NUMA nodes of the host: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct Cells {
    /// How many there are.
    pub num: Option<u32>,
    pub cell: Vec<Cell>,
    pub _extra: Extra,
}

/// One cache of the host: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct CacheBank {
    pub id: Option<u32>,
    pub level: Option<u32>,
    pub r#type: Option<CacheType>,
    /// In `unit`; bytes if there is none.
    pub size: Option<u64>,
    pub unit: Option<Unit>,
    /// The CPUs that share it.
    pub cpus: Option<CpuSet>,
    /// How it can be shared out; absent if it cannot.
    pub control: Vec<CacheControl>,
    pub _extra: Extra,
}

/// What the hardware can count: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct ResourceMonitor {
    pub level: Option<u32>,
    /// In bytes: a monitor with less than that in the cache can be used again.
    #[xml("reuseThreshold")]
    pub reuse_threshold: Option<u32>,
    /// How many there can be at a time.
    #[xml("maxMonitors")]
    pub max_monitors: Option<u32>,
    pub feature: Vec<MonitorFeature>,
    pub _extra: Extra,
}

/// The memory bandwidth of one node: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct BandwidthNode {
    pub id: Option<u32>,
    /// The CPUs that share it.
    pub cpus: Option<CpuSet>,
    pub control: Vec<BandwidthControl>,
    pub _extra: Extra,
}

/// The default label for guests of one hypervisor: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct Baselabel {
    /// The hypervisor: `kvm`.
    pub r#type: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A machine type: <https://libvirt.org/formatcaps.html#guest-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct Machine {
    /// What the name stands for, if it is an alias.
    pub canonical: Option<String>,
    /// The most virtual CPUs.
    #[xml("maxCpus")]
    pub max_cpus: Option<u32>,
    pub deprecated: Option<YesNo>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A hypervisor that runs such guests: <https://libvirt.org/formatcaps.html#guest-capabilities>.
#[derive(Clone, Default, Xml)]
#[xml(key = "type")]
pub struct GuestDomain {
    pub r#type: Option<GuestDomainType>,
    /// Where it is not that of the architecture.
    #[xml(el, form = "path")]
    pub emulator: Option<String>,
    /// Where they are not those of the architecture.
    pub machine: Vec<Machine>,
    pub _extra: Extra,
}

/// A feature with its default: <https://libvirt.org/formatcaps.html#guest-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct ToggleFeature {
    /// Whether guests have it that do not say.
    pub default: Option<OnOff>,
    /// Whether guests can say.
    pub toggle: Option<YesNo>,
    pub _extra: Extra,
}

/// One NUMA node of the host: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct Cell {
    pub id: Option<u32>,
    /// KiB unless its unit says otherwise.
    pub memory: Option<Memory>,
    /// How many there are of each size.
    pub pages: Vec<CellPages>,
    /// To the other nodes; 10 is to itself.
    pub distances: Option<Distances>,
    /// Caches on the memory's side.
    pub cache: Vec<NumaCache>,
    pub cpus: Option<CellCpus>,
    pub _extra: Extra,
}

/// How finely a cache can be shared out: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct CacheControl {
    /// The step, in `unit`.
    pub granularity: Option<u32>,
    /// The smallest share, in `unit`.
    pub min: Option<u32>,
    /// Bytes if there is none.
    pub unit: Option<Unit>,
    pub r#type: Option<CacheType>,
    /// The most shares.
    #[xml("maxAllocs")]
    pub max_allocs: Option<u32>,
    pub _extra: Extra,
}

/// One thing that the hardware can count: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct MonitorFeature {
    pub name: Option<MonitorName>,
    pub _extra: Extra,
}

/// How finely bandwidth can be shared out: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct BandwidthControl {
    /// The step, in percent.
    pub granularity: Option<u32>,
    /// The smallest share, in percent.
    pub min: Option<u32>,
    /// The most shares.
    #[xml("maxAllocs")]
    pub max_allocs: Option<u32>,
    pub _extra: Extra,
}

/// How many pages of one size a node has: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct CellPages {
    /// Of `size`; KiB if there is none.
    pub unit: Option<Unit>,
    pub size: Option<u64>,
    #[xml(text)]
    pub value: Option<u32>,
    pub _extra: Extra,
}

/// The CPUs of a node: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct CellCpus {
    /// How many there are.
    pub num: Option<u32>,
    pub cpu: Vec<CellCpu>,
    pub _extra: Extra,
}

/// One CPU of the host: <https://libvirt.org/formatcaps.html#host-capabilities>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct CellCpu {
    /// What domains pin to.
    pub id: Option<u32>,
    pub socket_id: Option<u32>,
    /// 0 where there are no dies.
    pub die_id: Option<u32>,
    pub cluster_id: Option<u32>,
    pub core_id: Option<u32>,
    /// The CPUs of the same core, this one included.
    pub siblings: Option<CpuSet>,
    pub _extra: Extra,
}

closed! {
    /// What `os_type` of [`Guest`] can be.
    pub enum GuestOsType {
        Xen = "xen", Linux = "linux", Hvm = "hvm", Exe = "exe", Uml = "uml",
    }
    /// What `uri_transport` of [`UriTransports`] can be.
    pub enum UriTransport {
        Vpxmigr = "vpxmigr", Tcp = "tcp", Rdma = "rdma", Vzmigr = "vzmigr",
    }
    /// What `type` of [`GuestDomain`] can be.
    pub enum GuestDomainType {
        Qemu = "qemu", Kqemu = "kqemu", Kvm = "kvm", Xen = "xen", Uml = "uml", Lxc = "lxc", Openvz = "openvz",
        Test = "test", Hvf = "hvf",
    }
}
