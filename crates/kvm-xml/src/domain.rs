//! The domain: a virtual machine as libvirt describes it.
//!
//! A field without a word of its own does what its name says. "Since 9.5.0" is the first version of libvirt that knows
//! it; what is as old as its element goes without. "Set by libvirt" means that documents from libvirt have it and that
//! it is ignored in a new one.

mod access;
mod address;
mod allocate;
mod audio;
mod build;
mod chardev;
mod clock;
mod console;
mod controller;
mod cpu;
mod devices;
mod disk;
mod disk_source;
mod features;
mod filesystem;
mod graphics;
mod hostdev;
mod interface;
mod memory;
mod namespace;
mod os;
mod security;
mod tpm;
mod tune;

pub use address::*;
pub use audio::*;
pub use chardev::*;
pub use clock::*;
pub use console::*;
pub use controller::*;
pub use cpu::*;
pub use devices::*;
pub use disk::*;
pub use disk_source::*;
pub use features::*;
pub use filesystem::*;
pub use graphics::*;
pub use hostdev::*;
pub use interface::*;
pub use memory::*;
pub use namespace::*;
pub use os::*;
pub use security::*;
pub use tpm::*;
pub use tune::*;

use crate::extra::Extra;
use crate::leaf::closed;
use crate::metadata::Metadata;
use crate::value::Memory;
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A virtual machine: <https://libvirt.org/formatdomain.html>.
///
/// libvirt fills in what a new document leaves out: uuid, addresses, aliases, controllers, defaults of the machine
/// type. What it shows of a running machine has more than what was defined: `id`, device names, ports, labels.
#[derive(Clone, Default, Xml)]
#[xml(root = "domain")]
pub struct Domain {
    /// The hypervisor; on Linux [`DomainType::Kvm`], or [`DomainType::Qemu`] where the processor is emulated.
    pub r#type: Option<DomainType>,
    /// The number of a running machine, given by libvirt; absent while it is off.
    pub id: Option<u32>,
    /// Unique on a host. Letters, digits, `-`, `_` and `.` are safe; libvirt refuses `/`.
    #[xml(el, form = "line")]
    pub name: Option<String>,
    /// Generated when the domain is defined without one.
    #[xml(el)]
    pub uuid: Option<Uuid>,
    /// The generation id: libvirt changes it when the machine goes on from a snapshot, a backup or a copy, and the
    /// guest then renews what must be unique. Generated if the element is empty. Since 4.4.0.
    pub genid: Option<Genid>,
    /// One line, no line break. Since 0.9.10.
    #[xml(el, form = "line")]
    pub title: Option<String>,
    /// Free text that libvirt does not use.
    #[xml(el)]
    pub description: Option<String>,
    /// What applications store with the domain, one element per namespace. Since 0.9.10.
    pub metadata: Option<Metadata>,
    /// The ceiling for memory modules plugged in later. Needs `slots`, and on most machines a NUMA cell. Since 1.2.14.
    #[xml("maxMemory")]
    pub max_memory: Option<MaxMemory>,
    /// All memory at boot, plugged modules included. May be absent if `cpu.numa` gives sizes.
    pub memory: Option<DomainMemory>,
    /// What the balloon leaves to the guest; KiB unless `unit` says otherwise, at most `memory`, and equal to it when
    /// absent.
    #[xml("currentMemory")]
    pub current_memory: Option<Memory>,
    pub blkiotune: Option<Blkiotune>,
    pub memtune: Option<Memtune>,
    #[xml("memoryBacking")]
    pub memory_backing: Option<MemoryBacking>,
    pub vcpu: Option<Vcpu>,
    pub vcpus: Option<Vcpus>,
    /// How many I/O threads there are; devices name them as 1 to this number, unless `iothreadids` does. QEMU, since
    /// 1.2.8.
    #[xml(el)]
    pub iothreads: Option<u32>,
    pub iothreadids: Option<IothreadIds>,
    pub defaultiothread: Option<DefaultIothread>,
    pub cputune: Option<Cputune>,
    pub numatune: Option<Numatune>,
    pub resource: Option<Resource>,
    /// At most one of each type. SMBIOS strings show only with `os.smbios.mode` [`SmbiosMode::Sysinfo`].
    pub sysinfo: Vec<Sysinfo>,
    /// The absolute path of a boot loader on the host that chooses the kernel (`pygrub`, `bhyveload`); Xen and bhyve.
    #[xml(el)]
    pub bootloader: Option<String>,
    #[xml(el)]
    pub bootloader_args: Option<String>,
    pub os: Option<Os>,
    pub idmap: Option<Idmap>,
    pub features: Option<Features>,
    pub cpu: Option<Cpu>,
    pub clock: Option<Clock>,
    /// When the guest shuts down; default [`LifecycleAction::Destroy`], which only ends it.
    #[xml(el)]
    pub on_poweroff: Option<LifecycleAction>,
    /// When the guest reboots; default [`LifecycleAction::Restart`]. QEMU refuses `Destroy` here together with
    /// `Restart` in `on_poweroff`.
    #[xml(el)]
    pub on_reboot: Option<LifecycleAction>,
    /// When the guest crashes. libvirt learns of it only through a `panic` device.
    #[xml(el)]
    pub on_crash: Option<CrashAction>,
    /// When the lock manager loses a lock on a disk; its own default if absent. Since 1.0.0.
    #[xml(el)]
    pub on_lockfailure: Option<LockFailureAction>,
    pub pm: Option<Pm>,
    pub perf: Option<Perf>,
    /// Limits that disks refer to by name in `throttlefilters`. Since 11.2.0.
    pub throttlegroups: Option<ThrottleGroups>,
    pub devices: Option<Devices>,
    /// One for each security driver of the host.
    pub seclabel: Vec<Seclabel>,
    pub keywrap: Option<Keywrap>,
    /// Memory that the host cannot read. Since 4.4.0.
    #[xml("launchSecurity")]
    pub launch_security: Option<LaunchSecurity>,
    /// Unsupported by libvirt; a new version may break the domain. Since 0.8.3.
    #[xml("commandline", ns = "qemu")]
    pub qemu_commandline: Option<QemuCommandline>,
    #[xml("capabilities", ns = "qemu")]
    pub qemu_capabilities: Option<QemuCapabilities>,
    #[xml("deprecation", ns = "qemu")]
    pub qemu_deprecation: Option<QemuDeprecation>,
    #[xml("override", ns = "qemu")]
    pub qemu_override: Option<QemuOverride>,
    #[xml("namespace", ns = "lxc")]
    pub lxc_namespace: Option<LxcNamespace>,
    #[xml("commandline", ns = "bhyve")]
    pub bhyve_commandline: Option<BhyveCommandline>,
    #[xml("commandline", ns = "xen")]
    pub xen_commandline: Option<XenCommandline>,
    #[xml("datacenterpath", el, ns = "vmware")]
    pub vmware_datacenterpath: Option<String>,
    pub _extra: Extra,
}

