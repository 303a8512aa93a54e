//! Screens, graphics cards and input devices.

use super::{Address, Alias, AudioRef, DeviceAcpi, VirtioDriver, VirtioModel};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{DateTime, OnOff, YesNo};
use kvm_xml_derive::Xml;

/// A keyboard, mouse or tablet: <https://libvirt.org/formatdomain.html#input-devices>.
///
/// libvirt adds a mouse and a keyboard to a guest with graphics; a `Tablet` keeps the pointer where the viewer's is.
#[derive(Clone, Default, Xml)]
#[xml(root = "input")]
pub struct Input {
    /// `Passthrough` since 1.3.0, `Evdev` since 7.4.0.
    pub r#type: Option<InputType>,
    /// Chosen by libvirt if absent; `Virtio` since 1.3.0.
    pub bus: Option<InputBus>,
    /// Since 5.2.0.
    pub model: Option<VirtioModel>,
    pub driver: Option<VirtioDriver>,
    /// `Passthrough` and `Evdev` need it.
    pub source: Option<InputSource>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A way to see the guest's screen: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
///
/// Without `listen` and `listen_el`, a server listens where the host's configuration says: as a rule 127.0.0.1 alone.
/// Without `port`, give `autoport`.
#[derive(Clone, Default, Xml)]
#[xml(root = "graphics", key = "type")]
pub struct Graphics {
    /// `Vnc` and `Spice` are servers; `Sdl` and `Desktop` open a window on the host; `EglHeadless` (since 4.6.0)
    /// renders for one of the servers; `Dbus` since 8.4.0.
    pub r#type: Option<GraphicsType>,
    /// `Sdl`: the X display.
    pub display: Option<String>,
    /// `Sdl`: the authority file.
    pub xauth: Option<String>,
    pub fullscreen: Option<YesNo>,
    /// -1 means that libvirt chooses one at start, as `autoport` yes does; shown while the guest runs.
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    /// `Spice`: the encrypted port; -1 means that libvirt chooses.
    #[xml("tlsPort", min = -1, max = 65535)]
    pub tls_port: Option<i32>,
    /// Yes: libvirt chooses the ports at start, for VNC from 5900.
    pub autoport: Option<YesNo>,
    /// VNC: -1 means that libvirt chooses; `autoport` does not count here. Since 1.0.6.
    #[xml(min = -1, max = 65535)]
    pub websocket: Option<i32>,
    /// The address, as older versions write it; the same as in the first `listen_el`.
    #[xml(form = "host")]
    pub listen: Option<String>,
    /// VNC: `AllowExclusive` (default), `ForceShared`, `Ignore` takes everyone. Since 1.0.6.
    #[xml("sharePolicy")]
    pub share_policy: Option<GraphicsSharePolicy>,
    /// VNC: the viewer may shut down and reset. Since 7.1.0.
    #[xml("powerControl")]
    pub power_control: Option<YesNo>,
    /// VNC: a UNIX socket instead of a port; the same as in the first `listen_el`. Since 0.8.8.
    #[xml(form = "path")]
    pub socket: Option<String>,
    pub keymap: Option<String>,
    /// In clear text, and shown only to who asks for it; empty keeps everyone out. VNC uses 8 characters.
    #[xml(secret)]
    pub passwd: Option<String>,
    /// UTC.
    #[xml("passwdValidTo")]
    pub passwd_valid_to: Option<DateTime>,
    /// What a new password does to who is connected. VNC knows `Keep` alone. Since 0.9.3.
    pub connected: Option<GraphicsConnected>,
    /// `Spice`: for channels not named; default `Any`. Since 0.9.12.
    #[xml("defaultMode")]
    pub default_mode: Option<SpiceSecurity>,
    /// `Dbus`: the bus.
    pub address: Option<String>,
    /// `Dbus`: connections by libvirt's call alone.
    pub p2p: Option<YesNo>,
    /// RDP: a new connection ends the old one.
    #[xml("replaceUser")]
    pub replace_user: Option<YesNo>,
    /// RDP: several at once.
    #[xml("multiUser")]
    pub multi_user: Option<YesNo>,
    pub username: Option<String>,
    /// Since 0.9.4.
    #[xml("listen")]
    pub listen_el: Vec<Listen>,
    /// `Spice`: default `Client`. Since 0.9.11.
    pub mouse: Option<MouseMode>,
    /// `Spice`: default yes. Since 0.9.3.
    pub clipboard: Option<Clipboard>,
    /// Since 1.3.3.
    pub gl: Option<GraphicsGl>,
    /// VNC and D-Bus: which sound goes along. Since 7.2.0.
    pub audio: Option<AudioRef>,
    pub channel: Vec<SpiceChannel>,
    pub image: Option<SpiceImage>,
    pub jpeg: Option<SpiceCompression>,
    pub zlib: Option<SpiceCompression>,
    pub playback: Option<SpicePlayback>,
    pub streaming: Option<SpiceStreaming>,
    /// `Spice`: default yes. Since 1.2.2.
    pub filetransfer: Option<FileTransfer>,
    pub _extra: Extra,
}

/// A graphics card: <https://libvirt.org/formatdomain.html#video-devices>.
///
/// libvirt adds one to a guest with graphics that has none; `model.type` `None` prevents it.
#[derive(Clone, Default, Xml)]
#[xml(root = "video")]
pub struct Video {
    pub driver: Option<VideoDriver>,
    pub model: Option<VideoModel>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// The host's device behind an input: <https://libvirt.org/formatdomain.html#input-devices>.
#[derive(Clone, Default, Xml)]
pub struct InputSource {
    /// `Passthrough`: the absolute path of the event device.
    #[xml(form = "path")]
    pub evdev: Option<String>,
    /// `Evdev`: the absolute path of the event device.
    #[xml(form = "path")]
    pub dev: Option<String>,
    /// All input devices at once.
    pub grab: Option<InputSourceGrab>,
    /// The keys that switch between host and guest. Since 7.6.0.
    #[xml("grabToggle")]
    pub grab_toggle: Option<InputSourceGrabToggle>,
    /// Keys repeat.
    pub repeat: Option<OnOff>,
    pub _extra: Extra,
}

/// Whether the host's GPU renders: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct GraphicsGl {
    pub enable: Option<YesNo>,
    /// Such as `/dev/dri/renderD128`; the first one if absent. Since 3.1.0.
    #[xml(form = "path")]
    pub rendernode: Option<String>,
    pub _extra: Extra,
}

/// Where a graphics server listens: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct Listen {
    /// `Socket` and `None` since 2.0.0; with `None`, only libvirt's calls connect.
    pub r#type: Option<ListenType>,
    /// An IP address or a host name; `0.0.0.0` for all. Without one, the host's configuration decides.
    #[xml(form = "host")]
    pub address: Option<String>,
    /// A network of libvirt, whose address is used.
    pub network: Option<String>,
    /// Chosen by libvirt if absent.
    #[xml(form = "path")]
    pub socket: Option<String>,
    pub _extra: Extra,
}

