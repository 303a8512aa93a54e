//! Sound cards and where their sound goes.

use super::{Address, Alias, DeviceAcpi, VirtioDriver};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::YesNo;
use kvm_xml_derive::Xml;

/// A sound card: <https://libvirt.org/formatdomain.html#sound-devices>.
///
/// Since 0.4.3.
#[derive(Clone, Default, Xml)]
#[xml(root = "sound")]
pub struct Sound {
    /// `Ich9` goes with q35; `Virtio` since 10.4.0.
    pub model: Option<SoundModel>,
    /// `Usb` only. Since 9.4.0.
    pub multichannel: Option<YesNo>,
    /// `Virtio` only; default 2. Since 10.4.0.
    #[xml(hexable)]
    pub streams: Option<u32>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    /// The default backend if absent. Since 7.2.0.
    pub audio: Option<AudioRef>,
    /// `Ich6` and `Ich9`; one for playing and recording if absent. Since 0.9.13.
    pub codec: Vec<SoundCodec>,
    /// See [`VirtioDriver`].
    pub driver: Option<VirtioDriver>,
    pub _extra: Extra,
}

/// Where the guest's sound goes on the host: <https://libvirt.org/formatdomain.html#audio-backends>.
///
/// `Spice` and `None` leave the sound to the viewer and are chosen by libvirt for SPICE and VNC. QEMU, since 7.2.0.
#[derive(Clone, Default, Xml)]
#[xml(root = "audio", key = "id")]
pub struct Audio {
    /// From 1.
    #[xml(hexable)]
    pub id: Option<u8>,
    /// Microseconds.
    #[xml("timerPeriod", hexable)]
    pub timer_period: Option<u32>,
    /// `Dbus` since 8.4.0, `Pipewire` since 9.10.0.
    pub r#type: Option<AudioType>,
    /// `Oss`.
    #[xml("tryMMap")]
    pub try_m_map: Option<YesNo>,
    /// `Oss`: nobody else uses the device.
    pub exclusive: Option<YesNo>,
    /// `Oss`: -1 to 10; smaller means less delay and more CPU time.
    #[xml("dspPolicy")]
    pub dsp_policy: Option<i32>,
    /// `Pipewire`: where the daemon's socket is.
    #[xml("runtimeDir")]
    pub runtime_dir: Option<String>,
    /// `Pulseaudio`: the server's host.
    #[xml("serverName")]
    pub server_name: Option<String>,
    /// `Sdl`.
    pub driver: Option<AudioDriver>,
    /// `File`: the recording, WAV under QEMU.
    pub path: Option<String>,
    pub input: Option<AudioStream>,
    pub output: Option<AudioStream>,
    pub _extra: Extra,
}

/// The audio backend, by id: <https://libvirt.org/formatdomain.html#sound-devices>.
#[derive(Clone, Default, Xml)]
pub struct AudioRef {
    #[xml(hexable)]
    pub id: Option<u8>,
    pub _extra: Extra,
}

/// A codec of an HDA sound card: <https://libvirt.org/formatdomain.html#sound-devices>.
#[derive(Clone, Default, Xml)]
pub struct SoundCodec {
    /// `Duplex` has line in and out, `Micro` speaker and microphone, `Output` line out (since 4.4.0).
    pub r#type: Option<SoundCodecType>,
    pub _extra: Extra,
}

/// Recording or playback on the host: <https://libvirt.org/formatdomain.html#audio-backends>.
#[derive(Clone, Default, Xml)]
pub struct AudioStream {
    /// Converts formats; without it, 5.1 and 7.1 are possible.
    #[xml("mixingEngine")]
    pub mixing_engine: Option<YesNo>,
    /// Takes `settings` instead of choosing; needs `mixing_engine`.
    #[xml("fixedSettings")]
    pub fixed_settings: Option<YesNo>,
    /// Default 1.
    #[xml(hexable)]
    pub voices: Option<u32>,
    /// Microseconds.
    #[xml("bufferLength", hexable)]
    pub buffer_length: Option<u32>,
    /// `Alsa`, `Oss`: the device on the host.
    pub dev: Option<String>,
    /// `Coreaudio`, `Oss`, `Sdl`; goes with `buffer_length`.
    #[xml("bufferCount", hexable)]
    pub buffer_count: Option<u32>,
    /// `Jack`.
    #[xml("serverName")]
    pub server_name: Option<String>,
    /// `Jack`.
    #[xml("clientName")]
    pub client_name: Option<String>,
    /// `Jack`: a regular expression.
    #[xml("connectPorts")]
    pub connect_ports: Option<String>,
    /// `Jack`: the server may not change `client_name`.
    #[xml("exactName")]
    pub exact_name: Option<YesNo>,
    /// `Oss`.
    #[xml("tryPoll")]
    pub try_poll: Option<YesNo>,
    /// `Pulseaudio`, `Pipewire`: the sink or source.
    pub name: Option<String>,
    /// `Pulseaudio`, `Pipewire`: what mixers show.
    #[xml("streamName")]
    pub stream_name: Option<String>,
    /// `Pulseaudio`, `Pipewire`: microseconds.
    #[xml(hexable)]
    pub latency: Option<u32>,
    /// With `fixed_settings` only.
    pub settings: Option<AudioSettings>,
    pub _extra: Extra,
}

/// Fixed sample settings: <https://libvirt.org/formatdomain.html#audio-backends>.
#[derive(Clone, Default, Xml)]
pub struct AudioSettings {
    /// Hz; default 44100.
    #[xml(hexable)]
    pub frequency: Option<u64>,
    /// Default 2.
    #[xml(hexable)]
    pub channels: Option<u32>,
    pub format: Option<AudioSettingsFormat>,
    pub _extra: Extra,
}

closed! {
    /// What `model` of [`Sound`] can be.
    pub enum SoundModel {
        Sb16 = "sb16", Es1370 = "es1370", Pcspk = "pcspk", Ac97 = "ac97", Ich6 = "ich6", Ich7 = "ich7", Ich9 = "ich9",
        Usb = "usb", Virtio = "virtio",
    }
    /// What `type` of [`Audio`] can be.
    pub enum AudioType {
        None = "none", Dbus = "dbus", Alsa = "alsa", Coreaudio = "coreaudio", Jack = "jack", Oss = "oss",
        Pipewire = "pipewire", Pulseaudio = "pulseaudio", Sdl = "sdl", Spice = "spice", File = "file",
    }
    /// What `driver` of [`Audio`] can be.
    pub enum AudioDriver {
        Esd = "esd", Alsa = "alsa", Arts = "arts", Pulseaudio = "pulseaudio",
    }
    /// What `type` of [`SoundCodec`] can be.
    pub enum SoundCodecType {
        Duplex = "duplex", Micro = "micro", Output = "output",
    }
    /// What `format` of [`AudioSettings`] can be.
    pub enum AudioSettingsFormat {
        S8 = "s8", U8 = "u8", S16 = "s16", U16 = "u16", S32 = "s32", U32 = "u32", F32 = "f32",
    }
}
