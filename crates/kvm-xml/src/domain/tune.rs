//! Limits and pinning of the whole guest.

use super::VcpuPlacement;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{CpuSet, Memory, Unit, YesNo};
use kvm_xml_derive::Xml;

/// Named I/O limits that several disks share, since 11.2.0: <https://libvirt.org/formatdomain.html#disk-throttle-group-management>.
#[derive(Clone, Default, Xml)]
pub struct ThrottleGroups {
    /// Each needs its `group_name`.
    pub throttlegroup: Vec<Iotune>,
    pub _extra: Extra,
}

/// Weights and limits for block I/O of the whole guest: <https://libvirt.org/formatdomain.html#block-i-o-tuning>.
#[derive(Clone, Default, Xml)]
pub struct Blkiotune {
    /// The share of I/O time when guests compete.
    #[xml(el, min = 100, max = 1000)]
    pub weight: Option<u32>,
    /// One for each host device, which several disks may share. Since 0.9.8.
    pub device: Vec<BlkioDevice>,
    pub _extra: Extra,
}

/// Memory limits of the guest's process: <https://libvirt.org/formatdomain.html#memory-tuning>.
///
/// They count QEMU itself too: guest memory, video memory and overhead.
#[derive(Clone, Default, Xml)]
pub struct Memtune {
    /// Beyond it the kernel kills the guest; libvirt advises against it, except with `memory_backing.locked`.
    pub hard_limit: Option<Memory>,
    /// Kept when the host runs short.
    pub soft_limit: Option<Memory>,
    /// VMware ESX and OpenVZ only.
    pub min_guarantee: Option<Memory>,
    /// Memory and swap together; more than `hard_limit`.
    pub swap_hard_limit: Option<Memory>,
    pub _extra: Extra,
}

/// CPU shares, quotas, pinning and schedulers: <https://libvirt.org/formatdomain.html#cpu-tuning>.
///
/// Periods are in microseconds, 1000 to 1000000. Quotas are microseconds of running time within a period, from 1000;
/// negative means without limit. 0 means not set.
#[derive(Clone, Default, Xml)]
pub struct Cputune {
    /// Relative to other guests, without unit; 1 to 10000 with cgroups v2, 2 to 262144 with v1. Since 0.9.0.
    #[xml(el)]
    pub shares: Option<u32>,
    /// For the whole guest. Since 1.3.3.
    #[xml(el, min = 1000, max = 1000000)]
    pub global_period: Option<u64>,
    /// For the whole guest, all its threads together. Since 1.3.3.
    #[xml(el, min = -1, max = 17592186044415)]
    pub global_quota: Option<i64>,
    /// For each virtual CPU. Since 0.9.4.
    #[xml(el, min = 1000, max = 1000000)]
    pub period: Option<u64>,
    /// For each virtual CPU: half of `period` is half a host CPU. Since 0.9.4.
    #[xml(el, min = -1, max = 17592186044415)]
    pub quota: Option<i64>,
    /// For QEMU's own threads. Since 0.10.0.
    #[xml(el, min = 1000, max = 1000000)]
    pub emulator_period: Option<u64>,
    /// For QEMU's own threads. Since 0.10.0.
    #[xml(el, min = -1, max = 17592186044415)]
    pub emulator_quota: Option<i64>,
    /// For each I/O thread. Since 2.1.0.
    #[xml(el, min = 1000, max = 1000000)]
    pub iothread_period: Option<u64>,
    /// For each I/O thread. Since 2.1.0.
    #[xml(el, min = -1, max = 17592186044415)]
    pub iothread_quota: Option<i64>,
    /// A virtual CPU without one follows `vcpu.cpuset`.
    pub vcpupin: Vec<VcpuPin>,
    pub emulatorpin: Option<EmulatorPin>,
    /// Since 1.2.9.
    pub iothreadpin: Vec<IothreadPin>,
    /// Since 1.2.13.
    pub vcpusched: Vec<VcpuSched>,
    /// Since 1.2.13.
    pub iothreadsched: Vec<IothreadSched>,
    /// Since 5.3.0.
    pub emulatorsched: Option<EmulatorSched>,
    /// Needs resctrl on the host; a virtual CPU is in one at most. Since 4.1.0.
    pub cachetune: Vec<CacheTune>,
    /// Needs resctrl on the host; a virtual CPU is in one at most. Since 4.7.0.
    pub memorytune: Vec<MemoryTune>,
    pub _extra: Extra,
}

/// From which host NUMA nodes memory is taken: <https://libvirt.org/formatdomain.html#numa-node-tuning>.
///
/// QEMU, since 0.9.3.
#[derive(Clone, Default, Xml)]
pub struct Numatune {
    pub memory: Option<NumatuneMemory>,
    /// Overrides `memory` for one cell. Since 1.2.7.
    pub memnode: Vec<Memnode>,
    pub _extra: Extra,
}

