//! Virtual CPUs, their model, and NUMA.

use super::MemoryAccess;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{CpuSet, OnOff, Unit, VendorId, YesNo};
use kvm_xml_derive::Xml;

/// The CPU that the guest sees: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
///
/// `mode` decides: `HostPassthrough` is the host's processor, fastest and hardest to migrate; `HostModel` is a named
/// model near to it; `Custom` takes `model`. All features of a guest's processor must be on the host it migrates to.
#[derive(Clone, Default, Xml)]
#[xml(root = "cpu")]
pub struct Cpu {
    /// Default `Custom`. `Maximum` is all that the hypervisor can do (since 7.1.0). Since 0.9.10.
    pub mode: Option<CpuModeName>,
    /// Only with `Custom`: the guest needs at least (`Minimum`), exactly (`Exact`, default) or only (`Strict`) these
    /// features.
    pub r#match: Option<CpuMatch>,
    /// How far libvirt compares what was asked with what the guest got; set by libvirt on a running guest. Since 3.2.0.
    pub check: Option<CpuCheck>,
    /// s390: switches features that the hypervisor calls deprecated. Since 11.0.0.
    pub deprecated_features: Option<OnOff>,
    /// With `HostPassthrough` and `Maximum`: leaves out features that prevent migration. Since 6.5.0.
    pub migratable: Option<OnOff>,
    pub model: Option<CpuModel>,
    /// The host's processor must be of this vendor. Since 0.8.3.
    #[xml(el)]
    pub vendor: Option<String>,
    pub topology: Option<CpuTopology>,
    /// Since 3.3.0.
    pub cache: Option<CpuCache>,
    /// Changes to the model, each by name.
    pub feature: Vec<CpuFeature>,
    /// Since 0.9.8.
    pub numa: Option<Numa>,
    /// Since 8.7.0.
    pub maxphysaddr: Option<MaxPhysAddr>,
    pub _extra: Extra,
}

/// How many virtual CPUs the guest has at most, and on which host CPUs they run: <https://libvirt.org/formatdomain.html#cpu-allocation>.
#[derive(Clone, Default, Xml)]
pub struct Vcpu {
    /// `Auto` asks numad and ignores `cpuset`. Since 0.9.11.
    pub placement: Option<VcpuPlacement>,
    /// Host CPUs for all threads of the guest that `cputune` does not pin. Since 0.4.4.
    pub cpuset: Option<CpuSet>,
    /// How many are plugged in at boot; absent means all. Since 0.8.5.
    #[xml(min = 1)]
    pub current: Option<u16>,
    /// How many there can be. With `cpu.topology`, the product of its numbers.
    #[xml(text, min = 1)]
    pub value: Option<u16>,
    pub _extra: Extra,
}

/// The state of each virtual CPU: <https://libvirt.org/formatdomain.html#cpu-allocation>.
///
/// QEMU, since 2.2.0.
#[derive(Clone, Default, Xml)]
pub struct Vcpus {
    pub vcpu: Vec<VcpuState>,
    pub _extra: Extra,
}

/// The I/O threads by number, since 1.2.15: <https://libvirt.org/formatdomain.html#iothreads-allocation>.
#[derive(Clone, Default, Xml)]
pub struct IothreadIds {
    pub iothread: Vec<Iothread>,
    pub _extra: Extra,
}

/// The thread pool of QEMU's main loop, since 8.5.0: <https://libvirt.org/formatdomain.html#iothreads-allocation>.
#[derive(Clone, Default, Xml)]
pub struct DefaultIothread {
    /// Leave it out unless new threads would come too late.
    pub thread_pool_min: Option<u32>,
    /// At least 1.
    pub thread_pool_max: Option<u32>,
    pub _extra: Extra,
}

/// The named CPU model the guest's CPU starts from: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
pub struct CpuModel {
    /// `Allow` (default) takes the nearest model if the hypervisor has not this one; `Forbid` refuses to start. Since
    /// 0.9.10.
    pub fallback: Option<CpuModelFallback>,
    /// 12 characters that CPUID shows; the host's if absent. Since 0.10.0.
    pub vendor_id: Option<VendorId>,
    /// A name of the domain capabilities, such as `EPYC`.
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Sockets, dies, clusters, cores and threads, each per one of the level above: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
///
/// Their product is the greatest number of virtual CPUs.
#[derive(Clone, Default, Xml)]
pub struct CpuTopology {
    #[xml(min = 1)]
    pub sockets: Option<u32>,
    /// Default 1. Since 6.1.0.
    #[xml(min = 1)]
    pub dies: Option<u32>,
    /// Default 1. Since 10.1.0.
    #[xml(min = 1)]
    pub clusters: Option<u32>,
    #[xml(min = 1)]
    pub cores: Option<u32>,
    #[xml(min = 1)]
    pub threads: Option<u32>,
    pub _extra: Extra,
}

/// One CPU feature and what to do about it: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct CpuFeature {
    /// `Require` (default) fails without the host's support, `Force` claims it anyway, `Optional` takes what the host
    /// has, `Disable` hides it, `Forbid` fails if the host has it.
    pub policy: Option<CpuFeaturePolicy>,
    #[xml(form = "word")]
    pub name: Option<String>,
    pub _extra: Extra,
}

