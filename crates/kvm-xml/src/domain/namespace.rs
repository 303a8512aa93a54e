//! Elements in the namespaces of QEMU, LXC, bhyve and Xen.

use crate::extra::Extra;
use crate::leaf::closed;
use kvm_xml_derive::Xml;

/// Arguments and environment passed to QEMU as they are.
#[derive(Clone, Default, Xml)]
pub struct QemuCommandline {
    #[xml("env", ns = "qemu")]
    pub qemu_env: Vec<QemuEnv>,
    #[xml("arg", ns = "qemu")]
    pub qemu_arg: Vec<QemuArg>,
    pub _extra: Extra,
}

/// QEMU capabilities that libvirt shall believe in or not.
#[derive(Clone, Default, Xml)]
pub struct QemuCapabilities {
    #[xml("add", ns = "qemu")]
    pub qemu_add: Vec<QemuCapability>,
    #[xml("del", ns = "qemu")]
    pub qemu_del: Vec<QemuCapability>,
    pub _extra: Extra,
}

/// What QEMU does when something deprecated is used.
#[derive(Clone, Default, Xml)]
pub struct QemuDeprecation {
    #[xml("behavior", ns = "qemu")]
    pub qemu_behavior: Option<QemuDeprecationBehavior>,
    pub _extra: Extra,
}

/// Device properties that override what libvirt would set.
#[derive(Clone, Default, Xml)]
pub struct QemuOverride {
    #[xml("device", ns = "qemu")]
    pub qemu_device: Vec<QemuOverrideDevice>,
    pub _extra: Extra,
}

/// Kernel namespaces that a container shares.
#[derive(Clone, Default, Xml)]
pub struct LxcNamespace {
    #[xml("sharenet", ns = "lxc")]
    pub lxc_sharenet: Option<LxcShareNet>,
    #[xml("shareipc", ns = "lxc")]
    pub lxc_shareipc: Option<LxcShare>,
    #[xml("shareuts", ns = "lxc")]
    pub lxc_shareuts: Option<LxcShare>,
    pub _extra: Extra,
}

/// Arguments passed to bhyve as they are.
#[derive(Clone, Default, Xml)]
pub struct BhyveCommandline {
    #[xml("arg", ns = "bhyve")]
    pub bhyve_arg: Vec<BhyveArg>,
    pub _extra: Extra,
}

/// Arguments passed to the Xen device model as they are.
#[derive(Clone, Default, Xml)]
pub struct XenCommandline {
    #[xml("arg", ns = "xen")]
    pub xen_arg: Vec<XenArg>,
    pub _extra: Extra,
}

/// One argument.
#[derive(Clone, Default, Xml)]
pub struct QemuArg {
    #[xml("value", ns = "qemu")]
    pub qemu_value: Option<String>,
    pub _extra: Extra,
}

/// One environment variable.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct QemuEnv {
    #[xml("name", ns = "qemu")]
    pub qemu_name: Option<String>,
    #[xml("value", ns = "qemu")]
    pub qemu_value: Option<String>,
    pub _extra: Extra,
}

/// One QEMU capability.
#[derive(Clone, Default, Xml)]
pub struct QemuCapability {
    #[xml("capability", ns = "qemu")]
    pub qemu_capability: Option<String>,
    pub _extra: Extra,
}

/// The device, by alias, whose properties are overridden.
#[derive(Clone, Default, Xml)]
pub struct QemuOverrideDevice {
    #[xml("alias", ns = "qemu")]
    pub qemu_alias: Option<String>,
    #[xml("frontend", ns = "qemu")]
    pub qemu_frontend: Option<QemuOverrideFrontend>,
    pub _extra: Extra,
}

/// Whose network namespace is shared.
#[derive(Clone, Default, Xml)]
pub struct LxcShareNet {
    #[xml("type", ns = "lxc")]
    pub lxc_type: Option<LxcShareNetType>,
    #[xml("value", ns = "lxc")]
    pub lxc_value: Option<String>,
    pub _extra: Extra,
}

/// Whose namespace is shared.
#[derive(Clone, Default, Xml)]
pub struct LxcShare {
    #[xml("type", ns = "lxc")]
    pub lxc_type: Option<LxcShareType>,
    #[xml("value", ns = "lxc")]
    pub lxc_value: Option<String>,
    pub _extra: Extra,
}

/// One argument.
#[derive(Clone, Default, Xml)]
pub struct BhyveArg {
    #[xml("value", ns = "bhyve")]
    pub bhyve_value: Option<String>,
    pub _extra: Extra,
}

/// One argument.
#[derive(Clone, Default, Xml)]
pub struct XenArg {
    #[xml("value", ns = "xen")]
    pub xen_value: Option<String>,
    pub _extra: Extra,
}

/// The overridden properties of a device.
#[derive(Clone, Default, Xml)]
pub struct QemuOverrideFrontend {
    #[xml("property", ns = "qemu")]
    pub qemu_property: Vec<QemuProperty>,
    pub _extra: Extra,
}

/// One overridden property.
#[derive(Clone, Default, Xml)]
pub struct QemuProperty {
    #[xml("name", ns = "qemu")]
    pub qemu_name: Option<String>,
    #[xml("type", ns = "qemu")]
    pub qemu_type: Option<QemuPropertyType>,
    #[xml("value", ns = "qemu")]
    pub qemu_value: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What [`QemuDeprecation::behavior`] can be.
    pub enum QemuDeprecationBehavior {
        None = "none", Omit = "omit", Reject = "reject", Crash = "crash",
    }
    /// What [`LxcShareNet::r#type`] can be.
    pub enum LxcShareNetType {
        Netns = "netns", Name = "name", Pid = "pid",
    }
    /// What [`LxcShare::r#type`] can be.
    pub enum LxcShareType {
        Name = "name", Pid = "pid",
    }
    /// What [`QemuProperty::r#type`] can be.
    pub enum QemuPropertyType {
        String = "string", Signed = "signed", Unsigned = "unsigned", Bool = "bool", Remove = "remove",
    }
}
