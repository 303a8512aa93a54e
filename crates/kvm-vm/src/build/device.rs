//! The devices of a new machine.

use kvm_core::{FilterName, IoThread};
use kvm_xml::common::{Bandwidth, BandwidthLimit, FilterRef, VirtualPort, VirtualPortType};
use kvm_xml::value::{DiskName, MacAddr, YesNo};
use kvm_xml::{Domain, domain as xml};

use super::{Blueprint, BootOrder, Platform};
use crate::create::{Disk, Nic};
use crate::network::{MacvtapMode, PortProtocol, vlan};
use crate::place::Location;
use crate::socket::AGENT;
use crate::spec::{
    BridgeName, CacheMode, Discard, DiskBus, Firmware, Graphics, IoMode, NicLink, NicModel, NicOptions, UserForward,
};

/// The SPICE agent's channel.
pub(super) const SPICE_AGENT: &str = "com.redhat.spice.0";
/// Places for PCI express devices, as many as virt-install makes. Each device takes one, and libvirt by itself leaves one
/// free: a machine with fewer takes no second disk while it runs.
const PCIE_PORTS: usize = 14;
/// Where the host's programs, and nobody else, may see a screen.
const LOOPBACK: &str = "127.0.0.1";

pub(super) fn disks(platform: &Platform<'_>, blueprint: &Blueprint<'_>, boot: &BootOrder) -> Vec<xml::Disk> {
    let mut machine = Domain::default();
    for (disk, order) in blueprint.disks.iter().zip(&boot.disks) {
        let bus = disk_bus(disk, platform);
        let new = hard_disk(disk, machine.free_target(bus), bus);
        machine = machine.disk(xml::Disk { boot: order.map(xml::DeviceBoot::turn), ..new });
    }
    if let Some(iso) = blueprint.iso {
        let bus = cdrom_bus(platform);
        let new = placed(&iso.at, machine.free_target(bus), bus);
        machine = machine.disk(xml::Disk {
            device: Some(xml::DiskDevice::Cdrom),
            boot: boot.cdrom.map(xml::DeviceBoot::turn),
            readonly: true,
            ..new
        });
    }
    machine.devices.unwrap_or_default().disk
}

/// A hard disk with this image, under this name.
pub(crate) fn hard_disk(disk: &Disk, name: DiskName, bus: xml::DiskBus) -> xml::Disk {
    let new = placed(&disk.at, name, bus);
    let options = &disk.options;
    xml::Disk {
        driver: Some(xml::DiskDriver {
            r#type: Some(disk.format),
            cache: disk.cache.map(cache),
            discard: Some(discard(options.discard.unwrap_or(Discard::Unmap))),
            io: options.io.map(io),
            iothread: options.iothread.map(IoThread::get),
            ..new.driver.unwrap_or_default()
        }),
        serial: options.serial.as_ref().map(|serial| serial.as_str().to_owned()),
        boot: options.boot.map(xml::DeviceBoot::turn),
        iotune: options.limits.document(),
        source: new.source.map(|source| xml::DiskSource {
            encryption: disk.secret.map(|secret| crate::secret::encryption(Some(secret))),
            ..source
        }),
        ..new
    }
}

/// A raw disk with this image, under this name.
fn placed(at: &Location, name: DiskName, bus: xml::DiskBus) -> xml::Disk {
    let disk = match at {
        Location::File(path) => xml::Disk::file(name, path.as_str(), xml::DiskFormat::Raw),
        Location::Device(path) => xml::Disk::block(name, path.as_str()),
        // The host knows its address, and how it logs in there.
        Location::Network(volume) => {
            xml::Disk::volume(name, volume.pool.as_str(), volume.name.as_str(), xml::DiskFormat::Raw)
        }
    };
    disk.on(bus)
}