/// Whether one SPICE channel is encrypted: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct SpiceChannel {
    pub name: Option<SpiceChannelName>,
    pub mode: Option<SpiceSecurity>,
    pub _extra: Extra,
}

/// How SPICE compresses images: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct SpiceImage {
    pub compression: Option<SpiceImageCompression>,
    pub _extra: Extra,
}

/// When SPICE compresses: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct SpiceCompression {
    pub compression: Option<SpiceCompressionWhen>,
    pub _extra: Extra,
}

/// Whether SPICE compresses sound: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct SpicePlayback {
    pub compression: Option<OnOff>,
    pub _extra: Extra,
}

/// Which videos SPICE streams: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct SpiceStreaming {
    pub mode: Option<SpiceStreamingMode>,
    pub _extra: Extra,
}

/// Whether copy and paste crosses the guest's border: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct Clipboard {
    pub copypaste: Option<YesNo>,
    pub _extra: Extra,
}

/// Who moves the mouse pointer: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct MouseMode {
    pub mode: Option<MouseOwner>,
    pub _extra: Extra,
}

/// Whether files may be dropped into the guest: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
pub struct FileTransfer {
    pub enable: Option<YesNo>,
    pub _extra: Extra,
}

/// How the hypervisor handles a graphics card: <https://libvirt.org/formatdomain.html#video-devices>.
#[derive(Clone, Default, Xml)]
pub struct VideoDriver {
    /// See [`VirtioDriver`](super::VirtioDriver).
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    /// `Vhostuser` renders in a process of its own. Since 5.8.0.
    pub name: Option<VideoDriverName>,
    /// bhyve. Since 3.5.0.
    pub vgaconf: Option<VideoDriverVgaconf>,
    pub _extra: Extra,
}

/// The graphics card that the guest sees; memory in KiB: <https://libvirt.org/formatdomain.html#video-devices>.
#[derive(Clone, Default, Xml)]
pub struct VideoModel {
    /// `Virtio` for current systems (since 1.3.0), `Qxl` for SPICE, `Vga` and `Bochs` (since 5.6.0) for firmware and
    /// the rest; `None` since 4.6.0.
    pub r#type: Option<VideoModelType>,
    /// `Qxl`: the first memory area, KiB. Since 1.0.2.
    pub ram: Option<u32>,
    /// KiB, rounded to a power of two; for `Qxl` the second area.
    pub vram: Option<u32>,
    /// `Qxl`: KiB for the VGA mode. Since 1.2.11.
    pub vgamem: Option<u32>,
    /// `Qxl`: KiB, the second area beyond 4 GiB. Since 1.3.3.
    pub vram64: Option<u32>,
    /// How many screens.
    pub heads: Option<u32>,
    /// The first device if none says yes. Since 1.0.2.
    pub primary: Option<YesNo>,
    /// `Virtio`: less copying of pictures; needs shared memory. Since 9.2.0.
    pub blob: Option<OnOff>,
    pub acceleration: Option<Acceleration>,
    /// Since 5.9.0.
    pub resolution: Option<Resolution>,
    pub _extra: Extra,
}

