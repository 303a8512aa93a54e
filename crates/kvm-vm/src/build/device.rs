//! The devices of a new machine.

use kvm_core::DiskPath;
use kvm_xml::value::{MacAddr, YesNo};
use kvm_xml::{Domain, domain as xml};

use super::{Blueprint, BootOrder, Platform};
use crate::create::{Disk, Nic};
use crate::socket::AGENT;
use crate::spec::{CacheMode, DiskBus, Firmware, Graphics, NicLink, NicModel};

/// The SPICE agent's channel.
const SPICE_AGENT: &str = "com.redhat.spice.0";
/// Where the host's programs, and nobody else, may see a screen.
const LOOPBACK: &str = "127.0.0.1";

pub(super) fn disks(platform: &Platform<'_>, blueprint: &Blueprint<'_>, boot: &BootOrder) -> Vec<xml::Disk> {
    let mut machine = Domain::default();
    for (disk, order) in blueprint.disks.iter().zip(&boot.disks) {
        let new = placed(&machine, disk_bus(disk, platform), &disk.path, disk.is_block);
        machine = machine.disk(xml::Disk {
            driver: Some(xml::DiskDriver {
                r#type: Some(disk.format),
                cache: disk.cache.map(cache),
                discard: Some(xml::DiskDiscard::Unmap),
                ..new.driver.unwrap_or_default()
            }),
            boot: order.map(xml::DeviceBoot::turn),
            ..new
        });
    }
    if let Some(iso) = blueprint.iso {
        let new = placed(&machine, cdrom_bus(platform), &iso.path, iso.is_block);
        machine = machine.disk(xml::Disk {
            device: Some(xml::DiskDevice::Cdrom),
            boot: boot.cdrom.map(xml::DeviceBoot::turn),
            readonly: true,
            ..new
        });
    }
    machine.devices.unwrap_or_default().disk
}

/// A raw disk with the next name that `machine` has free.
fn placed(machine: &Domain, bus: xml::DiskBus, path: &DiskPath, is_block: bool) -> xml::Disk {
    let name = machine.free_target(bus);
    let disk = if is_block {
        xml::Disk::block(name, path.as_str())
    } else {
        xml::Disk::file(name, path.as_str(), xml::DiskFormat::Raw)
    };
    disk.on(bus)
}

fn disk_bus(disk: &Disk, platform: &Platform<'_>) -> xml::DiskBus {
    match disk.bus {
        Some(DiskBus::Virtio) => xml::DiskBus::Virtio,
        Some(DiskBus::Scsi) => xml::DiskBus::Scsi,
        Some(DiskBus::Sata) => xml::DiskBus::Sata,
        Some(DiskBus::Ide) => xml::DiskBus::Ide,
        Some(DiskBus::Usb) => xml::DiskBus::Usb,
        None if platform.speaks_virtio() => xml::DiskBus::Virtio,
        None if platform.is_q35() => xml::DiskBus::Sata,
        None => xml::DiskBus::Ide,
    }
}

fn cdrom_bus(platform: &Platform<'_>) -> xml::DiskBus {
    match (platform.is_x86(), platform.is_q35()) {
        (true, true) => xml::DiskBus::Sata,
        (true, false) => xml::DiskBus::Ide,
        (false, _) => xml::DiskBus::Scsi,
    }
}

fn cache(mode: CacheMode) -> xml::DiskCache {
    match mode {
        CacheMode::None => xml::DiskCache::None,
        CacheMode::Writeback => xml::DiskCache::Writeback,
        CacheMode::Writethrough => xml::DiskCache::Writethrough,
        CacheMode::Directsync => xml::DiskCache::Directsync,
        CacheMode::Unsafe => xml::DiskCache::Unsafe,
    }
}

