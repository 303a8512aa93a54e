//! Limits and pinning of the whole guest.

use super::VcpuPlacement;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{CpuSet, Memory, Unit, YesNo};
use kvm_xml_derive::Xml;

/// Named I/O limits that several disks share.
#[derive(Clone, Default, Xml)]
pub struct ThrottleGroups {
    pub throttlegroup: Vec<Iotune>,
    pub _extra: Extra,
}

/// Weights and limits for block I/O of the whole guest: <https://libvirt.org/formatdomain.html#block-i-o-tuning>.
#[derive(Clone, Default, Xml)]
pub struct Blkiotune {
    #[xml(el, min = 100, max = 1000)]
    pub weight: Option<u32>,
    pub device: Vec<BlkioDevice>,
    pub _extra: Extra,
}

/// Memory limits of the guest's process: <https://libvirt.org/formatdomain.html#memory-tuning>.
#[derive(Clone, Default, Xml)]
pub struct Memtune {
    pub hard_limit: Option<Memory>,
    pub soft_limit: Option<Memory>,
    pub min_guarantee: Option<Memory>,
    pub swap_hard_limit: Option<Memory>,
    pub _extra: Extra,
}

/// CPU shares, quotas, pinning and schedulers: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
pub struct Cputune {
    #[xml(el)]
    pub shares: Option<u32>,
    #[xml(el, min = 1000, max = 1000000)]
    pub global_period: Option<u64>,
    #[xml(el, min = -1, max = 17592186044415)]
    pub global_quota: Option<i64>,
    #[xml(el, min = 1000, max = 1000000)]
    pub period: Option<u64>,
    #[xml(el, min = -1, max = 17592186044415)]
    pub quota: Option<i64>,
    #[xml(el, min = 1000, max = 1000000)]
    pub emulator_period: Option<u64>,
    #[xml(el, min = -1, max = 17592186044415)]
    pub emulator_quota: Option<i64>,
    #[xml(el, min = 1000, max = 1000000)]
    pub iothread_period: Option<u64>,
    #[xml(el, min = -1, max = 17592186044415)]
    pub iothread_quota: Option<i64>,
    pub vcpupin: Vec<VcpuPin>,
    pub emulatorpin: Option<EmulatorPin>,
    pub iothreadpin: Vec<IothreadPin>,
    pub vcpusched: Vec<VcpuSched>,
    pub iothreadsched: Vec<IothreadSched>,
    pub emulatorsched: Option<EmulatorSched>,
    pub cachetune: Vec<CacheTune>,
    pub memorytune: Vec<MemoryTune>,
    pub _extra: Extra,
}

/// From which host NUMA nodes memory is taken: <https://libvirt.org/formatdomain.html#numa-node-tuning>.
#[derive(Clone, Default, Xml)]
pub struct Numatune {
    pub memory: Option<NumatuneMemory>,
    pub memnode: Vec<Memnode>,
    pub _extra: Extra,
}

/// The control group the guest lives in: <https://libvirt.org/formatdomain.html#resource-partitioning>.
#[derive(Clone, Default, Xml)]
pub struct Resource {
    #[xml(el)]
    pub partition: Option<String>,
    pub fibrechannel: Option<ResourceFibrechannel>,
    pub _extra: Extra,
}

/// Performance events to count: <https://libvirt.org/formatdomain.html#performance-monitoring-events>.
#[derive(Clone, Default, Xml)]
pub struct Perf {
    pub event: Vec<PerfEvent>,
    pub _extra: Extra,
}