/// 2D and 3D acceleration: <https://libvirt.org/formatdomain.html#video-devices>.
#[derive(Clone, Default, Xml)]
pub struct Acceleration {
    /// With `Virtio`; needs `gl` of `graphics`. Since 1.3.0.
    pub accel3d: Option<YesNo>,
    /// VirtualBox.
    pub accel2d: Option<YesNo>,
    /// `Vhostuser`: chosen by libvirt if absent. Since 5.8.0.
    #[xml(form = "path")]
    pub rendernode: Option<String>,
    pub _extra: Extra,
}

/// The preferred resolution, in pixels: <https://libvirt.org/formatdomain.html#video-devices>.
#[derive(Clone, Default, Xml)]
pub struct Resolution {
    pub x: Option<u32>,
    pub y: Option<u32>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Input`] can be.
    pub enum InputType {
        Tablet = "tablet", Mouse = "mouse", Keyboard = "keyboard", Passthrough = "passthrough", Evdev = "evdev",
    }
    /// What `bus` of [`Input`] can be.
    pub enum InputBus {
        Ps2 = "ps2", Usb = "usb", Xen = "xen", Virtio = "virtio",
    }
    /// What `type` of [`Graphics`] can be.
    pub enum GraphicsType {
        Sdl = "sdl", Vnc = "vnc", Spice = "spice", Dbus = "dbus", Rdp = "rdp", Desktop = "desktop",
        EglHeadless = "egl-headless",
    }
    /// What `sharePolicy` of [`Graphics`] can be.
    pub enum GraphicsSharePolicy {
        AllowExclusive = "allow-exclusive", ForceShared = "force-shared", Ignore = "ignore",
    }
    /// What `connected` of [`Graphics`] can be.
    pub enum GraphicsConnected {
        Keep = "keep", Fail = "fail", Disconnect = "disconnect",
    }
    /// What `defaultMode` of [`Graphics`]; `mode` of [`SpiceChannel`] can be.
    pub enum SpiceSecurity {
        Any = "any", Secure = "secure", Insecure = "insecure",
    }
    /// What `grab` of [`InputSource`] can be.
    pub enum InputSourceGrab {
        All = "all",
    }
    /// What `grabToggle` of [`InputSource`] can be.
    pub enum InputSourceGrabToggle {
        CtrlCtrl = "ctrl-ctrl", AltAlt = "alt-alt", ShiftShift = "shift-shift", MetaMeta = "meta-meta",
        Scrolllock = "scrolllock", CtrlScrolllock = "ctrl-scrolllock",
    }
    /// What `type` of [`Listen`] can be.
    pub enum ListenType {
        Address = "address", Network = "network", Socket = "socket", None = "none",
    }
    /// What `name` of [`SpiceChannel`] can be.
    pub enum SpiceChannelName {
        Main = "main", Display = "display", Inputs = "inputs", Cursor = "cursor", Playback = "playback",
        Record = "record", Smartcard = "smartcard", Usbredir = "usbredir",
    }
    /// What `compression` of [`SpiceImage`] can be.
    pub enum SpiceImageCompression {
        AutoGlz = "auto_glz", AutoLz = "auto_lz", Quic = "quic", Glz = "glz", Lz = "lz", Off = "off",
    }
    /// What `compression` of [`SpiceCompression`] can be.
    pub enum SpiceCompressionWhen {
        Auto = "auto", Never = "never", Always = "always",
    }
    /// What `mode` of [`SpiceStreaming`] can be.
    pub enum SpiceStreamingMode {
        Filter = "filter", All = "all", Off = "off",
    }
    /// What `mode` of [`MouseMode`] and [`ReservationsSource`](crate::domain::ReservationsSource) can be.
    pub enum MouseOwner {
        Server = "server", Client = "client",
    }
    /// What `name` of [`VideoDriver`] can be.
    pub enum VideoDriverName {
        Qemu = "qemu", Vhostuser = "vhostuser",
    }
    /// What `vgaconf` of [`VideoDriver`] can be.
    pub enum VideoDriverVgaconf {
        Io = "io", On = "on", Off = "off",
    }
    /// What `type` of [`VideoModel`] can be.
    pub enum VideoModelType {
        Vga = "vga", Cirrus = "cirrus", Vmvga = "vmvga", Xen = "xen", Vbox = "vbox", Virtio = "virtio", Gop = "gop",
        None = "none", Bochs = "bochs", Ramfb = "ramfb", Qxl = "qxl",
    }
}
