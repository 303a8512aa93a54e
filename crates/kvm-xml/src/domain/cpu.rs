//! Virtual CPUs, their model, and NUMA.

use super::MemoryAccess;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{CpuSet, OnOff, Unit, VendorId, YesNo};
use kvm_xml_derive::Xml;

/// The CPU that the guest sees: <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
#[derive(Clone, Default, Xml)]
#[xml(root = "cpu")]
pub struct Cpu {
    pub mode: Option<CpuModeName>,
    pub r#match: Option<CpuMatch>,
    pub check: Option<CpuCheck>,
    pub deprecated_features: Option<OnOff>,
    pub migratable: Option<OnOff>,
    pub model: Option<CpuModel>,
    #[xml(el)]
    pub vendor: Option<String>,
    pub topology: Option<CpuTopology>,
    pub cache: Option<CpuCache>,
    pub feature: Vec<CpuFeature>,
    pub numa: Option<Numa>,
    pub maxphysaddr: Option<MaxPhysAddr>,
    pub _extra: Extra,
}

/// How many virtual CPUs the guest has at most, and on which host CPUs they run: <https://libvirt.org/formatdomain.html#cpu-allocation>.
#[derive(Clone, Default, Xml)]
pub struct Vcpu {
    pub placement: Option<VcpuPlacement>,
    pub cpuset: Option<CpuSet>,
    #[xml(min = 1)]
    pub current: Option<u16>,
    #[xml(text, min = 1)]
    pub value: Option<u16>,
    pub _extra: Extra,
}

/// The state of each virtual CPU.
#[derive(Clone, Default, Xml)]
pub struct Vcpus {
    pub vcpu: Vec<VcpuState>,
    pub _extra: Extra,
}

/// The I/O threads by number: <https://libvirt.org/formatdomain.html#iothreads-allocation>.
#[derive(Clone, Default, Xml)]
pub struct IothreadIds {
    pub iothread: Vec<Iothread>,
    pub _extra: Extra,
}

/// The thread pool of QEMU's main loop.
#[derive(Clone, Default, Xml)]
pub struct DefaultIothread {
    pub thread_pool_min: Option<u32>,
    pub thread_pool_max: Option<u32>,
    pub _extra: Extra,
}

/// The named CPU model the guest's CPU starts from.
#[derive(Clone, Default, Xml)]
pub struct CpuModel {
    pub fallback: Option<CpuModelFallback>,
    pub vendor_id: Option<VendorId>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Sockets, dies, clusters, cores and threads.
#[derive(Clone, Default, Xml)]
pub struct CpuTopology {
    #[xml(min = 1)]
    pub sockets: Option<u32>,
    #[xml(min = 1)]
    pub dies: Option<u32>,
    #[xml(min = 1)]
    pub clusters: Option<u32>,
    #[xml(min = 1)]
    pub cores: Option<u32>,
    #[xml(min = 1)]
    pub threads: Option<u32>,
    pub _extra: Extra,
}

/// One CPU feature and what to do about it.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct CpuFeature {
    pub policy: Option<CpuFeaturePolicy>,
    pub name: Option<String>,
    pub _extra: Extra,
}

/// The guest's NUMA cells: <https://libvirt.org/formatdomain.html#guest-numa-topology>.
#[derive(Clone, Default, Xml)]
pub struct Numa {
    pub cell: Vec<NumaCell>,
    pub interconnects: Option<Interconnects>,
    pub _extra: Extra,
}

/// Which CPU cache the guest sees.
#[derive(Clone, Default, Xml)]
pub struct CpuCache {
    #[xml(min = 1, max = 3)]
    pub level: Option<u8>,
    pub mode: Option<CpuCacheMode>,
    pub _extra: Extra,
}

/// How many address bits the guest's CPU has.
#[derive(Clone, Default, Xml)]
pub struct MaxPhysAddr {
    pub mode: Option<MaxPhysAddrMode>,
    pub bits: Option<u32>,
    pub limit: Option<u32>,
    pub _extra: Extra,
}

/// One virtual CPU: whether it is plugged in, and in which order.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct VcpuState {
    pub id: Option<u32>,
    pub enabled: Option<YesNo>,
    pub hotpluggable: Option<YesNo>,
    pub order: Option<u32>,
    pub _extra: Extra,
}

/// One I/O thread.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct Iothread {
    pub id: Option<u32>,
    pub thread_pool_min: Option<u32>,
    pub thread_pool_max: Option<u32>,
    pub poll: Option<IothreadPoll>,
    pub _extra: Extra,
}

/// One NUMA cell of the guest; `memory` is in KiB unless `unit` says otherwise.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct NumaCell {
    pub id: Option<u32>,
    pub cpus: Option<CpuSet>,
    pub memory: Option<u64>,
    pub unit: Option<Unit>,
    #[xml("memAccess")]
    pub mem_access: Option<MemoryAccess>,
    pub discard: Option<YesNo>,
    pub distances: Option<Distances>,
    pub cache: Vec<NumaCache>,
    pub _extra: Extra,
}

/// Latency and bandwidth between NUMA cells.
#[derive(Clone, Default, Xml)]
pub struct Interconnects {
    pub latency: Vec<InterconnectLatency>,
    pub bandwidth: Vec<InterconnectBandwidth>,
    pub _extra: Extra,
}

/// Polling times of an I/O thread, in nanoseconds.
#[derive(Clone, Default, Xml)]
pub struct IothreadPoll {
    pub max: Option<u64>,
    pub grow: Option<u64>,
    pub shrink: Option<u64>,
    pub _extra: Extra,
}

/// Distances from one NUMA cell to the others.
#[derive(Clone, Default, Xml)]
pub struct Distances {
    pub sibling: Vec<Distance>,
    pub _extra: Extra,
}

/// A memory side cache of a NUMA cell.
#[derive(Clone, Default, Xml)]
pub struct NumaCache {
    pub level: Option<u32>,
    pub associativity: Option<NumaCacheAssociativity>,
    pub policy: Option<NumaCachePolicy>,
    pub size: Option<NumaCacheSize>,
    pub line: Option<NumaCacheSize>,
    pub _extra: Extra,
}

/// Latency from one cell to another, in nanoseconds.
#[derive(Clone, Default, Xml)]
pub struct InterconnectLatency {
    pub initiator: Option<u32>,
    pub target: Option<u32>,
    pub cache: Option<u32>,
    pub r#type: Option<InterconnectType>,
    pub value: Option<u32>,
    pub _extra: Extra,
}

/// Bandwidth from one cell to another, per second.
#[derive(Clone, Default, Xml)]
pub struct InterconnectBandwidth {
    pub initiator: Option<u32>,
    pub target: Option<u32>,
    pub cache: Option<u32>,
    pub r#type: Option<InterconnectType>,
    pub value: Option<u32>,
    pub unit: Option<Unit>,
    pub _extra: Extra,
}

/// The distance to one NUMA cell.
#[derive(Clone, Default, Xml)]
pub struct Distance {
    pub id: Option<u32>,
    #[xml(min = 10, max = 255)]
    pub value: Option<u32>,
    pub _extra: Extra,
}

/// A size inside a memory side cache.
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