/// The control group the guest lives in: <https://libvirt.org/formatdomain.html#resource-partitioning>.
#[derive(Clone, Default, Xml)]
pub struct Resource {
    /// An absolute path under the host's control groups; it must exist. Since 1.0.5.
    #[xml(el, form = "path")]
    pub partition: Option<String>,
    /// Since 7.7.0.
    pub fibrechannel: Option<ResourceFibrechannel>,
    pub _extra: Extra,
}

/// Performance events to count, shown in the domain's statistics, since 2.0.0: <https://libvirt.org/formatdomain.html#performance-monitoring-events>.
#[derive(Clone, Default, Xml)]
pub struct Perf {
    pub event: Vec<PerfEvent>,
    pub _extra: Extra,
}

/// I/O limits: bytes or operations per second, bursts, and burst lengths in seconds: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
///
/// Absent or 0 means without limit. A total stands alone: not together with the same limit for reading or writing.
/// Bursts (`_max`) since 1.2.11, their lengths since 2.4.0.
#[derive(Clone, Default, Xml)]
#[xml(key = "group_name")]
pub struct Iotune {
    /// Operations per second.
    #[xml(el)]
    pub read_iops_sec: Option<u64>,
    /// Bytes per second, reading and writing together.
    #[xml(el)]
    pub total_bytes_sec: Option<u64>,
    /// Bytes per second.
    #[xml(el)]
    pub read_bytes_sec: Option<u64>,
    /// Operations per second.
    #[xml(el)]
    pub write_iops_sec: Option<u64>,
    /// Bytes per second.
    #[xml(el)]
    pub write_bytes_sec: Option<u64>,
    /// Operations per second, reading and writing together.
    #[xml(el)]
    pub total_iops_sec: Option<u64>,
    /// Bytes per second during a burst.
    #[xml(el)]
    pub total_bytes_sec_max: Option<u64>,
    /// Bytes per second during a burst.
    #[xml(el)]
    pub read_bytes_sec_max: Option<u64>,
    /// Bytes per second during a burst.
    #[xml(el)]
    pub write_bytes_sec_max: Option<u64>,
    /// Operations per second during a burst.
    #[xml(el)]
    pub total_iops_sec_max: Option<u64>,
    /// Operations per second during a burst.
    #[xml(el)]
    pub read_iops_sec_max: Option<u64>,
    /// Operations per second during a burst.
    #[xml(el)]
    pub write_iops_sec_max: Option<u64>,
    /// Bytes that count as one operation; larger ones count as several.
    #[xml(el)]
    pub size_iops_sec: Option<u64>,
    /// Disks with the same name share one quota. Since 3.0.0. In `throttlegroups`, the name of the group.
    #[xml(el)]
    pub group_name: Option<String>,
    /// Seconds; needs `total_bytes_sec_max`.
    #[xml(el)]
    pub total_bytes_sec_max_length: Option<u64>,
    /// Seconds; needs `read_bytes_sec_max`.
    #[xml(el)]
    pub read_bytes_sec_max_length: Option<u64>,
    /// Seconds; needs `write_bytes_sec_max`.
    #[xml(el)]
    pub write_bytes_sec_max_length: Option<u64>,
    /// Seconds; needs `total_iops_sec_max`.
    #[xml(el)]
    pub total_iops_sec_max_length: Option<u64>,
    /// Seconds; needs `read_iops_sec_max`.
    #[xml(el)]
    pub read_iops_sec_max_length: Option<u64>,
    /// Seconds; needs `write_iops_sec_max`.
    #[xml(el)]
    pub write_iops_sec_max_length: Option<u64>,
    pub _extra: Extra,
}

/// Weight and limits for one host block device: <https://libvirt.org/formatdomain.html#block-i-o-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "path")]
pub struct BlkioDevice {
    /// The absolute path of the host's block device.
    #[xml(el, form = "path")]
    pub path: Option<String>,
    #[xml(el, min = 100, max = 1000)]
    pub weight: Option<u32>,
    /// Operations per second. Since 1.2.2.
    #[xml(el)]
    pub read_iops_sec: Option<u32>,
    /// Operations per second. Since 1.2.2.
    #[xml(el)]
    pub write_iops_sec: Option<u32>,
    /// Bytes per second. Since 1.2.2.
    #[xml(el)]
    pub read_bytes_sec: Option<u64>,
    /// Bytes per second. Since 1.2.2.
    #[xml(el)]
    pub write_bytes_sec: Option<u64>,
    pub _extra: Extra,
}

/// Host CPUs that one virtual CPU may run on: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "vcpu")]
pub struct VcpuPin {
    /// From 0.
    pub vcpu: Option<u16>,
    pub cpuset: Option<CpuSet>,
    pub _extra: Extra,
}

/// Host CPUs that the emulator's threads may run on: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
pub struct EmulatorPin {
    pub cpuset: Option<CpuSet>,
    pub _extra: Extra,
}