fn disk_bus(disk: &Disk, platform: &Platform<'_>) -> xml::DiskBus {
    match disk.bus {
        Some(chosen) => bus(chosen),
        None if platform.speaks_virtio() => xml::DiskBus::Virtio,
        None if platform.is_q35() => xml::DiskBus::Sata,
        None => xml::DiskBus::Ide,
    }
}

/// The bus as documents name it.
pub(crate) fn bus(bus: DiskBus) -> xml::DiskBus {
    match bus {
        DiskBus::Virtio => xml::DiskBus::Virtio,
        DiskBus::Scsi => xml::DiskBus::Scsi,
        DiskBus::Sata => xml::DiskBus::Sata,
        DiskBus::Ide => xml::DiskBus::Ide,
        DiskBus::Usb => xml::DiskBus::Usb,
    }
}

fn cdrom_bus(platform: &Platform<'_>) -> xml::DiskBus {
    match (platform.is_x86(), platform.is_q35()) {
        (true, true) => xml::DiskBus::Sata,
        (true, false) => xml::DiskBus::Ide,
        (false, _) => xml::DiskBus::Scsi,
    }
}

fn io(mode: IoMode) -> xml::DiskIo {
    match mode {
        IoMode::Threads => xml::DiskIo::Threads,
        IoMode::Native => xml::DiskIo::Native,
        IoMode::IoUring => xml::DiskIo::IoUring,
    }
}

