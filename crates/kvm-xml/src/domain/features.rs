//! Hypervisor features.

use crate::common::{Enabled, Toggle};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Memory, OnOff, Tseg};
use kvm_xml_derive::Xml;

/// Hypervisor features switched on or off: <https://libvirt.org/formatdomain.html#hypervisor-features>.
///
/// A flag that is absent is off; for an element with a state, absent means the hypervisor's default.
#[derive(Clone, Default, Xml)]
pub struct Features {
    /// Without it a guest cannot be shut down gracefully, and UEFI does not boot.
    pub acpi: bool,
    /// Interrupts as all current x86 systems want them.
    pub apic: Option<Apic>,
    /// More than 4 GiB for 32-bit guests.
    pub pae: bool,
    /// Xen: paging by the hardware; on where it is there.
    pub hap: Option<Toggle>,
    /// LXC: a network of its own, also without interfaces.
    pub privnet: bool,
    pub hyperv: Option<Hyperv>,
    /// Xen: the older name of `hyperv`.
    pub viridian: bool,
    pub kvm: Option<KvmFeatures>,
    pub xen: Option<XenFeatures>,
    /// Tells the guest about paravirtual spinlocks.
    pub pvspinlock: Option<Toggle>,
    /// ARM's interrupt controller; ARM guests have no `apic`. Since 1.2.16.
    pub gic: Option<Gic>,
    /// LXC. Since 1.2.6.
    pub capabilities: Option<LxcCapabilities>,
    /// Performance counters in the guest; default on. Since 1.2.12.
    pub pmu: Option<Toggle>,
    /// VMware's I/O port, for its mouse; default on. Since 1.2.16.
    pub vmport: Option<Toggle>,
    /// Needed for Secure Boot. Since 2.1.0.
    pub smm: Option<Smm>,
    /// Since 3.4.0.
    pub ioapic: Option<Ioapic>,
    /// pSeries. Since 3.10.0.
    pub hpt: Option<Hpt>,
    /// Lets the guest's kernel leave debug details for dumps. Since 4.4.0.
    pub vmcoreinfo: Option<Toggle>,
    /// pSeries: transactional memory. Since 4.6.0.
    pub htm: Option<Toggle>,
    /// pSeries: nested guests with KVM. Since 4.10.0.
    #[xml("nested-hv")]
    pub nested_hv: Option<Toggle>,
    /// bhyve. Since 5.1.0.
    pub msrs: Option<Msrs>,
    /// pSeries. Since 5.9.0.
    #[xml("ccf-assist")]
    pub ccf_assist: Option<Toggle>,
    /// pSeries: cache flush on privilege change. Since 6.3.0.
    pub cfpc: Option<Mitigation>,
    /// pSeries: speculation barrier on bounds checks. Since 6.3.0.
    pub sbbc: Option<Mitigation>,
    /// pSeries: indirect branch speculation. Since 6.3.0.
    pub ibs: Option<Ibs>,
    /// Emulated processors only. Since 8.0.0.
    pub tcg: Option<Tcg>,
    /// Frees a large guest's memory beside the shutdown. Since 9.6.0.
    #[xml("async-teardown")]
    pub async_teardown: Option<Enabled>,
    /// ARM virt: tells the guest of memory errors on the host. Since 10.4.0.
    pub ras: Option<Toggle>,
    /// The PS/2 controller. Since 10.7.0.
    pub ps2: Option<Toggle>,
    /// RISC-V virt. Since 11.1.0.
    pub aia: Option<Aia>,
    pub _extra: Extra,
}

/// The APIC, and its end-of-interrupt mode: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Apic {
    /// Since 0.10.2.
    pub eoi: Option<OnOff>,
    pub _extra: Extra,
}

/// Enlightenments for Windows guests: <https://libvirt.org/formatdomain.html#hypervisor-features>.
///
/// For a current Windows, at least `relaxed`, `vapic`, `spinlocks`, `vpindex`, `synic` and `stimer` are worth it.
#[derive(Clone, Default, Xml)]
pub struct Hyperv {
    /// `Passthrough` takes all that the host has, and ties the guest to it. Default `Custom`. Since 8.0.0.
    pub mode: Option<HypervMode>,
    /// No blue screen when a timer is late. Since 1.0.0.
    pub relaxed: Option<Toggle>,
    /// A virtual interrupt controller. Since 1.1.0.
    pub vapic: Option<Toggle>,
    /// Tells the host of locks that take long. Since 1.1.0.
    pub spinlocks: Option<HypervSpinlocks>,
    /// The virtual processor's number. Since 1.3.3.
    pub vpindex: Option<Toggle>,
    /// How long a virtual processor ran. Since 1.3.3.
    pub runtime: Option<Toggle>,
    /// The synthetic interrupt controller; needs `vpindex`. Since 1.3.3.
    pub synic: Option<Toggle>,
    /// Timers; need `synic`. Since 1.3.3.
    pub stimer: Option<HypervStimer>,
    /// Lets the guest reset itself. Since 1.3.3.
    pub reset: Option<Toggle>,
    /// The hypervisor's name that the guest sees. Since 1.3.3.
    pub vendor_id: Option<HypervVendorId>,
    /// MSRs with the clock's frequencies. Since 4.7.0.
    pub frequencies: Option<Toggle>,
    /// Tells a nested hypervisor of migration. Since 4.7.0.
    pub reenlightenment: Option<Toggle>,
    /// Paravirtual flushes of the TLB. Since 4.7.0.
    pub tlbflush: Option<HypervTlbflush>,
    /// Paravirtual interrupts between processors. Since 4.10.0.
    pub ipi: Option<Toggle>,
    /// For nested guests on Intel. Since 4.10.0.
    pub evmcs: Option<Toggle>,
    /// `synic` with the hardware's help. Since 8.10.0.
    pub avic: Option<Toggle>,
    /// For nested guests. Since 10.7.0.
    pub emsr_bitmap: Option<Toggle>,
    /// Calls with parameters in registers. Since 10.7.0.
    pub xmm_input: Option<Toggle>,
    pub _extra: Extra,
}

