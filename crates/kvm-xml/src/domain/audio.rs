//! Sound cards and where their sound goes.

use super::{Address, Alias, DeviceAcpi, VirtioDriver};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::YesNo;
use kvm_xml_derive::Xml;

/// A sound card: <https://libvirt.org/formatdomain.html#sound-devices>.
#[derive(Clone, Default, Xml)]
#[xml(root = "sound")]
pub struct Sound {
    pub model: Option<SoundModel>,
    pub multichannel: Option<YesNo>,
    #[xml(hexable)]
    pub streams: Option<u32>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub audio: Option<AudioRef>,
    pub codec: Vec<SoundCodec>,
    pub driver: Option<VirtioDriver>,
    pub _extra: Extra,
}

/// Where the guest's sound goes on the host: <https://libvirt.org/formatdomain.html#audio-backends>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct Audio {
    #[xml(hexable)]
    pub id: Option<u8>,
    #[xml("timerPeriod", hexable)]
    pub timer_period: Option<u32>,
    pub r#type: Option<AudioType>,
    #[xml("tryMMap")]
    pub try_m_map: Option<YesNo>,
    pub exclusive: Option<YesNo>,
    #[xml("dspPolicy")]
    pub dsp_policy: Option<i32>,
    #[xml("runtimeDir")]
    pub runtime_dir: Option<String>,
    #[xml("serverName")]
    pub server_name: Option<String>,
    pub driver: Option<AudioDriver>,
    pub path: Option<String>,
    pub input: Option<AudioStream>,
    pub output: Option<AudioStream>,
    pub _extra: Extra,
}

/// The audio backend, by id.
#[derive(Clone, Default, Xml)]
pub struct AudioRef {
    #[xml(hexable)]
    pub id: Option<u8>,
    pub _extra: Extra,
}

/// A codec of an HDA sound card.
#[derive(Clone, Default, Xml)]
pub struct SoundCodec {
    pub r#type: Option<SoundCodecType>,
    pub _extra: Extra,
}

/// Recording or playback on the host.
#[derive(Clone, Default, Xml)]
pub struct AudioStream {
    #[xml("mixingEngine")]
    pub mixing_engine: Option<YesNo>,
    #[xml("fixedSettings")]
    pub fixed_settings: Option<YesNo>,
    #[xml(hexable)]
    pub voices: Option<u32>,
    #[xml("bufferLength", hexable)]
    pub buffer_length: Option<u32>,
    pub dev: Option<String>,
    #[xml("bufferCount", hexable)]
    pub buffer_count: Option<u32>,
    #[xml("serverName")]
    pub server_name: Option<String>,
    #[xml("clientName")]
    pub client_name: Option<String>,
    #[xml("connectPorts")]
    pub connect_ports: Option<String>,
    #[xml("exactName")]
    pub exact_name: Option<YesNo>,
    #[xml("tryPoll")]
    pub try_poll: Option<YesNo>,
    pub name: Option<String>,
    #[xml("streamName")]
    pub stream_name: Option<String>,
    #[xml(hexable)]
    pub latency: Option<u32>,
    pub settings: Option<AudioSettings>,
    pub _extra: Extra,
}

/// Fixed sample settings.
#[derive(Clone, Default, Xml)]
pub struct AudioSettings {
    #[xml(hexable)]
    pub frequency: Option<u64>,
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