fn discard(discard: Discard) -> xml::DiskDiscard {
    match discard {
        Discard::Unmap => xml::DiskDiscard::Unmap,
        Discard::Ignore => xml::DiskDiscard::Ignore,
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
    if platform.has_pcie_ports() {
        // The root first: libvirt numbers them in their order.
        controllers.push(controller(xml::ControllerType::Pci, xml::ControllerModel::PcieRoot));
        let port = || controller(xml::ControllerType::Pci, xml::ControllerModel::PcieRootPort);
        controllers.extend(std::iter::repeat_with(port).take(PCIE_PORTS));
    }
    if has(xml::DiskBus::Usb) || spec.graphics != Graphics::None {
        controllers.push(controller(xml::ControllerType::Usb, xml::ControllerModel::QemuXhci));
    }
    if has(xml::DiskBus::Scsi) {
        controllers.push(controller(xml::ControllerType::Scsi, xml::ControllerModel::VirtioScsi));
    }
    controllers
}

pub(super) fn interfaces(platform: &Platform<'_>, nics: &[Nic], boot: &BootOrder) -> Vec<xml::Interface> {
    let default = if platform.speaks_virtio() {
        NicModel::Virtio
    } else if platform.is_q35() {
        NicModel::E1000e
    } else {
        NicModel::E1000
    };
    let with_turn = |(i, nic): (usize, &Nic)| {
        let model = nic.model.unwrap_or(default);
        xml::Interface {
            boot: boot.network.filter(|_| i == 0).map(xml::DeviceBoot::turn),
            ..interface(nic, model.as_str())
        }
    };
    nics.iter().enumerate().map(with_turn).collect()
}

/// What a network device is plugged into: its type, source, and port of a virtual switch.
pub(crate) fn plugged_into(link: &NicLink) -> (xml::InterfaceType, Option<xml::InterfaceSource>, Option<VirtualPort>) {
    let bridge =
        |name: &BridgeName| xml::InterfaceSource { bridge: Some(name.as_str().to_owned()), ..Default::default() };
    match link {
        NicLink::Network(name) => {
            let source = xml::InterfaceSource { network: Some(name.as_str().to_owned()), ..Default::default() };
            (xml::InterfaceType::Network, Some(source), None)
        }
        NicLink::Bridge(name) => (xml::InterfaceType::Bridge, Some(bridge(name)), None),
        NicLink::Ovs(name) => {
            let port = VirtualPort { r#type: Some(VirtualPortType::Openvswitch), ..VirtualPort::default() };
            (xml::InterfaceType::Bridge, Some(bridge(name)), Some(port))
        }
        NicLink::Interface(name, mode) => {
            let mode = match mode {
                MacvtapMode::Bridge => xml::InterfaceSourceMode::Bridge,
                MacvtapMode::Private => xml::InterfaceSourceMode::Private,
                MacvtapMode::Vepa => xml::InterfaceSourceMode::Vepa,
                MacvtapMode::Passthrough => xml::InterfaceSourceMode::Passthrough,
            };
            let dev = Some(name.as_str().to_owned());
            let source = xml::InterfaceSource { dev, mode: Some(mode), ..Default::default() };
            (xml::InterfaceType::Direct, Some(source), None)
        }
        NicLink::User => (xml::InterfaceType::User, None, None),
    }
}

/// A network device of this model.
pub(crate) fn interface(nic: &Nic, model: &str) -> xml::Interface {
    let (kind, source, virtualport) = plugged_into(&nic.link);
    let options = &nic.options;
    let group = options.portgroup.as_ref().map(ToString::to_string);
    let source = source.map(|source| xml::InterfaceSource { portgroup: group, ..source });
    let filter = |name: &FilterName| FilterRef { filter: Some(name.as_str().to_owned()), ..FilterRef::default() };
    let has_forwards = !options.forwards.0.is_empty();
    xml::Interface {
        virtualport,
        vlan: vlan(&options.vlans.0),
        bandwidth: bandwidth(options),
        filterref: options.filter.as_ref().map(filter),
        port_forward: options.forwards.0.iter().map(forward).collect(),
        backend: has_forwards.then(|| xml::InterfaceBackend {
            r#type: Some(xml::InterfaceBackendType::Passt),
            ..xml::InterfaceBackend::default()
        }),
        r#type: Some(kind),
        mac: Some(xml::InterfaceMac { address: Some(MacAddr(nic.mac.octets())), ..Default::default() }),
        source,
        model: Some(xml::InterfaceModel { r#type: Some(model.to_owned()), ..Default::default() }),
        ..xml::Interface::default()
    }
}

/// Limits in KiB per second.
fn bandwidth(options: &NicOptions) -> Option<Bandwidth> {
    let limit = |rate: kvm_core::Bandwidth| {
        let average = rate.bytes_per_second().map(|bytes| bytes.kib().max(1));
        BandwidthLimit { average, ..BandwidthLimit::default() }
    };
    let (inbound, outbound) = (options.inbound.map(limit), options.outbound.map(limit));
    let is_limited = inbound.is_some() || outbound.is_some();
    is_limited.then(|| Bandwidth { inbound, outbound, ..Bandwidth::default() })
}

/// A port of the host that passt forwards.
fn forward(forward: &UserForward) -> xml::PortForward {
    let range = xml::PortRange {
        start: Some(forward.port.get().into()),
        to: Some(forward.guest_port.get().into()),
        ..xml::PortRange::default()
    };
    xml::PortForward {
        proto: Some(match forward.protocol {
            PortProtocol::Tcp => xml::IpProtocol::Tcp,
            PortProtocol::Udp => xml::IpProtocol::Udp,
        }),
        range: vec![range],
        ..xml::PortForward::default()
    }
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

/// A port with a name, which a program in the guest opens.
pub(super) fn channel(kind: xml::CharType, name: &str) -> xml::Channel {
    xml::Channel {
        r#type: Some(kind),
        target: Some(xml::ChannelTarget {
            r#type: Some(xml::ChannelTargetType::Virtio),
            name: Some(name.to_owned()),
            ..xml::ChannelTarget::default()
        }),
        ..xml::Channel::default()
    }
}

pub(super) fn channels(graphics: Graphics) -> Vec<xml::Channel> {
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

/// The balloon with its statistics: without a period nobody knows how much memory the guest uses.
pub(super) fn balloon() -> xml::Memballoon {
    xml::Memballoon {
        model: Some(xml::MemballoonModel::Virtio),
        stats: Some(xml::BalloonStats { period: Some(10), ..xml::BalloonStats::default() }),
        ..xml::Memballoon::default()
    }
}
