//! Memory, what backs it, and memory modules.

use super::{Address, Alias, DeviceAcpi};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{CpuSet, Memory, OnOff, Unit, YesNo, sized};
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// The most memory the guest may have at boot; KiB unless `unit` says otherwise.
#[derive(Clone, Default, Xml)]
pub struct DomainMemory {
    pub unit: Option<Unit>,
    #[xml("dumpCore")]
    pub dump_core: Option<OnOff>,
    #[xml(text)]
    pub value: Option<u64>,
    pub _extra: Extra,
}

/// The ceiling for memory hot-plug; KiB unless `unit` says otherwise.
#[derive(Clone, Default, Xml)]
pub struct MaxMemory {
    pub slots: Option<u32>,
    pub unit: Option<Unit>,
    #[xml(text)]
    pub value: Option<u64>,
    pub _extra: Extra,
}

/// Where the guest's memory comes from: <https://libvirt.org/formatdomain.html#memory-backing>.
#[derive(Clone, Default, Xml)]
pub struct MemoryBacking {
    pub hugepages: Option<Hugepages>,
    pub nosharepages: bool,
    pub locked: bool,
    pub source: Option<MemoryBackingSource>,
    pub access: Option<MemoryBackingAccess>,
    pub allocation: Option<MemoryAllocation>,
    pub discard: bool,
    pub _extra: Extra,
}

/// Back the guest's memory by huge pages.
#[derive(Clone, Default, Xml)]
pub struct Hugepages {
    pub page: Vec<Hugepage>,
    pub _extra: Extra,
}

/// The kind of memory object.
#[derive(Clone, Default, Xml)]
pub struct MemoryBackingSource {
    pub r#type: Option<MemoryBackingSourceType>,
    pub _extra: Extra,
}

/// Whether the memory is shared with other processes.
#[derive(Clone, Default, Xml)]
pub struct MemoryBackingAccess {
    pub mode: Option<MemoryAccess>,
    pub _extra: Extra,
}

/// When the memory is allocated.
#[derive(Clone, Default, Xml)]
pub struct MemoryAllocation {
    pub mode: Option<MemoryAllocationMode>,
    pub threads: Option<u32>,
    pub _extra: Extra,
}

/// A memory module that can be plugged in: <https://libvirt.org/formatdomain.html#memory-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "memory")]
pub struct MemoryDevice {
    pub model: Option<MemoryDeviceModel>,
    pub access: Option<MemoryAccess>,
    pub discard: Option<YesNo>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub source: Option<MemoryDeviceSource>,
    pub target: Option<MemoryDeviceTarget>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub acpi: Option<DeviceAcpi>,
    pub _extra: Extra,
}

/// Which page size is used for which guest NUMA nodes.
#[derive(Clone, Default, Xml)]
pub struct Hugepage {
    pub size: Option<u64>,
    pub unit: Option<Unit>,
    pub nodeset: Option<CpuSet>,
    pub _extra: Extra,
}

/// Where a memory module's bytes are on the host.
#[derive(Clone, Default, Xml)]
pub struct MemoryDeviceSource {
    pub pagesize: Option<Memory>,
    #[xml(el)]
    pub nodemask: Option<CpuSet>,
    #[xml(el)]
    pub path: Option<String>,
    pub alignsize: Option<Memory>,
    pub pmem: bool,
    pub _extra: Extra,
}

/// How the guest sees a memory module.
#[derive(Clone, Default, Xml)]
pub struct MemoryDeviceTarget {
    #[xml("dynamicMemslots")]
    pub dynamic_memslots: Option<YesNo>,
    pub size: Option<Memory>,
    #[xml(el)]
    pub node: Option<u32>,
    pub block: Option<Memory>,
    pub requested: Option<Memory>,
    pub current: Option<Memory>,
    pub label: Option<NvdimmLabel>,
    pub readonly: bool,
    pub address: Option<MemoryBase>,
    pub _extra: Extra,
}

/// The label area of an NVDIMM.
#[derive(Clone, Default, Xml)]
pub struct NvdimmLabel {
    pub size: Option<Memory>,
    pub _extra: Extra,
}

/// Where a memory module is mapped.
#[derive(Clone, Default, Xml)]
pub struct MemoryBase {
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