pub(super) fn controllers(
    platform: &Platform<'_>,
    spec: &crate::spec::CreateSpec,
    blueprint: &Blueprint<'_>,
) -> Vec<xml::Controller> {
    let buses: Vec<_> = blueprint.disks.iter().map(|d| disk_bus(d, platform)).collect();
    let cdrom = blueprint.iso.map(|_| cdrom_bus(platform));
    let has = |bus| buses.contains(&bus) || cdrom == Some(bus);
    let controller = |kind, model| xml::Controller { r#type: Some(kind), model: Some(model), ..Default::default() };
    let mut controllers = Vec::new();
    if has(xml::DiskBus::Usb) || spec.graphics != Graphics::None {
        controllers.push(controller(xml::ControllerType::Usb, xml::ControllerModel::QemuXhci));
    }
    if has(xml::DiskBus::Scsi) {
        controllers.push(controller(xml::ControllerType::Scsi, xml::ControllerModel::VirtioScsi));
    }
    controllers
}

pub(super) fn interfaces(platform: &Platform<'_>, nics: &[Nic], boot: &BootOrder) -> Vec<xml::Interface> {
    let interface = |(i, nic): (usize, &Nic)| {
        let (kind, source) = match &nic.link {
            NicLink::Network(name) => (
                xml::InterfaceType::Network,
                Some(xml::InterfaceSource { network: Some(name.as_str().to_owned()), ..Default::default() }),
            ),
            NicLink::Bridge(name) => (
                xml::InterfaceType::Bridge,
                Some(xml::InterfaceSource { bridge: Some(name.as_str().to_owned()), ..Default::default() }),
            ),
            NicLink::User => (xml::InterfaceType::User, None),
        };
        let model = nic.model.unwrap_or(if platform.speaks_virtio() {
            NicModel::Virtio
        } else if platform.is_q35() {
            NicModel::E1000e
        } else {
            NicModel::E1000
        });
        xml::Interface {
            r#type: Some(kind),
            mac: Some(xml::InterfaceMac { address: Some(MacAddr(nic.mac.octets())), ..Default::default() }),
            source,
            model: Some(xml::InterfaceModel { r#type: Some(model.as_str().to_owned()), ..Default::default() }),
            boot: boot.network.filter(|_| i == 0).map(xml::DeviceBoot::turn),
            ..xml::Interface::default()
        }
    };
    nics.iter().enumerate().map(interface).collect()
}

pub(super) fn serial() -> xml::Serial {
    let target = xml::SerialTarget { port: Some("0".into()), ..xml::SerialTarget::default() };
    xml::Serial { r#type: Some(xml::CharType::Pty), target: Some(target), ..xml::Serial::default() }
}

pub(super) fn console() -> xml::Serial {
    let mut console = serial();
    console.target.get_or_insert_default().r#type = Some(xml::SerialTargetType::Serial);
    console
}

pub(super) fn channels(graphics: Graphics) -> Vec<xml::Channel> {
    let channel = |kind, name: &str| xml::Channel {
        r#type: Some(kind),
        target: Some(xml::ChannelTarget {
            r#type: Some(xml::ChannelTargetType::Virtio),
            name: Some(name.to_owned()),
            ..xml::ChannelTarget::default()
        }),
        ..xml::Channel::default()
    };
    let agent = channel(xml::CharType::Unix, AGENT);
    let spice = (graphics == Graphics::Spice).then(|| channel(xml::CharType::Spicevmc, SPICE_AGENT));
    [agent].into_iter().chain(spice).collect()
}

pub(super) fn inputs(platform: &Platform<'_>, graphics: Graphics) -> Vec<xml::Input> {
    let input = |kind| xml::Input { r#type: Some(kind), bus: Some(xml::InputBus::Usb), ..xml::Input::default() };
    match graphics {
        Graphics::None => Vec::new(),
        // The tablet lets the pointer follow the viewer's; a PC has a keyboard by itself.
        _ if platform.is_x86() => vec![input(xml::InputType::Tablet)],
        _ => vec![input(xml::InputType::Tablet), input(xml::InputType::Keyboard)],
    }
}

pub(super) fn tpm(platform: &Platform<'_>, wanted: bool) -> Vec<xml::Tpm> {
    if !wanted {
        return Vec::new();
    }
    let has_crb = platform.is_x86() && platform.firmware != Firmware::Bios;
    vec![xml::Tpm {
        model: Some(if has_crb { xml::TpmModel::TpmCrb } else { xml::TpmModel::TpmTis }),
        backend: Some(xml::TpmBackend {
            r#type: Some(xml::TpmBackendType::Emulator),
            version: Some(xml::TpmBackendVersion::V2_0),
            ..xml::TpmBackend::default()
        }),
        ..xml::Tpm::default()
    }]
}

pub(super) fn graphics(graphics: Graphics) -> Vec<xml::Graphics> {
    let kind = match graphics {
        Graphics::None => return Vec::new(),
        Graphics::Vnc => xml::GraphicsType::Vnc,
        Graphics::Spice => xml::GraphicsType::Spice,
    };
    vec![xml::Graphics {
        r#type: Some(kind),
        autoport: Some(YesNo::Yes),
        listen: Some(LOOPBACK.into()),
        listen_el: vec![xml::Listen {
            r#type: Some(xml::ListenType::Address),
            address: Some(LOOPBACK.into()),
            ..xml::Listen::default()
        }],
        ..xml::Graphics::default()
    }]
}

pub(super) fn video(platform: &Platform<'_>, graphics: Graphics) -> Vec<xml::Video> {
    if graphics == Graphics::None {
        return Vec::new();
    }
    let kind = if platform.speaks_virtio() { xml::VideoModelType::Virtio } else { xml::VideoModelType::Vga };
    vec![xml::Video {
        model: Some(xml::VideoModel { r#type: Some(kind), ..xml::VideoModel::default() }),
        ..xml::Video::default()
    }]
}

pub(super) fn rng() -> xml::Rng {
    xml::Rng {
        model: Some(xml::VirtioModel::Virtio),
        backend: Some(xml::RngBackend {
            model: Some(xml::RngBackendModel::Random),
            value: Some("/dev/urandom".into()),
            ..xml::RngBackend::default()
        }),
        ..xml::Rng::default()
    }
}

/// The balloon with its statistics: without a period nobody knows how much memory the guest uses.
pub(super) fn balloon() -> xml::Memballoon {
    xml::Memballoon {
        model: Some(xml::MemballoonModel::Virtio),
        stats: Some(xml::BalloonStats { period: Some(10), ..xml::BalloonStats::default() }),
        ..xml::Memballoon::default()
    }
}
