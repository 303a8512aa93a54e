//! Screens, graphics cards and input devices.

use super::{Address, Alias, AudioRef, DeviceAcpi, VirtioDriver, VirtioModel};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{DateTime, OnOff, YesNo};
use kvm_xml_derive::Xml;

/// A keyboard, mouse or tablet: <https://libvirt.org/formatdomain.html#input-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "input")]
pub struct Input {
    pub r#type: Option<InputType>,
    pub bus: Option<InputBus>,
    pub model: Option<VirtioModel>,
    pub driver: Option<VirtioDriver>,
    pub source: Option<InputSource>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// A way to see the guest's screen: <https://libvirt.org/formatdomain.html#graphical-framebuffers>.
#[derive(Clone, Default, Xml)]
#[xml(root = "graphics", key = "type")]
pub struct Graphics {
    pub r#type: Option<GraphicsType>,
    pub display: Option<String>,
    pub xauth: Option<String>,
    pub fullscreen: Option<YesNo>,
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    #[xml("tlsPort", min = -1, max = 65535)]
    pub tls_port: Option<i32>,
    pub autoport: Option<YesNo>,
    #[xml(min = -1, max = 65535)]
    pub websocket: Option<i32>,
    pub listen: Option<String>,
    #[xml("sharePolicy")]
    pub share_policy: Option<GraphicsSharePolicy>,
    #[xml("powerControl")]
    pub power_control: Option<YesNo>,
    pub socket: Option<String>,
    pub keymap: Option<String>,
    #[xml(secret)]
    pub passwd: Option<String>,
    #[xml("passwdValidTo")]
    pub passwd_valid_to: Option<DateTime>,
    pub connected: Option<GraphicsConnected>,
    #[xml("defaultMode")]
    pub default_mode: Option<SpiceSecurity>,
    pub address: Option<String>,
    pub p2p: Option<YesNo>,
    #[xml("replaceUser")]
    pub replace_user: Option<YesNo>,
    #[xml("multiUser")]
    pub multi_user: Option<YesNo>,
    pub username: Option<String>,
    #[xml("listen")]
    pub listen_el: Vec<Listen>,
    pub mouse: Option<MouseMode>,
    pub clipboard: Option<Clipboard>,
    pub gl: Option<GraphicsGl>,
    pub audio: Option<AudioRef>,
    pub channel: Vec<SpiceChannel>,
    pub image: Option<SpiceImage>,
    pub jpeg: Option<SpiceCompression>,
    pub zlib: Option<SpiceCompression>,
    pub playback: Option<SpicePlayback>,
    pub streaming: Option<SpiceStreaming>,
    pub filetransfer: Option<FileTransfer>,
    pub _extra: Extra,
}

/// A graphics card: <https://libvirt.org/formatdomain.html#video-devices>.
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

/// The host's device behind an input.
#[derive(Clone, Default, Xml)]
pub struct InputSource {
    pub evdev: Option<String>,
    pub dev: Option<String>,
    pub grab: Option<InputSourceGrab>,
    #[xml("grabToggle")]
    pub grab_toggle: Option<InputSourceGrabToggle>,
    pub repeat: Option<OnOff>,
    pub _extra: Extra,
}

/// Whether the host's GPU renders.
#[derive(Clone, Default, Xml)]
pub struct GraphicsGl {
    pub enable: Option<YesNo>,
    pub rendernode: Option<String>,
    pub _extra: Extra,
}

/// Where a graphics server listens.
#[derive(Clone, Default, Xml)]
pub struct Listen {
    pub r#type: Option<ListenType>,
    pub address: Option<String>,
    pub network: Option<String>,
    pub socket: Option<String>,
    pub _extra: Extra,
}

/// Whether one SPICE channel is encrypted.
#[derive(Clone, Default, Xml)]
pub struct SpiceChannel {
    pub name: Option<SpiceChannelName>,
    pub mode: Option<SpiceSecurity>,
    pub _extra: Extra,
}

/// How SPICE compresses images.
#[derive(Clone, Default, Xml)]
pub struct SpiceImage {
    pub compression: Option<SpiceImageCompression>,
    pub _extra: Extra,
}

/// When SPICE compresses.
#[derive(Clone, Default, Xml)]
pub struct SpiceCompression {
    pub compression: Option<SpiceCompressionWhen>,
    pub _extra: Extra,
}

/// Whether SPICE compresses sound.
#[derive(Clone, Default, Xml)]
pub struct SpicePlayback {
    pub compression: Option<OnOff>,
    pub _extra: Extra,
}

/// Which videos SPICE streams.
#[derive(Clone, Default, Xml)]
pub struct SpiceStreaming {
    pub mode: Option<SpiceStreamingMode>,
    pub _extra: Extra,
}

/// Whether copy and paste crosses the guest's border.
#[derive(Clone, Default, Xml)]
pub struct Clipboard {
    pub copypaste: Option<YesNo>,
    pub _extra: Extra,
}

/// Who moves the mouse pointer.
#[derive(Clone, Default, Xml)]
pub struct MouseMode {
    pub mode: Option<MouseOwner>,
    pub _extra: Extra,
}

/// Whether files may be dropped into the guest.
#[derive(Clone, Default, Xml)]
pub struct FileTransfer {
    pub enable: Option<YesNo>,
    pub _extra: Extra,
}

/// How the hypervisor handles a graphics card.
#[derive(Clone, Default, Xml)]
pub struct VideoDriver {
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    pub name: Option<VideoDriverName>,
    pub vgaconf: Option<VideoDriverVgaconf>,
    pub _extra: Extra,
}

/// The graphics card that the guest sees; memory in KiB.
#[derive(Clone, Default, Xml)]
pub struct VideoModel {
    pub r#type: Option<VideoModelType>,
    pub ram: Option<u32>,
    pub vram: Option<u32>,
    pub vgamem: Option<u32>,
    pub vram64: Option<u32>,
    pub heads: Option<u32>,
    pub primary: Option<YesNo>,
    pub blob: Option<OnOff>,
    pub acceleration: Option<Acceleration>,
    pub resolution: Option<Resolution>,
    pub _extra: Extra,
}

/// 2D and 3D acceleration.
#[derive(Clone, Default, Xml)]
pub struct Acceleration {
    pub accel3d: Option<YesNo>,
    pub accel2d: Option<YesNo>,
    pub rendernode: Option<String>,
    pub _extra: Extra,
}

/// The preferred resolution, in pixels.
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