/// I/O limits: bytes or operations per second, bursts, and burst lengths in seconds.
#[derive(Clone, Default, Xml)]
pub struct Iotune {
    #[xml(el)]
    pub read_iops_sec: Option<u64>,
    #[xml(el)]
    pub total_bytes_sec: Option<u64>,
    #[xml(el)]
    pub read_bytes_sec: Option<u64>,
    #[xml(el)]
    pub write_iops_sec: Option<u64>,
    #[xml(el)]
    pub write_bytes_sec: Option<u64>,
    #[xml(el)]
    pub total_iops_sec: Option<u64>,
    #[xml(el)]
    pub total_bytes_sec_max: Option<u64>,
    #[xml(el)]
    pub read_bytes_sec_max: Option<u64>,
    #[xml(el)]
    pub write_bytes_sec_max: Option<u64>,
    #[xml(el)]
    pub total_iops_sec_max: Option<u64>,
    #[xml(el)]
    pub read_iops_sec_max: Option<u64>,
    #[xml(el)]
    pub write_iops_sec_max: Option<u64>,
    #[xml(el)]
    pub size_iops_sec: Option<u64>,
    #[xml(el)]
    pub group_name: Option<String>,
    #[xml(el)]
    pub total_bytes_sec_max_length: Option<u64>,
    #[xml(el)]
    pub read_bytes_sec_max_length: Option<u64>,
    #[xml(el)]
    pub write_bytes_sec_max_length: Option<u64>,
    #[xml(el)]
    pub total_iops_sec_max_length: Option<u64>,
    #[xml(el)]
    pub read_iops_sec_max_length: Option<u64>,
    #[xml(el)]
    pub write_iops_sec_max_length: Option<u64>,
    pub _extra: Extra,
}

/// Weight and limits for one host block device.
#[derive(Clone, Default, Xml)]
pub struct BlkioDevice {
    #[xml(el)]
    pub path: Option<String>,
    #[xml(el, min = 100, max = 1000)]
    pub weight: Option<u32>,
    #[xml(el)]
    pub read_iops_sec: Option<u32>,
    #[xml(el)]
    pub write_iops_sec: Option<u32>,
    #[xml(el)]
    pub read_bytes_sec: Option<u64>,
    #[xml(el)]
    pub write_bytes_sec: Option<u64>,
    pub _extra: Extra,
}

/// Host CPUs that one virtual CPU may run on.
#[derive(Clone, Default, Xml)]
#[xml(key = "vcpu")]
pub struct VcpuPin {
    pub vcpu: Option<u16>,
    pub cpuset: Option<CpuSet>,
    pub _extra: Extra,
}

/// Host CPUs that the emulator's threads may run on.
#[derive(Clone, Default, Xml)]
pub struct EmulatorPin {
    pub cpuset: Option<CpuSet>,
    pub _extra: Extra,
}

/// Host CPUs that one I/O thread may run on.
#[derive(Clone, Default, Xml)]
#[xml(key = "iothread")]
pub struct IothreadPin {
    pub iothread: Option<u32>,
    pub cpuset: Option<CpuSet>,
    pub _extra: Extra,
}

/// The scheduler of some virtual CPUs.
#[derive(Clone, Default, Xml)]
pub struct VcpuSched {
    pub vcpus: Option<CpuSet>,
    pub scheduler: Option<Scheduler>,
    pub priority: Option<u16>,
    pub _extra: Extra,
}

/// The scheduler of some I/O threads.
#[derive(Clone, Default, Xml)]
pub struct IothreadSched {
    pub iothreads: Option<CpuSet>,
    pub scheduler: Option<Scheduler>,
    pub priority: Option<u16>,
    pub _extra: Extra,
}

/// The scheduler of the emulator's threads.
#[derive(Clone, Default, Xml)]
pub struct EmulatorSched {
    pub scheduler: Option<Scheduler>,
    pub priority: Option<u16>,
    pub _extra: Extra,
}

/// Cache set aside for some virtual CPUs.
#[derive(Clone, Default, Xml)]
pub struct CacheTune {
    pub vcpus: Option<CpuSet>,
    pub id: Option<String>,
    pub cache: Vec<CacheTuneCache>,
    pub monitor: Vec<CacheTuneMonitor>,
    pub _extra: Extra,
}

/// Memory bandwidth set aside for some virtual CPUs.
#[derive(Clone, Default, Xml)]
pub struct MemoryTune {
    pub vcpus: Option<CpuSet>,
    pub node: Vec<MemoryTuneNode>,
    pub monitor: Vec<MemoryTuneMonitor>,
    pub _extra: Extra,
}