/// Features of KVM itself: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct KvmFeatures {
    /// The guest does not see KVM's signature. Since 1.2.8.
    pub hidden: Option<Toggle>,
    /// For virtual CPUs that are pinned to host CPUs of their own. Since 5.7.0.
    #[xml("hint-dedicated")]
    pub hint_dedicated: Option<Toggle>,
    /// The guest polls before it halts. Since 6.10.0.
    #[xml("poll-control")]
    pub poll_control: Option<Toggle>,
    /// Paravirtual interrupts between processors. Since 7.10.0.
    #[xml("pv-ipi")]
    pub pv_ipi: Option<Toggle>,
    /// Tracks what the guest writes in a ring, for migration of large guests. Since 8.0.0.
    #[xml("dirty-ring")]
    pub dirty_ring: Option<DirtyRing>,
    pub _extra: Extra,
}

/// Features of Xen itself: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct XenFeatures {
    /// The host's memory map, for paravirtual guests. Since 6.3.0.
    pub e820_host: Option<Toggle>,
    /// Since 6.3.0.
    pub passthrough: Option<XenPassthrough>,
    pub _extra: Extra,
}

/// Capabilities a container keeps or drops: <https://libvirt.org/drvlxc.html#altering-the-available-capabilities>.
///
/// Named as in `man 7 capabilities`: on keeps one, off drops it.
#[derive(Clone, Default, Xml)]
pub struct LxcCapabilities {
    /// For those that are not named: libvirt's choice (`Default`), keep all (`Allow`), drop all (`Deny`).
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

/// The interrupt controller of ARM guests: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Gic {
    pub version: Option<GicVersion>,
    pub _extra: Extra,
}

/// System management mode: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Smm {
    pub state: Option<OnOff>,
    /// MiB unless `unit` says otherwise. Leave it out unless the guest does not boot with very many CPUs or very much
    /// memory. Since 4.5.0.
    pub tseg: Option<Tseg>,
    pub _extra: Extra,
}

/// Who emulates the I/O APIC: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Ioapic {
    /// Default `Kvm` under KVM. `Qemu` is needed for `intremap` of an IOMMU.
    pub driver: Option<IoapicDriver>,
    pub _extra: Extra,
}

/// The hash page table of pSeries guests: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Hpt {
    pub resizing: Option<HptResizing>,
    /// KiB unless `unit` says otherwise. Since 4.5.0.
    pub maxpagesize: Option<Memory>,
    pub _extra: Extra,
}

/// What happens when the guest touches an unknown MSR: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Msrs {
    pub unknown: Option<MsrsUnknown>,
    pub _extra: Extra,
}

/// A speculation mitigation of pSeries guests: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Mitigation {
    pub value: Option<MitigationValue>,
    pub _extra: Extra,
}

/// The indirect branch mitigation of pSeries guests: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Ibs {
    pub value: Option<IbsValue>,
    pub _extra: Extra,
}

/// Features of QEMU's emulator: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Tcg {
    /// The cache of translated code; whole MiB.
    #[xml("tb-cache")]
    pub tb_cache: Option<Memory>,
    pub _extra: Extra,
}

/// The interrupt architecture of RISC-V guests: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct Aia {
    pub value: Option<AiaValue>,
    pub _extra: Extra,
}

/// How often a spinlock is tried before the host is told: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct HypervSpinlocks {
    pub state: Option<OnOff>,
    /// At least 4095.
    pub retries: Option<u32>,
    pub _extra: Extra,
}

/// Synthetic timers: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct HypervStimer {
    pub state: Option<OnOff>,
    /// Timers that interrupt directly. Since 5.7.0.
    pub direct: Option<Toggle>,
    pub _extra: Extra,
}

/// The hypervisor's name that the guest sees: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct HypervVendorId {
    pub state: Option<OnOff>,
    /// At most 12 characters.
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Paravirtual TLB flushes: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct HypervTlbflush {
    pub state: Option<OnOff>,
    /// For nested guests. Since 11.0.0.
    pub direct: Option<Toggle>,
    /// Flushes of single pages. Since 11.0.0.
    pub extended: Option<Toggle>,
    pub _extra: Extra,
}

/// The dirty ring and its number of entries: <https://libvirt.org/formatdomain.html#hypervisor-features>.
#[derive(Clone, Default, Xml)]
pub struct DirtyRing {
    pub state: Option<OnOff>,
    /// A power of two, 1024 to 65536.
    pub size: Option<u32>,
    pub _extra: Extra,
}

/// IOMMU passthrough of Xen: <https://libvirt.org/formatdomain.html#hypervisor-features>.
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