/// The guest's NUMA cells: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
pub struct Numa {
    pub cell: Vec<NumaCell>,
    pub interconnects: Option<Interconnects>,
    pub _extra: Extra,
}

/// Which CPU cache the guest sees: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
pub struct CpuCache {
    /// Absent means all levels.
    #[xml(min = 1, max = 3)]
    pub level: Option<u8>,
    /// `Passthrough` is for `HostPassthrough` and `Maximum`.
    pub mode: Option<CpuCacheMode>,
    pub _extra: Extra,
}

/// How many address bits the guest's CPU has: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
pub struct MaxPhysAddr {
    pub mode: Option<MaxPhysAddrMode>,
    /// With `Emulate` only.
    pub bits: Option<u32>,
    /// With `Passthrough`: at most so many, if the host has more. Since 9.3.0.
    pub limit: Option<u32>,
    pub _extra: Extra,
}

/// One virtual CPU: whether it is plugged in, and in which order: <https://libvirt.org/formatdomain.html#cpu-allocation>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct VcpuState {
    /// From 0.
    pub id: Option<u32>,
    /// Virtual CPU 0 must be enabled and not hot-pluggable.
    pub enabled: Option<YesNo>,
    /// One that is not enabled must be.
    pub hotpluggable: Option<YesNo>,
    /// All enabled ones have it, or none.
    pub order: Option<u32>,
    pub _extra: Extra,
}

/// One I/O thread: <https://libvirt.org/formatdomain.html#iothreads-allocation>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct Iothread {
    /// From 1.
    pub id: Option<u32>,
    /// Since 8.5.0.
    pub thread_pool_min: Option<u32>,
    /// At least 1. Since 8.5.0.
    pub thread_pool_max: Option<u32>,
    /// Since 9.4.0.
    pub poll: Option<IothreadPoll>,
    pub _extra: Extra,
}

/// One NUMA cell of the guest; `memory` is in KiB unless `unit` says otherwise: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct NumaCell {
    /// From 0; all cells have it, or none. Since 1.2.7.
    pub id: Option<u32>,
    /// Virtual CPUs of the cell; absent makes a cell of memory alone (since 6.6.0).
    pub cpus: Option<CpuSet>,
    /// KiB unless `unit` says otherwise.
    pub memory: Option<u64>,
    pub unit: Option<Unit>,
    /// Only for huge pages and NVDIMM. Since 1.2.9.
    #[xml("memAccess")]
    pub mem_access: Option<MemoryAccess>,
    /// Since 4.4.0.
    pub discard: Option<YesNo>,
    /// Since 3.10.0.
    pub distances: Option<Distances>,
    /// Since 6.6.0.
    pub cache: Vec<NumaCache>,
    pub _extra: Extra,
}

/// Latency and bandwidth between NUMA cells, since 6.6.0: <https://libvirt.org/formatdomain.html#acpi-heterogeneous-memory-attribute-table>.
#[derive(Clone, Default, Xml)]
pub struct Interconnects {
    pub latency: Vec<InterconnectLatency>,
    pub bandwidth: Vec<InterconnectBandwidth>,
    pub _extra: Extra,
}

/// Polling times of an I/O thread, in nanoseconds: <https://libvirt.org/formatdomain.html#iothreads-allocation>.
#[derive(Clone, Default, Xml)]
pub struct IothreadPoll {
    /// 0 switches polling off.
    pub max: Option<u64>,
    /// 0 keeps the interval from growing.
    pub grow: Option<u64>,
    /// 0 keeps the interval from shrinking.
    pub shrink: Option<u64>,
    pub _extra: Extra,
}

/// Distances from one NUMA cell to the others: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
pub struct Distances {
    pub sibling: Vec<Distance>,
    pub _extra: Extra,
}

