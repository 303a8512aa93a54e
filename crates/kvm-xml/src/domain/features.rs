//! Hypervisor features.

use crate::common::{Enabled, Toggle};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Memory, OnOff, Tseg};
use kvm_xml_derive::Xml;

/// Hypervisor features switched on or off: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Features {
    pub acpi: bool,
    pub apic: Option<Apic>,
    pub pae: bool,
    pub hap: Option<Toggle>,
    pub privnet: bool,
    pub hyperv: Option<Hyperv>,
    pub viridian: bool,
    pub kvm: Option<KvmFeatures>,
    pub xen: Option<XenFeatures>,
    pub pvspinlock: Option<Toggle>,
    pub gic: Option<Gic>,
    pub capabilities: Option<LxcCapabilities>,
    pub pmu: Option<Toggle>,
    pub vmport: Option<Toggle>,
    pub smm: Option<Smm>,
    pub ioapic: Option<Ioapic>,
    pub hpt: Option<Hpt>,
    pub vmcoreinfo: Option<Toggle>,
    pub htm: Option<Toggle>,
    #[xml("nested-hv")]
    pub nested_hv: Option<Toggle>,
    pub msrs: Option<Msrs>,
    #[xml("ccf-assist")]
    pub ccf_assist: Option<Toggle>,
    pub cfpc: Option<Mitigation>,
    pub sbbc: Option<Mitigation>,
    pub ibs: Option<Ibs>,
    pub tcg: Option<Tcg>,
    #[xml("async-teardown")]
    pub async_teardown: Option<Enabled>,
    pub ras: Option<Toggle>,
    pub ps2: Option<Toggle>,
    pub aia: Option<Aia>,
    pub _extra: Extra,
}

/// The APIC, and its end-of-interrupt mode.
#[derive(Clone, Default, Xml)]
pub struct Apic {
    pub eoi: Option<OnOff>,
    pub _extra: Extra,
}

/// Enlightenments for Windows guests.
#[derive(Clone, Default, Xml)]
pub struct Hyperv {
    pub mode: Option<HypervMode>,
    pub relaxed: Option<Toggle>,
    pub vapic: Option<Toggle>,
    pub spinlocks: Option<HypervSpinlocks>,
    pub vpindex: Option<Toggle>,
    pub runtime: Option<Toggle>,
    pub synic: Option<Toggle>,
    pub stimer: Option<HypervStimer>,
    pub reset: Option<Toggle>,
    pub vendor_id: Option<HypervVendorId>,
    pub frequencies: Option<Toggle>,
    pub reenlightenment: Option<Toggle>,
    pub tlbflush: Option<HypervTlbflush>,
    pub ipi: Option<Toggle>,
    pub evmcs: Option<Toggle>,
    pub avic: Option<Toggle>,
    pub emsr_bitmap: Option<Toggle>,
    pub xmm_input: Option<Toggle>,
    pub _extra: Extra,
}

/// Features of KVM itself.
#[derive(Clone, Default, Xml)]
pub struct KvmFeatures {
    pub hidden: Option<Toggle>,
    #[xml("hint-dedicated")]
    pub hint_dedicated: Option<Toggle>,
    #[xml("poll-control")]
    pub poll_control: Option<Toggle>,
    #[xml("pv-ipi")]
    pub pv_ipi: Option<Toggle>,
    #[xml("dirty-ring")]
    pub dirty_ring: Option<DirtyRing>,
    pub _extra: Extra,
}

/// Features of Xen itself.
#[derive(Clone, Default, Xml)]
pub struct XenFeatures {
    pub e820_host: Option<Toggle>,
    pub passthrough: Option<XenPassthrough>,
    pub _extra: Extra,
}

/// Capabilities a container keeps or drops.
#[derive(Clone, Default, Xml)]
pub struct LxcCapabilities {
    pub policy: Option<LxcCapabilitiesPolicy>,
    pub audit_control: Option<Toggle>,
    pub audit_write: Option<Toggle>,
    pub block_suspend: Option<Toggle>,
    pub chown: Option<Toggle>,
    pub dac_override: Option<Toggle>,
    pub dac_read_search: Option<Toggle>,
    pub fowner: Option<Toggle>,
    pub fsetid: Option<Toggle>,
    pub ipc_lock: Option<Toggle>,
    pub ipc_owner: Option<Toggle>,
    pub kill: Option<Toggle>,
    pub lease: Option<Toggle>,
    pub linux_immutable: Option<Toggle>,
    pub mac_admin: Option<Toggle>,
    pub mac_override: Option<Toggle>,
    pub mknod: Option<Toggle>,
    pub net_admin: Option<Toggle>,
    pub net_bind_service: Option<Toggle>,
    pub net_broadcast: Option<Toggle>,
    pub net_raw: Option<Toggle>,
    pub setgid: Option<Toggle>,
    pub setfcap: Option<Toggle>,
    pub setpcap: Option<Toggle>,
    pub setuid: Option<Toggle>,
    pub sys_admin: Option<Toggle>,
    pub sys_boot: Option<Toggle>,
    pub sys_chroot: Option<Toggle>,
    pub sys_module: Option<Toggle>,
    pub sys_nice: Option<Toggle>,
    pub sys_pacct: Option<Toggle>,
    pub sys_ptrace: Option<Toggle>,
    pub sys_rawio: Option<Toggle>,
    pub sys_resource: Option<Toggle>,
    pub sys_time: Option<Toggle>,
    pub sys_tty_config: Option<Toggle>,
    pub syslog: Option<Toggle>,
    pub wake_alarm: Option<Toggle>,
    pub _extra: Extra,
}

