//! Serial ports, consoles, channels and other character devices.

use super::{Address, Alias, Clipboard, DeviceAcpi, DeviceBoot, DeviceSeclabel, MouseMode, UsbBus};
use crate::common::Reconnect;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{OnOff, UsbVersion, YesNo};
use kvm_xml_derive::Xml;

/// A serial port, parallel port or console: <https://libvirt.org/formatdomain.html#consoles-serial-parallel-channel-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "serial")]
pub struct Serial {
    pub r#type: Option<CharType>,
    pub tty: Option<String>,
    pub source: Vec<CharSource>,
    pub protocol: Option<CharProtocol>,
    pub log: Option<CharLog>,
    pub target: Option<SerialTarget>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A private channel between host and guest: <https://libvirt.org/formatdomain.html#channel>.
#[derive(Clone, Default, Xml)]
#[xml(root = "channel", key = "target.name")]
pub struct Channel {
    pub r#type: Option<CharType>,
    pub source: Vec<CharSource>,
    pub protocol: Option<CharProtocol>,
    pub log: Option<CharLog>,
    pub target: Option<ChannelTarget>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A smart card reader: <https://libvirt.org/formatdomain.html#smartcard-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "smartcard")]
pub struct Smartcard {
    pub mode: Option<SmartcardMode>,
    pub r#type: Option<CharType>,
    pub certificate: Vec<String>,
    #[xml(el)]
    pub database: Option<String>,
    pub source: Vec<CharSource>,
    pub protocol: Option<CharProtocol>,
    pub log: Option<CharLog>,
    pub target: Option<SerialTarget>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A USB device redirected over a channel: <https://libvirt.org/formatdomain.html#usb-device-redirection>.
#[derive(Clone, Default, Xml)]
#[xml(root = "redirdev")]
pub struct Redirdev {
    pub bus: Option<UsbBus>,
    pub r#type: Option<CharType>,
    pub source: Vec<CharSource>,
    pub protocol: Option<CharProtocol>,
    pub log: Option<CharLog>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub boot: Option<DeviceBoot>,
    pub _extra: Extra,
}

/// Which USB devices may be redirected.
#[derive(Clone, Default, Xml)]
pub struct Redirfilter {
    pub usbdev: Vec<UsbDeviceRule>,
    pub _extra: Extra,
}

/// The host's end of a character device; which fields count is decided by the device's `type`.
#[derive(Clone, Default, Xml)]
pub struct CharSource {
    pub mode: Option<String>,
    pub path: Option<String>,
    pub host: Option<String>,
    pub service: Option<String>,
    pub channel: Option<String>,
    pub master: Option<String>,
    pub slave: Option<String>,
    pub append: Option<OnOff>,
    pub tls: Option<YesNo>,
    pub reconnect: Option<Reconnect>,
    pub seclabel: Vec<DeviceSeclabel>,
    pub clipboard: Option<Clipboard>,
    pub mouse: Option<MouseMode>,
    pub _extra: Extra,
}

/// What is spoken on a TCP character device.
#[derive(Clone, Default, Xml)]
pub struct CharProtocol {
    pub r#type: Option<CharProtocolType>,
    pub _extra: Extra,
}

/// The file that gets a copy of all output.
#[derive(Clone, Default, Xml)]
pub struct CharLog {
    pub file: Option<String>,
    pub append: Option<OnOff>,
    pub _extra: Extra,
}

/// The guest's end of a serial port, parallel port or console.
#[derive(Clone, Default, Xml)]
pub struct SerialTarget {
    pub r#type: Option<SerialTargetType>,
    pub port: Option<String>,
    pub model: Option<SerialModel>,
    pub _extra: Extra,
}

/// The guest's end of a channel.
#[derive(Clone, Default, Xml)]
pub struct ChannelTarget {
    pub r#type: Option<ChannelTargetType>,
    pub address: Option<String>,
    pub port: Option<String>,
    pub name: Option<String>,
    pub state: Option<ChannelTargetState>,
    pub _extra: Extra,
}

/// Which USB devices a rule means; -1 means any.
#[derive(Clone, Default, Xml)]
pub struct UsbDeviceRule {
    #[xml(hex = 2, min = -1, max = 0xff)]
    pub class: Option<i32>,
    #[xml(hex = 4, min = -1, max = 0xffff)]
    pub vendor: Option<i32>,
    #[xml(hex = 4, min = -1, max = 0xffff)]
    pub product: Option<i32>,
    pub version: Option<UsbVersion>,
    pub allow: Option<YesNo>,
    pub _extra: Extra,
}

/// The device that implements a serial port.
#[derive(Clone, Default, Xml)]
pub struct SerialModel {
    pub name: Option<SerialModelName>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Serial`], [`Channel`], [`Smartcard`], [`Redirdev`] and [`RngBackend`](crate::domain::RngBackend) can be.
    pub enum CharType {
        Dev = "dev", File = "file", Pipe = "pipe", Unix = "unix", Tcp = "tcp", Udp = "udp", Null = "null",
        Stdio = "stdio", Vc = "vc", Pty = "pty", Spicevmc = "spicevmc", Spiceport = "spiceport", Nmdm = "nmdm",
        QemuVdagent = "qemu-vdagent", Dbus = "dbus",
    }
    /// What `mode` of [`Smartcard`] can be.
    pub enum SmartcardMode {
        Host = "host", HostCertificates = "host-certificates", Passthrough = "passthrough",
    }
    /// What `type` of [`CharProtocol`] can be.
    pub enum CharProtocolType {
        Raw = "raw", Telnet = "telnet", Telnets = "telnets", Tls = "tls",
    }
    /// What `type` of [`SerialTarget`] can be.
    pub enum SerialTargetType {
        Xen = "xen", Serial = "serial", Uml = "uml", Virtio = "virtio", Lxc = "lxc", Openvz = "openvz", Sclp = "sclp",
        Sclplm = "sclplm", IsaSerial = "isa-serial", UsbSerial = "usb-serial", PciSerial = "pci-serial",
        SpaprVioSerial = "spapr-vio-serial", SystemSerial = "system-serial", SclpSerial = "sclp-serial",
        IsaDebug = "isa-debug",
    }
    /// What `type` of [`ChannelTarget`] can be.
    pub enum ChannelTargetType {
        Guestfwd = "guestfwd", Virtio = "virtio", Xen = "xen",
    }
    /// What `state` of [`ChannelTarget`] can be.
    pub enum ChannelTargetState {
        Connected = "connected", Disconnected = "disconnected",
    }
    /// What `name` of [`SerialModel`] can be.
    pub enum SerialModelName {
        IsaSerial = "isa-serial", UsbSerial = "usb-serial", PciSerial = "pci-serial", SpaprVty = "spapr-vty",
        Pl011 = "pl011", Uart16550a = "16550a", Sclpconsole = "sclpconsole", Sclplmconsole = "sclplmconsole",
        IsaDebugcon = "isa-debugcon",
    }
}
