//! Elements in the namespaces of QEMU, LXC, bhyve and Xen.

use crate::extra::Extra;
use crate::leaf::closed;
use kvm_xml_derive::Xml;

/// Arguments and environment passed to QEMU as they are: <https://libvirt.org/drvqemu.html#pass-through-of-arbitrary-qemu-commands>.
///
/// For trying out what libvirt has no element for: libvirt does not support it, and an upgrade may break the domain.
/// Since 0.8.3.
#[derive(Clone, Default, Xml)]
pub struct QemuCommandline {
    #[xml(ns = "qemu")]
    pub env: Vec<QemuEnv>,
    #[xml(ns = "qemu")]
    pub arg: Vec<QemuArg>,
    pub _extra: Extra,
}

/// QEMU capabilities that libvirt shall believe in or not: <https://libvirt.org/drvqemu.html#qemu-feature-configuration-for-testing>.
///
/// For tests only. Since 5.5.0.
#[derive(Clone, Default, Xml)]
pub struct QemuCapabilities {
    #[xml(ns = "qemu")]
    pub add: Vec<QemuCapability>,
    #[xml(ns = "qemu")]
    pub del: Vec<QemuCapability>,
    pub _extra: Extra,
}

/// What QEMU does when something deprecated is used: <https://libvirt.org/drvqemu.html#control-of-qemu-deprecation-warnings>.
///
/// For tests only.
#[derive(Clone, Default, Xml)]
pub struct QemuDeprecation {
    pub behavior: Option<QemuDeprecationBehavior>,
    pub _extra: Extra,
}

/// Device properties that override what libvirt would set: <https://libvirt.org/drvqemu.html#overriding-properties-of-qemu-devices>.
///
/// For tests only. Since 8.2.0.
#[derive(Clone, Default, Xml)]
pub struct QemuOverride {
    #[xml(ns = "qemu")]
    pub device: Vec<QemuOverrideDevice>,
    pub _extra: Extra,
}

/// Kernel namespaces that a container shares: <https://libvirt.org/drvlxc.html#inherit-namespaces>.
///
/// Since 1.2.19.
#[derive(Clone, Default, Xml)]
pub struct LxcNamespace {
    #[xml(ns = "lxc")]
    pub sharenet: Option<LxcShareNet>,
    #[xml(ns = "lxc")]
    pub shareipc: Option<LxcShare>,
    #[xml(ns = "lxc")]
    pub shareuts: Option<LxcShare>,
    pub _extra: Extra,
}

/// Arguments passed to bhyve as they are: <https://libvirt.org/drvbhyve.html#pass-through-of-arbitrary-bhyve-commands>.
///
/// Not supported by libvirt. Since 5.1.0.
#[derive(Clone, Default, Xml)]
pub struct BhyveCommandline {
    #[xml(ns = "bhyve")]
    pub arg: Vec<QemuArg>,
    pub _extra: Extra,
}

/// Arguments passed to the Xen device model as they are: <https://libvirt.org/drvxen.html>.
#[derive(Clone, Default, Xml)]
pub struct XenCommandline {
    #[xml(ns = "xen")]
    pub arg: Vec<QemuArg>,
    pub _extra: Extra,
}

/// One argument: <https://libvirt.org/drvqemu.html#pass-through-of-arbitrary-qemu-commands>.
#[derive(Clone, Default, Xml)]
pub struct QemuArg {
    /// One word of the command line: an option and its value are two arguments.
    pub value: Option<String>,
    pub _extra: Extra,
}

/// One environment variable: <https://libvirt.org/drvqemu.html#pass-through-of-arbitrary-qemu-commands>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct QemuEnv {
    pub name: Option<String>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// One QEMU capability: <https://libvirt.org/drvqemu.html#qemu-feature-configuration-for-testing>.
#[derive(Clone, Default, Xml)]
#[xml(key = "capability")]
pub struct QemuCapability {
    pub capability: Option<String>,
    pub _extra: Extra,
}

/// The device, by alias, whose properties are overridden: <https://libvirt.org/drvqemu.html#overriding-properties-of-qemu-devices>.
#[derive(Clone, Default, Xml)]
#[xml(key = "alias")]
pub struct QemuOverrideDevice {
    /// Best a user alias (`ua-...`).
    pub alias: Option<String>,
    #[xml(ns = "qemu")]
    pub frontend: Option<QemuOverrideFrontend>,
    pub _extra: Extra,
}

/// Whose network namespace is shared: <https://libvirt.org/drvlxc.html#inherit-namespaces>.
#[derive(Clone, Default, Xml)]
pub struct LxcShareNet {
    /// What `value` is: a network namespace, another container, or a process.
    pub r#type: Option<LxcShareNetType>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Whose namespace is shared: <https://libvirt.org/drvlxc.html#inherit-namespaces>.
#[derive(Clone, Default, Xml)]
pub struct LxcShare {
    /// What `value` is: another container, or a process.
    pub r#type: Option<LxcShareType>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// The overridden properties of a device: <https://libvirt.org/drvqemu.html#overriding-properties-of-qemu-devices>.
#[derive(Clone, Default, Xml)]
pub struct QemuOverrideFrontend {
    #[xml(ns = "qemu")]
    pub property: Vec<QemuProperty>,
    pub _extra: Extra,
}

/// One overridden property: <https://libvirt.org/drvqemu.html#overriding-properties-of-qemu-devices>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct QemuProperty {
    pub name: Option<String>,
    pub r#type: Option<QemuPropertyType>,
    /// Absent with `Remove`.
    pub value: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What `behavior` of [`QemuDeprecation`] can be.
    pub enum QemuDeprecationBehavior {
        None = "none", Omit = "omit", Reject = "reject", Crash = "crash",
    }
    /// What `type` of [`LxcShareNet`] can be.
    pub enum LxcShareNetType {
        Netns = "netns", Name = "name", Pid = "pid",
    }
    /// What `type` of [`LxcShare`] can be.
    pub enum LxcShareType {
        Name = "name", Pid = "pid",
    }
    /// What `type` of [`QemuProperty`] can be.
    pub enum QemuPropertyType {
        String = "string", Signed = "signed", Unsigned = "unsigned", Bool = "bool", Remove = "remove",
    }
}