/// A memory side cache of a NUMA cell: <https://libvirt.org/formatdomain.html#acpi-heterogeneous-memory-attribute-table>.
#[derive(Clone, Default, Xml)]
#[xml(key = "level")]
pub struct NumaCache {
    pub level: Option<u32>,
    pub associativity: Option<NumaCacheAssociativity>,
    pub policy: Option<NumaCachePolicy>,
    pub size: Option<NumaCacheSize>,
    pub line: Option<NumaCacheSize>,
    pub _extra: Extra,
}

/// Latency from one cell to another, in nanoseconds: <https://libvirt.org/formatdomain.html#acpi-heterogeneous-memory-attribute-table>.
#[derive(Clone, Default, Xml)]
#[xml(key = "initiator+target+cache+type")]
pub struct InterconnectLatency {
    /// The cell that asks.
    pub initiator: Option<u32>,
    /// The cell whose memory it is.
    pub target: Option<u32>,
    /// The level of the target's memory side cache; absent means the memory itself.
    pub cache: Option<u32>,
    pub r#type: Option<InterconnectType>,
    pub value: Option<u32>,
    pub _extra: Extra,
}

/// Bandwidth from one cell to another, per second: <https://libvirt.org/formatdomain.html#acpi-heterogeneous-memory-attribute-table>.
#[derive(Clone, Default, Xml)]
#[xml(key = "initiator+target+cache+type")]
pub struct InterconnectBandwidth {
    /// The cell that asks.
    pub initiator: Option<u32>,
    /// The cell whose memory it is.
    pub target: Option<u32>,
    pub cache: Option<u32>,
    pub r#type: Option<InterconnectType>,
    /// KiB per second unless `unit` says otherwise.
    pub value: Option<u32>,
    pub unit: Option<Unit>,
    pub _extra: Extra,
}

/// The distance to one NUMA cell: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct Distance {
    pub id: Option<u32>,
    /// 10 to itself; 20 to another cell unless given.
    #[xml(min = 10, max = 255)]
    pub value: Option<u32>,
    pub _extra: Extra,
}

/// A size inside a memory side cache: <https://libvirt.org/formatdomain.html#acpi-heterogeneous-memory-attribute-table>.
#[derive(Clone, Default, Xml)]
pub struct NumaCacheSize {
    pub value: Option<u32>,
    pub unit: Option<Unit>,
    pub _extra: Extra,
}

closed! {
    /// What `mode` of [`Cpu`]; `name` of [`CpuMode`](crate::domain_capabilities::CpuMode) can be.
    pub enum CpuModeName {
        Custom = "custom", HostModel = "host-model", HostPassthrough = "host-passthrough", Maximum = "maximum",
    }
    /// What `match` of [`Cpu`] can be.
    pub enum CpuMatch {
        Minimum = "minimum", Exact = "exact", Strict = "strict",
    }
    /// What `check` of [`Cpu`] can be.
    pub enum CpuCheck {
        None = "none", Partial = "partial", Full = "full",
    }
    /// What `placement` of [`Vcpu`] and [`NumatuneMemory`](crate::domain::NumatuneMemory) can be.
    pub enum VcpuPlacement {
        Static = "static", Auto = "auto",
    }
    /// What `fallback` of [`CpuModel`] and [`CpuModeModel`](crate::domain_capabilities::CpuModeModel) can be.
    pub enum CpuModelFallback {
        Allow = "allow", Forbid = "forbid",
    }
    /// What `policy` of [`CpuFeature`] can be.
    pub enum CpuFeaturePolicy {
        Force = "force", Require = "require", Optional = "optional", Disable = "disable", Forbid = "forbid",
    }
    /// What `mode` of [`CpuCache`] can be.
    pub enum CpuCacheMode {
        Emulate = "emulate", Passthrough = "passthrough", Disable = "disable",
    }
    /// What `mode` of [`MaxPhysAddr`] can be.
    pub enum MaxPhysAddrMode {
        Emulate = "emulate", Passthrough = "passthrough",
    }
    /// What `associativity` of [`NumaCache`] can be.
    pub enum NumaCacheAssociativity {
        None = "none", Direct = "direct", Full = "full",
    }
    /// What `policy` of [`NumaCache`] can be.
    pub enum NumaCachePolicy {
        None = "none", Writeback = "writeback", Writethrough = "writethrough",
    }
    /// What `type` of [`InterconnectLatency`] and [`InterconnectBandwidth`] can be.
    pub enum InterconnectType {
        Access = "access", Read = "read", Write = "write",
    }
}
