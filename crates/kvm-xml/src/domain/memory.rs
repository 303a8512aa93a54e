//! Memory, what backs it, and memory modules.

use super::{Address, Alias, DeviceAcpi};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{CpuSet, Memory, OnOff, Unit, YesNo, sized};
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// The most memory the guest may have at boot; KiB unless `unit` says otherwise: <https://libvirt.org/formatdomain.html#memory-allocation>.
///
/// libvirt rounds up to whole KiB, and the hypervisor further.
#[derive(Clone, Default, Xml)]
pub struct DomainMemory {
    pub unit: Option<Unit>,
    /// Whether a core dump has the guest's memory. QEMU, since 0.10.2.
    #[xml("dumpCore")]
    pub dump_core: Option<OnOff>,
    #[xml(text)]
    pub value: Option<u64>,
    pub _extra: Extra,
}

/// The ceiling for memory hot-plug; KiB unless `unit` says otherwise: <https://libvirt.org/formatdomain.html#memory-allocation>.
#[derive(Clone, Default, Xml)]
pub struct MaxMemory {
    /// How many memory modules can be plugged in.
    pub slots: Option<u32>,
    pub unit: Option<Unit>,
    #[xml(text)]
    pub value: Option<u64>,
    pub _extra: Extra,
}

/// Where the guest's memory comes from: <https://libvirt.org/formatdomain.html#memory-backing>.
///
/// virtiofs and vhost-user devices need `access.mode` `Shared`, with `source.type` `Memfd` or `File`, or huge pages.
#[derive(Clone, Default, Xml)]
pub struct MemoryBacking {
    pub hugepages: Option<Hugepages>,
    /// The host does not merge equal pages (KSM). Since 1.0.6.
    pub nosharepages: bool,
    /// Nothing is swapped out. libvirt lifts the limit of locked memory, so set `memtune.hard_limit` too. Since 1.0.6.
    pub locked: bool,
    pub source: Option<MemoryBackingSource>,
    pub access: Option<MemoryBackingAccess>,
    pub allocation: Option<MemoryAllocation>,
    /// The content is thrown away at shutdown instead of written back. Since 4.4.0.
    pub discard: bool,
    pub _extra: Extra,
}

/// Back the guest's memory by huge pages: <https://libvirt.org/formatdomain.html#memory-backing>.
#[derive(Clone, Default, Xml)]
pub struct Hugepages {
    /// Absent means the host's default size for all nodes. Since 1.2.5.
    pub page: Vec<Hugepage>,
    pub _extra: Extra,
}

/// The kind of memory object: <https://libvirt.org/formatdomain.html#memory-backing>.
#[derive(Clone, Default, Xml)]
pub struct MemoryBackingSource {
    /// Default `Anonymous`. `Memfd` since 4.10.0.
    pub r#type: Option<MemoryBackingSourceType>,
    pub _extra: Extra,
}

/// Whether the memory is shared with other processes: <https://libvirt.org/formatdomain.html#memory-backing>.
#[derive(Clone, Default, Xml)]
pub struct MemoryBackingAccess {
    /// A cell's `mem_access` overrides it.
    pub mode: Option<MemoryAccess>,
    pub _extra: Extra,
}

/// When the memory is allocated: <https://libvirt.org/formatdomain.html#memory-backing>.
#[derive(Clone, Default, Xml)]
pub struct MemoryAllocation {
    /// `Immediate` takes all at start, `Ondemand` as the guest touches it.
    pub mode: Option<MemoryAllocationMode>,
    /// How many threads allocate. Since 8.2.0.
    pub threads: Option<u32>,
    pub _extra: Extra,
}

/// A memory module that can be plugged in: <https://libvirt.org/formatdomain.html#memory-devices>.
///
/// `memory` of the domain counts it too, and `max_memory` must leave room.
#[derive(Clone, Default, Xml)]
#[xml(root = "memory")]
pub struct MemoryDevice {
    /// `Dimm` since 1.2.14, `Nvdimm` since 3.2.0, `VirtioPmem` since 7.1.0, `VirtioMem` since 7.9.0, `SgxEpc` since
    /// 8.10.0.
    pub model: Option<MemoryDeviceModel>,
    /// `VirtioPmem`, and an `Nvdimm` on a real device, need `Shared`. Since 3.2.0.
    pub access: Option<MemoryAccess>,
    /// `Dimm` only. Since 4.4.0.
    pub discard: Option<YesNo>,
    /// `Nvdimm` of pSeries only. Since 6.2.0.
    #[xml(el)]
    pub uuid: Option<Uuid>,
    /// `Nvdimm` and `VirtioPmem` need it, with `path`.
    pub source: Option<MemoryDeviceSource>,
    /// Every module needs it, with `size`.
    pub target: Option<MemoryDeviceTarget>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub acpi: Option<DeviceAcpi>,
    pub _extra: Extra,
}