/// The interrupt controller of ARM guests.
#[derive(Clone, Default, Xml)]
pub struct Gic {
    pub version: Option<GicVersion>,
    pub _extra: Extra,
}

/// System management mode.
#[derive(Clone, Default, Xml)]
pub struct Smm {
    pub state: Option<OnOff>,
    pub tseg: Option<Tseg>,
    pub _extra: Extra,
}

/// Who emulates the I/O APIC.
#[derive(Clone, Default, Xml)]
pub struct Ioapic {
    pub driver: Option<IoapicDriver>,
    pub _extra: Extra,
}

/// The hash page table of pSeries guests.
#[derive(Clone, Default, Xml)]
pub struct Hpt {
    pub resizing: Option<HptResizing>,
    pub maxpagesize: Option<Memory>,
    pub _extra: Extra,
}

/// What happens when the guest touches an unknown MSR.
#[derive(Clone, Default, Xml)]
pub struct Msrs {
    pub unknown: Option<MsrsUnknown>,
    pub _extra: Extra,
}

/// A speculation mitigation of pSeries guests.
#[derive(Clone, Default, Xml)]
pub struct Mitigation {
    pub value: Option<MitigationValue>,
    pub _extra: Extra,
}

/// The indirect branch mitigation of pSeries guests.
#[derive(Clone, Default, Xml)]
pub struct Ibs {
    pub value: Option<IbsValue>,
    pub _extra: Extra,
}

/// Features of QEMU's emulator.
#[derive(Clone, Default, Xml)]
pub struct Tcg {
    #[xml("tb-cache")]
    pub tb_cache: Option<Memory>,
    pub _extra: Extra,
}

/// The interrupt architecture of RISC-V guests.
#[derive(Clone, Default, Xml)]
pub struct Aia {
    pub value: Option<AiaValue>,
    pub _extra: Extra,
}

/// How often a spinlock is tried before the host is told.
#[derive(Clone, Default, Xml)]
pub struct HypervSpinlocks {
    pub state: Option<OnOff>,
    pub retries: Option<u32>,
    pub _extra: Extra,
}

/// Synthetic timers.
#[derive(Clone, Default, Xml)]
pub struct HypervStimer {
    pub state: Option<OnOff>,
    pub direct: Option<Toggle>,
    pub _extra: Extra,
}

/// The hypervisor's name that the guest sees.
#[derive(Clone, Default, Xml)]
pub struct HypervVendorId {
    pub state: Option<OnOff>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Paravirtual TLB flushes.
#[derive(Clone, Default, Xml)]
pub struct HypervTlbflush {
    pub state: Option<OnOff>,
    pub direct: Option<Toggle>,
    pub extended: Option<Toggle>,
    pub _extra: Extra,
}

/// The dirty ring and its number of entries.
#[derive(Clone, Default, Xml)]
pub struct DirtyRing {
    pub state: Option<OnOff>,
    pub size: Option<u32>,
    pub _extra: Extra,
}

/// IOMMU passthrough of Xen.
#[derive(Clone, Default, Xml)]
pub struct XenPassthrough {
    pub state: Option<OnOff>,
    pub mode: Option<XenPassthroughMode>,
    pub _extra: Extra,
}

closed! {
    /// What `mode` of [`Hyperv`] can be.
    pub enum HypervMode {
        Passthrough = "passthrough", Custom = "custom",
    }
    /// What `policy` of [`LxcCapabilities`] can be.
    pub enum LxcCapabilitiesPolicy {
        Default = "default", Allow = "allow", Deny = "deny",
    }
    /// What `version` of [`Gic`] can be.
    pub enum GicVersion {
        Host = "host", V2 = "2", V3 = "3",
    }
    /// What `driver` of [`Ioapic`] can be.
    pub enum IoapicDriver {
        Qemu = "qemu", Kvm = "kvm",
    }
    /// What `resizing` of [`Hpt`] can be.
    pub enum HptResizing {
        Enabled = "enabled", Disabled = "disabled", Required = "required",
    }
    /// What `unknown` of [`Msrs`] can be.
    pub enum MsrsUnknown {
        Ignore = "ignore", Fault = "fault",
    }
    /// What `value` of [`Mitigation`] can be.
    pub enum MitigationValue {
        Broken = "broken", Workaround = "workaround", Fixed = "fixed",
    }
    /// What `value` of [`Ibs`] can be.
    pub enum IbsValue {
        Broken = "broken", Workaround = "workaround", FixedIbs = "fixed-ibs", FixedCcd = "fixed-ccd",
        FixedNa = "fixed-na",
    }
    /// What `value` of [`Aia`] can be.
    pub enum AiaValue {
        None = "none", Aplic = "aplic", AplicImsic = "aplic-imsic",
    }
    /// What `mode` of [`XenPassthrough`] can be.
    pub enum XenPassthroughMode {
        SyncPt = "sync_pt", SharePt = "share_pt",
    }
}
