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

/// The host itself: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct Host {
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub cpu: Option<HostCpu>,
    pub power_management: Option<PowerManagement>,
    pub iommu: Option<HostIommu>,
    pub migration_features: Option<MigrationFeatures>,
    pub topology: Option<Topology>,
    pub cache: Option<HostCache>,
    pub memory_bandwidth: Option<MemoryBandwidth>,
    pub secmodel: Vec<Secmodel>,
    pub _extra: Extra,
}

/// A kind of guest that the host can run: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "os_type+arch.name")]
pub struct Guest {
    #[xml(el)]
    pub os_type: Option<GuestOsType>,
    pub arch: Option<GuestArch>,
    pub features: Option<GuestFeatures>,
    pub _extra: Extra,
}

/// The host's CPU: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "cpu")]
pub struct HostCpu {
    #[xml(el)]
    pub arch: Option<Arch>,
    pub features: Option<HostCpuFlags>,
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
    pub pages: Vec<PageSize>,
    pub _extra: Extra,
}

/// The sleep states of the host: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct PowerManagement {
    pub suspend_mem: bool,
    pub suspend_disk: bool,
    pub suspend_hybrid: bool,
    pub _extra: Extra,
}

/// Whether the host has an IOMMU: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct HostIommu {
    pub support: Option<YesNo>,
    pub _extra: Extra,
}

/// Whether and how guests can migrate: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct MigrationFeatures {
    pub live: bool,
    pub uri_transports: Option<UriTransports>,
    pub _extra: Extra,
}

/// The NUMA cells of the host: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct Topology {
    pub cells: Option<Cells>,
    pub interconnects: Option<Interconnects>,
    pub _extra: Extra,
}

/// The caches that can be shared out: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct HostCache {
    pub bank: Vec<CacheBank>,
    pub monitor: Option<ResourceMonitor>,
    pub _extra: Extra,
}

/// The memory bandwidth that can be shared out: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct MemoryBandwidth {
    pub node: Vec<BandwidthNode>,
    pub monitor: Option<ResourceMonitor>,
    pub _extra: Extra,
}

/// A security driver: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "model")]
pub struct Secmodel {
    #[xml(el)]
    pub model: Option<String>,
    #[xml(el)]
    pub doi: Option<String>,
    pub baselabel: Vec<Baselabel>,
    pub _extra: Extra,
}

/// An architecture that guests can have: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct GuestArch {
    pub name: Option<Arch>,
    #[xml(el)]
    pub wordsize: Option<u8>,
    #[xml(el)]
    pub emulator: Option<String>,
    #[xml(el)]
    pub loader: Option<String>,
    pub machine: Vec<Machine>,
    pub domain: Vec<GuestDomain>,
    pub _extra: Extra,
}

/// Features that guests can have: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct GuestFeatures {
    pub cpuselection: bool,
    pub deviceboot: bool,
    pub acpi: Option<ToggleFeature>,
    pub apic: Option<ToggleFeature>,
    pub pae: bool,
    pub nonpae: bool,
    pub ia64_be: bool,
    pub disksnapshot: Option<ToggleFeature>,
    pub hap: Option<ToggleFeature>,
    #[xml("externalSnapshot")]
    pub external_snapshot: bool,
    pub _extra: Extra,
}

/// Basic CPU flags: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct HostCpuFlags {
    pub pae: bool,
    pub nonpae: bool,
    pub vmx: bool,
    pub svm: bool,
    pub _extra: Extra,
}

/// The version of the microcode: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct Microcode {
    #[xml(min = 1)]
    pub version: Option<u32>,
    pub _extra: Extra,
}

/// Family, model and stepping: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct CpuSignature {
    #[xml(min = 1)]
    pub family: Option<u32>,
    pub model: Option<u32>,
    pub stepping: Option<u32>,
    pub _extra: Extra,
}

/// A CPU counter, in hertz: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct CpuCounter {
    pub name: Option<String>,
    #[xml(min = 1)]
    pub frequency: Option<u64>,
    pub scaling: Option<YesNo>,
    pub _extra: Extra,
}