/// Which page size is used for which guest NUMA nodes: <https://libvirt.org/formatdomain.html#memory-backing>.
#[derive(Clone, Default, Xml)]
#[xml(key = "nodeset|size+unit")]
pub struct Hugepage {
    /// KiB unless `unit` says otherwise; a size that the host has.
    pub size: Option<u64>,
    pub unit: Option<Unit>,
    /// NUMA cells of the guest; absent means the others.
    pub nodeset: Option<CpuSet>,
    pub _extra: Extra,
}

/// Where a memory module's bytes are on the host: <https://libvirt.org/formatdomain.html#memory-devices>.
#[derive(Clone, Default, Xml)]
pub struct MemoryDeviceSource {
    /// The host's page size for this module.
    pub pagesize: Option<Memory>,
    /// The host's NUMA nodes for this module.
    #[xml(el)]
    pub nodemask: Option<CpuSet>,
    /// The file or device of an `Nvdimm` or `VirtioPmem`.
    #[xml(el, form = "path")]
    pub path: Option<String>,
    /// `Nvdimm`: 2 MiB for most real devices; the host's page size if absent. Since 5.0.0.
    pub alignsize: Option<Memory>,
    /// `Nvdimm`: writes are safe once made. Since 5.0.0.
    pub pmem: bool,
    pub _extra: Extra,
}

/// How the guest sees a memory module: <https://libvirt.org/formatdomain.html#memory-devices>.
#[derive(Clone, Default, Xml)]
pub struct MemoryDeviceTarget {
    /// `VirtioMem`: lets the hypervisor map the module in parts. Since 10.1.0.
    #[xml("dynamicMemslots")]
    pub dynamic_memslots: Option<YesNo>,
    /// For `VirtioMem` the most it can grow to.
    pub size: Option<Memory>,
    /// The guest's NUMA cell; only if it has cells.
    #[xml(el)]
    pub node: Option<u32>,
    /// `VirtioMem`: the step in which it grows, a power of two and at least 2 MiB on x86.
    pub block: Option<Memory>,
    /// `VirtioMem`: how much the guest shall have, in whole blocks, at most `size`.
    pub requested: Option<Memory>,
    /// `VirtioMem`: how much it has; set by libvirt.
    pub current: Option<Memory>,
    /// `Nvdimm` only.
    pub label: Option<NvdimmLabel>,
    /// `Nvdimm` only. Since 5.0.0.
    pub readonly: bool,
    /// `VirtioMem` and `VirtioPmem`. Since 9.4.0.
    pub address: Option<MemoryBase>,
    pub _extra: Extra,
}

/// The label area of an NVDIMM: <https://libvirt.org/formatdomain.html#memory-devices>.
#[derive(Clone, Default, Xml)]
pub struct NvdimmLabel {
    /// At least 128 KiB.
    pub size: Option<Memory>,
    pub _extra: Extra,
}

/// Where a memory module is mapped: <https://libvirt.org/formatdomain.html#memory-devices>.
#[derive(Clone, Default, Xml)]
pub struct MemoryBase {
    /// The physical address in the guest.
    #[xml(base16 = 1)]
    pub base: Option<u64>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`MemoryBackingSource`] can be.
    pub enum MemoryBackingSourceType {
        File = "file", Anonymous = "anonymous", Memfd = "memfd",
    }
    /// What `mode` of [`MemoryBackingAccess`]; `access` of [`MemoryDevice`]; `memAccess` of [`NumaCell`](crate::domain::NumaCell) can be.
    pub enum MemoryAccess {
        Shared = "shared", Private = "private",
    }
    /// What `mode` of [`MemoryAllocation`] can be.
    pub enum MemoryAllocationMode {
        Immediate = "immediate", Ondemand = "ondemand",
    }
    /// What `model` of [`MemoryDevice`] can be.
    pub enum MemoryDeviceModel {
        Dimm = "dimm", Nvdimm = "nvdimm", VirtioPmem = "virtio-pmem", VirtioMem = "virtio-mem", SgxEpc = "sgx-epc",
    }
}

sized!(DomainMemory, Unit::KiB);
sized!(MaxMemory, Unit::KiB);
