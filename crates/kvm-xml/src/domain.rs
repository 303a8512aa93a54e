//! The domain: a virtual machine as libvirt describes it.

mod access;
mod address;
mod audio;
mod chardev;
mod clock;
mod controller;
mod cpu;
mod devices;
mod disk;
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
pub use controller::*;
pub use cpu::*;
pub use devices::*;
pub use disk::*;
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
#[derive(Clone, Default, Xml)]
#[xml(root = "domain")]
pub struct Domain {
    pub r#type: Option<DomainType>,
    pub id: Option<u32>,
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    #[xml(el)]
    pub genid: Option<Uuid>,
    #[xml(el)]
    pub title: Option<String>,
    #[xml(el)]
    pub description: Option<String>,
    pub metadata: Option<Metadata>,
    #[xml("maxMemory")]
    pub max_memory: Option<MaxMemory>,
    pub memory: Option<DomainMemory>,
    #[xml("currentMemory")]
    pub current_memory: Option<Memory>,
    pub blkiotune: Option<Blkiotune>,
    pub memtune: Option<Memtune>,
    #[xml("memoryBacking")]
    pub memory_backing: Option<MemoryBacking>,
    pub vcpu: Option<Vcpu>,
    pub vcpus: Option<Vcpus>,
    #[xml(el)]
    pub iothreads: Option<u32>,
    pub iothreadids: Option<IothreadIds>,
    pub defaultiothread: Option<DefaultIothread>,
    pub cputune: Option<Cputune>,
    pub numatune: Option<Numatune>,
    pub resource: Option<Resource>,
    pub sysinfo: Vec<Sysinfo>,
    #[xml(el)]
    pub bootloader: Option<String>,
    #[xml(el)]
    pub bootloader_args: Option<String>,
    pub os: Option<Os>,
    pub idmap: Option<Idmap>,
    pub features: Option<Features>,
    pub cpu: Option<Cpu>,
    pub clock: Option<Clock>,
    #[xml(el)]
    pub on_poweroff: Option<LifecycleAction>,
    #[xml(el)]
    pub on_reboot: Option<LifecycleAction>,
    #[xml(el)]
    pub on_crash: Option<CrashAction>,
    #[xml(el)]
    pub on_lockfailure: Option<LockFailureAction>,
    pub pm: Option<Pm>,
    pub perf: Option<Perf>,
    pub throttlegroups: Option<ThrottleGroups>,
    pub devices: Option<Devices>,
    pub seclabel: Vec<Seclabel>,
    pub keywrap: Option<Keywrap>,
    #[xml("launchSecurity")]
    pub launch_security: Option<LaunchSecurity>,
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

closed! {
    /// What `type` of [`Domain`] can be.
    pub enum DomainType {
        Qemu = "qemu", Kqemu = "kqemu", Kvm = "kvm", Xen = "xen", Lxc = "lxc", Uml = "uml", Openvz = "openvz",
        Test = "test", Vmware = "vmware", Hyperv = "hyperv", Vbox = "vbox", Phyp = "phyp", Vz = "vz", Bhyve = "bhyve",
        Hvf = "hvf",
    }
    /// What `on_poweroff` of [`Domain`]; `on_reboot` of [`Domain`] can be.
    pub enum LifecycleAction {
        Destroy = "destroy", Restart = "restart", Preserve = "preserve", RenameRestart = "rename-restart",
    }
    /// What `on_crash` of [`Domain`] can be.
    pub enum CrashAction {
        Destroy = "destroy", Restart = "restart", Preserve = "preserve", RenameRestart = "rename-restart",
        CoredumpDestroy = "coredump-destroy", CoredumpRestart = "coredump-restart",
    }
    /// What `on_lockfailure` of [`Domain`] can be.
    pub enum LockFailureAction {
        Poweroff = "poweroff", Restart = "restart", Pause = "pause", Ignore = "ignore",
    }
}