/// How the guest's memory is spread over host nodes.
#[derive(Clone, Default, Xml)]
pub struct NumatuneMemory {
    pub mode: Option<NumatuneMode>,
    pub nodeset: Option<CpuSet>,
    pub placement: Option<VcpuPlacement>,
    pub _extra: Extra,
}

/// How the memory of one guest cell is spread over host nodes.
#[derive(Clone, Default, Xml)]
pub struct Memnode {
    pub cellid: Option<u32>,
    pub mode: Option<NumatuneMode>,
    pub nodeset: Option<CpuSet>,
    pub _extra: Extra,
}

/// The application id for Fibre Channel.
#[derive(Clone, Default, Xml)]
pub struct ResourceFibrechannel {
    pub appid: Option<String>,
    pub _extra: Extra,
}

/// One performance event.
#[derive(Clone, Default, Xml)]
pub struct PerfEvent {
    pub enabled: Option<YesNo>,
    pub name: Option<PerfEventName>,
    pub _extra: Extra,
}

/// A share of one host cache; KiB unless `unit` says otherwise.
#[derive(Clone, Default, Xml)]
pub struct CacheTuneCache {
    pub id: Option<u32>,
    pub level: Option<u32>,
    pub r#type: Option<CacheType>,
    pub size: Option<u64>,
    pub unit: Option<Unit>,
    pub _extra: Extra,
}

/// Counts cache use of some virtual CPUs.
#[derive(Clone, Default, Xml)]
pub struct CacheTuneMonitor {
    pub level: Option<u32>,
    pub vcpus: Option<CpuSet>,
    pub _extra: Extra,
}

/// A share, in percent, of one host node's memory bandwidth.
#[derive(Clone, Default, Xml)]
pub struct MemoryTuneNode {
    pub id: Option<u32>,
    pub bandwidth: Option<u32>,
    pub _extra: Extra,
}

/// Counts memory bandwidth of some virtual CPUs.
#[derive(Clone, Default, Xml)]
pub struct MemoryTuneMonitor {
    pub vcpus: Option<CpuSet>,
    pub _extra: Extra,
}

closed! {
    /// What `scheduler` of [`VcpuSched`], [`IothreadSched`] and [`EmulatorSched`] can be.
    pub enum Scheduler {
        Batch = "batch", Idle = "idle", Fifo = "fifo", Rr = "rr",
    }
    /// What `mode` of [`NumatuneMemory`] and [`Memnode`] can be.
    pub enum NumatuneMode {
        Strict = "strict", Preferred = "preferred", Interleave = "interleave", Restrictive = "restrictive",
    }
    /// What `name` of [`PerfEvent`] can be.
    pub enum PerfEventName {
        Cmt = "cmt", Mbmt = "mbmt", Mbml = "mbml", CpuCycles = "cpu_cycles", Instructions = "instructions",
        CacheReferences = "cache_references", CacheMisses = "cache_misses",
        BranchInstructions = "branch_instructions", BranchMisses = "branch_misses", BusCycles = "bus_cycles",
        StalledCyclesFrontend = "stalled_cycles_frontend", StalledCyclesBackend = "stalled_cycles_backend",
        RefCpuCycles = "ref_cpu_cycles", CpuClock = "cpu_clock", TaskClock = "task_clock", PageFaults = "page_faults",
        ContextSwitches = "context_switches", CpuMigrations = "cpu_migrations", PageFaultsMin = "page_faults_min",
        PageFaultsMaj = "page_faults_maj", AlignmentFaults = "alignment_faults", EmulationFaults = "emulation_faults",
    }
    /// What `type` of [`CacheTuneCache`], [`CacheBank`](crate::capabilities::CacheBank) and [`CacheControl`](crate::capabilities::CacheControl) can be.
    pub enum CacheType {
        Both = "both", Code = "code", Data = "data",
    }
}