/// Host CPUs that one I/O thread may run on: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "iothread")]
pub struct IothreadPin {
    /// From 1, or a number of `iothreadids`.
    pub iothread: Option<u32>,
    pub cpuset: Option<CpuSet>,
    pub _extra: Extra,
}

/// The scheduler of some virtual CPUs: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "vcpus")]
pub struct VcpuSched {
    /// From 0; absent means all that have none of their own.
    pub vcpus: Option<CpuSet>,
    pub scheduler: Option<Scheduler>,
    /// With `Fifo` and `Rr` only, which need it; usually 1 to 99.
    pub priority: Option<u16>,
    pub _extra: Extra,
}

/// The scheduler of some I/O threads: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "iothreads")]
pub struct IothreadSched {
    /// From 1; absent means all that have none of their own.
    pub iothreads: Option<CpuSet>,
    pub scheduler: Option<Scheduler>,
    /// With `Fifo` and `Rr` only, which need it; usually 1 to 99.
    pub priority: Option<u16>,
    pub _extra: Extra,
}

/// The scheduler of the emulator's threads: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
pub struct EmulatorSched {
    pub scheduler: Option<Scheduler>,
    /// With `Fifo` and `Rr` only, which need it; usually 1 to 99.
    pub priority: Option<u16>,
    pub _extra: Extra,
}

/// Cache set aside for some virtual CPUs: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "vcpus")]
pub struct CacheTune {
    pub vcpus: Option<CpuSet>,
    /// Set by libvirt.
    pub id: Option<String>,
    pub cache: Vec<CacheTuneCache>,
    /// Since 4.10.0.
    pub monitor: Vec<CacheTuneMonitor>,
    pub _extra: Extra,
}

/// Memory bandwidth set aside for some virtual CPUs: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "vcpus")]
pub struct MemoryTune {
    pub vcpus: Option<CpuSet>,
    pub node: Vec<MemoryTuneNode>,
    pub monitor: Vec<MemoryTuneMonitor>,
    pub _extra: Extra,
}

/// How the guest's memory is spread over host nodes: <https://libvirt.org/formatdomain.html#numa-node-tuning>.
#[derive(Clone, Default, Xml)]
pub struct NumatuneMemory {
    /// Default `Strict`. `Preferred` and `Interleave` may go elsewhere; `Restrictive` leaves it to control groups and
    /// lets memory move while the guest runs.
    pub mode: Option<NumatuneMode>,
    /// Nodes of the host; ignored with `placement` `Auto`.
    pub nodeset: Option<CpuSet>,
    /// `Auto` asks numad. Follows `vcpu.placement` if absent. Since 0.9.12.
    pub placement: Option<VcpuPlacement>,
    pub _extra: Extra,
}

/// How the memory of one guest cell is spread over host nodes: <https://libvirt.org/formatdomain.html#numa-node-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "cellid")]
pub struct Memnode {
    /// A cell of `cpu.numa`.
    pub cellid: Option<u32>,
    pub mode: Option<NumatuneMode>,
    pub nodeset: Option<CpuSet>,
    pub _extra: Extra,
}

/// The application id for Fibre Channel: <https://libvirt.org/formatdomain.html#fibre-channel-vmid>.
#[derive(Clone, Default, Xml)]
pub struct ResourceFibrechannel {
    /// At most 128 bytes.
    pub appid: Option<String>,
    pub _extra: Extra,
}

/// One performance event: <https://libvirt.org/formatdomain.html#performance-monitoring-events>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct PerfEvent {
    pub enabled: Option<YesNo>,
    pub name: Option<PerfEventName>,
    pub _extra: Extra,
}

/// A share of one host cache: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id+type")]
pub struct CacheTuneCache {
    /// The cache, as the host's capabilities number them.
    pub id: Option<u32>,
    pub level: Option<u32>,
    /// `Both`, unless the host tells code and data apart; then `Code` and `Data`.
    pub r#type: Option<CacheType>,
    /// Set `unit` with it. A multiple of the granularity that the host's capabilities give.
    pub size: Option<u64>,
    pub unit: Option<Unit>,
    pub _extra: Extra,
}

/// Counts cache use of some virtual CPUs: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
pub struct CacheTuneMonitor {
    pub level: Option<u32>,
    /// Some of those the allocation is for.
    pub vcpus: Option<CpuSet>,
    pub _extra: Extra,
}

/// A share, in percent, of one host node's memory bandwidth: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct MemoryTuneNode {
    pub id: Option<u32>,
    /// Percent.
    pub bandwidth: Option<u32>,
    pub _extra: Extra,
}

/// Counts memory bandwidth of some virtual CPUs: <https://libvirt.org/formatdomain.html#cpu-tuning>.
#[derive(Clone, Default, Xml)]
pub struct MemoryTuneMonitor {
    /// Some of those the allocation is for.
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