/// The generation id: the guest sees a new one after a clone or a revert, and knows that it is not what it was. An empty
/// element asks libvirt to make one.
#[derive(Clone, Default, Xml)]
pub struct Genid {
    #[xml(text)]
    pub value: Option<Uuid>,
    pub _extra: Extra,
}

impl From<Uuid> for Genid {
    fn from(uuid: Uuid) -> Self {
        Self { value: Some(uuid), ..Self::default() }
    }
}

closed! {
    /// What `type` of [`Domain`] can be.
    pub enum DomainType {
        Qemu = "qemu", Kqemu = "kqemu", Kvm = "kvm", Xen = "xen", Lxc = "lxc", Uml = "uml", Openvz = "openvz",
        Test = "test", Vmware = "vmware", Hyperv = "hyperv", Vbox = "vbox", Phyp = "phyp", Vz = "vz", Bhyve = "bhyve",
        Hvf = "hvf",
    }
    /// What `on_poweroff` of [`Domain`]; `on_reboot` of [`Domain`] can be.
    ///
    /// `Destroy` ends the machine, `Restart` starts it again, `Preserve` keeps its resources for analysis,
    /// `RenameRestart` starts it under a new name (Xen). QEMU knows the first two.
    pub enum LifecycleAction {
        Destroy = "destroy", Restart = "restart", Preserve = "preserve", RenameRestart = "rename-restart",
    }
    /// What `on_crash` of [`Domain`] can be.
    ///
    /// As in [`LifecycleAction`]; `CoredumpDestroy` and `CoredumpRestart` write the guest's memory to a file first.
    pub enum CrashAction {
        Destroy = "destroy", Restart = "restart", Preserve = "preserve", RenameRestart = "rename-restart",
        CoredumpDestroy = "coredump-destroy", CoredumpRestart = "coredump-restart",
    }
    /// What `on_lockfailure` of [`Domain`] can be.
    ///
    /// `Restart` powers the machine off and starts it again, to get the locks anew; `Pause` waits for someone to resume
    /// it.
    pub enum LockFailureAction {
        Poweroff = "poweroff", Restart = "restart", Pause = "pause", Ignore = "ignore",
    }
}