/// A feature of the host's CPU: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct HostCpuFeature {
    pub name: Option<String>,
    pub _extra: Extra,
}

/// A supported page size; KiB unless `unit` says otherwise: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct PageSize {
    pub unit: Option<Unit>,
    pub size: Option<u64>,
    pub _extra: Extra,
}

/// Transports for migration: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct UriTransports {
    pub uri_transport: Vec<UriTransport>,
    pub _extra: Extra,
}

/// The NUMA cells of the host: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct Cells {
    pub num: Option<u32>,
    pub cell: Vec<Cell>,
    pub _extra: Extra,
}

/// One cache of the host: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct CacheBank {
    pub id: Option<u32>,
    pub level: Option<u32>,
    pub r#type: Option<CacheType>,
    pub size: Option<u64>,
    pub unit: Option<Unit>,
    pub cpus: Option<CpuSet>,
    pub control: Vec<CacheControl>,
    pub _extra: Extra,
}

/// What can be counted: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct ResourceMonitor {
    pub level: Option<u32>,
    #[xml("reuseThreshold")]
    pub reuse_threshold: Option<u32>,
    #[xml("maxMonitors")]
    pub max_monitors: Option<u32>,
    pub feature: Vec<MonitorFeature>,
    pub _extra: Extra,
}

/// The memory bandwidth of one node: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct BandwidthNode {
    pub id: Option<u32>,
    pub cpus: Option<CpuSet>,
    pub control: Vec<BandwidthControl>,
    pub _extra: Extra,
}

/// The default label for one kind of guest: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct Baselabel {
    pub r#type: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A machine type: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct Machine {
    pub canonical: Option<String>,
    #[xml("maxCpus")]
    pub max_cpus: Option<u32>,
    pub deprecated: Option<YesNo>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A hypervisor that runs such guests: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "type")]
pub struct GuestDomain {
    pub r#type: Option<GuestDomainType>,
    #[xml(el)]
    pub emulator: Option<String>,
    pub machine: Vec<Machine>,
    pub _extra: Extra,
}

/// A feature with its default: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct ToggleFeature {
    pub default: Option<OnOff>,
    pub toggle: Option<YesNo>,
    pub _extra: Extra,
}

/// One NUMA cell of the host: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct Cell {
    pub id: Option<u32>,
    pub memory: Option<Memory>,
    pub pages: Vec<CellPages>,
    pub distances: Option<Distances>,
    pub cache: Vec<NumaCache>,
    pub cpus: Option<CellCpus>,
    pub _extra: Extra,
}

/// How finely a cache can be shared out: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct CacheControl {
    pub granularity: Option<u32>,
    pub min: Option<u32>,
    pub unit: Option<Unit>,
    pub r#type: Option<CacheType>,
    #[xml("maxAllocs")]
    pub max_allocs: Option<u32>,
    pub _extra: Extra,
}

/// One thing that can be counted: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct MonitorFeature {
    pub name: Option<MonitorName>,
    pub _extra: Extra,
}

/// How finely bandwidth can be shared out: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct BandwidthControl {
    pub granularity: Option<u32>,
    pub min: Option<u32>,
    #[xml("maxAllocs")]
    pub max_allocs: Option<u32>,
    pub _extra: Extra,
}

/// How many pages of one size a cell has: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct CellPages {
    pub unit: Option<Unit>,
    pub size: Option<u64>,
    #[xml(text)]
    pub value: Option<u32>,
    pub _extra: Extra,
}

/// The CPUs of a cell: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
pub struct CellCpus {
    pub num: Option<u32>,
    pub cpu: Vec<CellCpu>,
    pub _extra: Extra,
}

/// One CPU of the host: <https://libvirt.org/formatcaps.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct CellCpu {
    pub id: Option<u32>,
    pub socket_id: Option<u32>,
    pub die_id: Option<u32>,
    pub cluster_id: Option<u32>,
    pub core_id: Option<u32>,
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
