//! Serial ports, consoles, channels and other character devices.

use super::{Address, Alias, Clipboard, DeviceAcpi, DeviceBoot, DeviceSeclabel, MouseMode, UsbBus};
use crate::common::Reconnect;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{OnOff, UsbVersion, YesNo};
use kvm_xml_derive::Xml;

/// A serial port, parallel port or console: <https://libvirt.org/formatdomain.html#consoles-serial-parallel-channel-devices>.
///
/// A console with `target.type` `Serial` is the first serial port itself and not another device; `Virtio` is a device
/// of its own (`/dev/hvc0` in a Linux guest).
#[derive(Clone, Default, Xml)]
#[xml(root = "serial", key = "target.port")]
pub struct Serial {
    /// What is at the host's end; `Pty` is what `virsh console` connects to.
    pub r#type: Option<CharType>,
    /// What older versions write of a `Pty` console; the same as `source.path`.
    #[xml(form = "path")]
    pub tty: Option<String>,
    /// Two for `Udp`: one with mode `bind`, one with `connect`.
    pub source: Vec<CharSource>,
    /// `Tcp` only.
    pub protocol: Option<CharProtocol>,
    /// A file that gets a copy of all output, whatever `type` is. Since 1.3.3.
    pub log: Option<CharLog>,
    /// Chosen by libvirt if absent.
    pub target: Option<SerialTarget>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A private channel between host and guest: <https://libvirt.org/formatdomain.html#consoles-serial-parallel-channel-devices>.
///
/// The guest agent: `type` `Unix` without `source`, `target.type` `Virtio`, `target.name` `org.qemu.guest_agent.0`.
/// libvirt then chooses the path.
#[derive(Clone, Default, Xml)]
#[xml(root = "channel", key = "target.name")]
pub struct Channel {
    /// `Unix` for an agent, `Spicevmc` and `QemuVdagent` (since 8.4.0) for the clipboard.
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
///
/// QEMU has one at most. Since 0.8.8.
#[derive(Clone, Default, Xml)]
#[xml(root = "smartcard")]
pub struct Smartcard {
    /// `Host` relays the host's card, `HostCertificates` takes three certificates, `Passthrough` talks to a provider
    /// over `type`.
    pub mode: Option<SmartcardMode>,
    /// With `Passthrough` only.
    pub r#type: Option<CharType>,
    /// Three names in `database`.
    pub certificate: Vec<String>,
    /// Default `/etc/pki/nssdb`.
    #[xml(el, form = "path")]
    pub database: Option<String>,
    pub source: Vec<CharSource>,
    pub protocol: Option<CharProtocol>,
    pub log: Option<CharLog>,
    pub target: Option<SerialTarget>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A USB device redirected over a channel: <https://libvirt.org/formatdomain.html#redirected-devices>.
///
/// Each is one port that a viewer can send a device to.
#[derive(Clone, Default, Xml)]
#[xml(root = "redirdev")]
pub struct Redirdev {
    pub bus: Option<UsbBus>,
    /// `Spicevmc` goes over the SPICE viewer.
    pub r#type: Option<CharType>,
    pub source: Vec<CharSource>,
    pub protocol: Option<CharProtocol>,
    pub log: Option<CharLog>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    /// Since 1.0.1.
    pub boot: Option<DeviceBoot>,
    pub _extra: Extra,
}

/// Which USB devices may be redirected: <https://libvirt.org/formatdomain.html#redirected-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "redirfilter")]
pub struct Redirfilter {
    /// The first rule that fits counts.
    pub usbdev: Vec<UsbDeviceRule>,
    pub _extra: Extra,
}

/// The host's end of a character device; which fields count is decided by the device's `type`: <https://libvirt.org/formatdomain.html#host-interface>.
#[derive(Clone, Default, Xml)]
pub struct CharSource {
    /// `bind` waits for a connection, `connect` makes one. `Unix`, `Tcp`, `Udp`.
    pub mode: Option<String>,
    /// `Pty`: set by libvirt while the guest runs. `Unix`: the socket. `File`, `Pipe` and `Dev`: the file.
    pub path: Option<String>,
    /// `Tcp` and `Udp`.
    pub host: Option<String>,
    /// `Tcp` and `Udp`: the port.
    pub service: Option<String>,
    /// `Spiceport` and `Dbus`: the name. Since 1.2.2.
    pub channel: Option<String>,
    /// `Nmdm`: the hypervisor's end. Since 1.2.4.
    pub master: Option<String>,
    /// `Nmdm`: the client's end. Since 1.2.4.
    pub slave: Option<String>,
    /// `File`: off (default) empties the file at start. Since 1.3.1.
    pub append: Option<OnOff>,
    /// `Tcp`: absent means as the host is configured. Since 2.4.0.
    pub tls: Option<YesNo>,
    /// `Unix` and `Tcp` with mode `connect`. Since 3.7.0.
    pub reconnect: Option<Reconnect>,
    pub seclabel: Vec<DeviceSeclabel>,
    /// `QemuVdagent`: default no.
    pub clipboard: Option<Clipboard>,
    /// `QemuVdagent`: default `Client`.
    pub mouse: Option<MouseMode>,
    pub _extra: Extra,
}

/// What is spoken on a TCP character device: <https://libvirt.org/formatdomain.html#host-interface>.
#[derive(Clone, Default, Xml)]
pub struct CharProtocol {
    /// Default `Raw`.
    pub r#type: Option<CharProtocolType>,
    pub _extra: Extra,
}

/// The file that gets a copy of all output: <https://libvirt.org/formatdomain.html#consoles-serial-parallel-channel-devices>.
#[derive(Clone, Default, Xml)]
pub struct CharLog {
    #[xml(form = "path")]
    pub file: Option<String>,
    /// Default off.
    pub append: Option<OnOff>,
    pub _extra: Extra,
}

/// The guest's end of a serial port, parallel port or console: <https://libvirt.org/formatdomain.html#guest-interface>.
#[derive(Clone, Default, Xml)]
pub struct SerialTarget {
    /// `IsaSerial` on x86, `SystemSerial` on ARM and RISC-V, `SpaprVioSerial` on pSeries, `SclpSerial` on s390;
    /// `IsaDebug` takes the firmware's messages (since 8.1.0).
    pub r#type: Option<SerialTargetType>,
    /// From 0.
    pub port: Option<String>,
    /// Chosen by libvirt; better left alone. Since 3.10.0.
    pub model: Option<SerialModel>,
    pub _extra: Extra,
}

/// The guest's end of a channel: <https://libvirt.org/formatdomain.html#channel>.
#[derive(Clone, Default, Xml)]
pub struct ChannelTarget {
    /// `Guestfwd` forwards what the guest sends to an address; `Virtio` is a port with a name.
    pub r#type: Option<ChannelTargetType>,
    /// `Guestfwd`.
    pub address: Option<String>,
    /// `Guestfwd`.
    pub port: Option<String>,
    /// `Virtio`: `/dev/virtio-ports/NAME` in a Linux guest.
    pub name: Option<String>,
    /// Set by libvirt: whether a process in the guest has the port open. Since 1.2.11.
    pub state: Option<ChannelTargetState>,
    pub _extra: Extra,
}

/// Which USB devices a rule means; -1 means any: <https://libvirt.org/formatdomain.html#redirected-devices>.
#[derive(Clone, Default, Xml)]
pub struct UsbDeviceRule {
    /// 0x08 is mass storage.
    #[xml(hex = 2, min = -1, max = 0xff)]
    pub class: Option<i32>,
    #[xml(hex = 4, min = -1, max = 0xffff)]
    pub vendor: Option<i32>,
    #[xml(hex = 4, min = -1, max = 0xffff)]
    pub product: Option<i32>,
    /// The device's revision, not that of USB.
    pub version: Option<UsbVersion>,
    pub allow: Option<YesNo>,
    pub _extra: Extra,
}

/// The device that implements a serial port: <https://libvirt.org/formatdomain.html#serial-port>.
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
