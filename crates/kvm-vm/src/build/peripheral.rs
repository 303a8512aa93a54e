//! From a specification to the document of a device that is neither a disk, nor a network device, nor a screen.

use kvm_core::{Bytes, Error, ErrorKind, HostDeviceRef, Peripheral, PeripheralKind, PeripheralName, Resource, Result};
use kvm_xml::value::{Memory, Unit, YesNo};
use kvm_xml::{Domain, domain as xml};

use super::device::SPICE_AGENT;
use crate::spec::{ControllerSpec, DeviceSpec, DimmSpec, RngSource, ShareSpec, VsockSpec, WatchdogSpec};

/// A device as it goes into a machine, beside what its documents have already.
///
/// `InvalidInput` for one that this machine cannot have: the clipboard without a screen, a port for USB devices without
/// SPICE, a watchdog that acts differently than the others, a memory module without a place.
pub(crate) fn peripheral(spec: &DeviceSpec, machine: &[&Domain]) -> Result<Peripheral> {
    Ok(match spec {
        DeviceSpec::Clipboard(_) => Peripheral::Channel(Box::new(clipboard(machine)?)),
        DeviceSpec::Controller(spec) => Peripheral::Controller(Box::new(controller(spec, machine))),
        DeviceSpec::Dimm(spec) => Peripheral::Memory(Box::new(dimm(spec, machine)?)),
        DeviceSpec::Mdev(spec) => Peripheral::of_host(HostDeviceRef::Mdev(spec.mdev)),
        DeviceSpec::Pci(spec) => Peripheral::of_host(HostDeviceRef::Pci(spec.pci)),
        DeviceSpec::Usb(spec) => Peripheral::of_host(spec.usb.into()),
        DeviceSpec::Redirect(_) => Peripheral::Redirect(Box::new(redirect(machine)?)),
        DeviceSpec::Rng(spec) => Peripheral::Rng(Box::new(xml::Rng {
            alias: alias(PeripheralKind::Rng, machine),
            ..rng(spec.rng.unwrap_or(RngSource::Urandom))
        })),
        DeviceSpec::Share(spec) => Peripheral::Share(Box::new(share(spec))),
        DeviceSpec::Sound(spec) => Peripheral::Sound(Box::new(xml::Sound {
            model: Some(spec.sound.unwrap_or_else(|| sound(machine))),
            alias: alias(PeripheralKind::Sound, machine),
            ..xml::Sound::default()
        })),
        DeviceSpec::Vsock(spec) => Peripheral::Vsock(Box::new(vsock(spec))),
        DeviceSpec::Watchdog(spec) => Peripheral::Watchdog(Box::new(watchdog(spec, machine)?)),
    })
}

/// Lets processes of the host share a machine's memory, as virtiofs needs it. Whether something changed.
///
/// `InvalidState` when its memory is kept in a way that cannot be shared.
pub(crate) fn share_memory(document: &mut Domain) -> Result<bool> {
    if shares_memory(document) {
        return Ok(false);
    }
    let backing = document.memory_backing.get_or_insert_default();
    match backing.source.as_ref().and_then(|source| source.r#type) {
        None if backing.hugepages.is_some() => {}
        None => {
            let source = backing.source.get_or_insert_default();
            source.r#type = Some(xml::MemoryBackingSourceType::Memfd);
        }
        Some(xml::MemoryBackingSourceType::Anonymous) => {
            return Err(Error::new(ErrorKind::InvalidState, "the machine's memory is anonymous, and cannot be shared")
                .with_detail("take <source type='anonymous'/> out of its <memoryBacking> first"));
        }
        Some(_) => {}
    }
    backing.access.get_or_insert_default().mode = Some(xml::MemoryAccess::Shared);
    Ok(true)
}

/// Whether processes of the host share a machine's memory.
pub(crate) fn shares_memory(document: &Domain) -> bool {
    let access = document.memory_backing.as_ref().and_then(|backing| backing.access.as_ref());
    access.is_some_and(|access| access.mode == Some(xml::MemoryAccess::Shared))
}

pub(super) fn rng(source: RngSource) -> xml::Rng {
    let backend = match source {
        RngSource::Urandom => xml::RngBackend {
            model: Some(xml::RngBackendModel::Random),
            value: Some("/dev/urandom".into()),
            ..xml::RngBackend::default()
        },
        RngSource::Builtin => {
            xml::RngBackend { model: Some(xml::RngBackendModel::Builtin), ..xml::RngBackend::default() }
        }
    };
    xml::Rng { model: Some(xml::VirtioModel::Virtio), backend: Some(backend), ..xml::Rng::default() }
}

fn clipboard(machine: &[&Domain]) -> Result<xml::Channel> {
    let (kind, source) = if has_screen(machine, xml::GraphicsType::Spice) {
        (xml::CharType::Spicevmc, Vec::new())
    } else if has_screen(machine, xml::GraphicsType::Vnc) {
        let clipboard = xml::Clipboard { copypaste: Some(YesNo::Yes), ..xml::Clipboard::default() };
        let source = xml::CharSource { clipboard: Some(clipboard), ..xml::CharSource::default() };
        (xml::CharType::QemuVdagent, vec![source])
    } else {
        return Err(Error::invalid(
            "device",
            "a clipboard is shared with a SPICE or VNC viewer, and the VM has no screen",
        ));
    };
    Ok(xml::Channel { source, ..super::device::channel(kind, SPICE_AGENT) })
}

fn redirect(machine: &[&Domain]) -> Result<xml::Redirdev> {
    if !has_screen(machine, xml::GraphicsType::Spice) {
        return Err(Error::invalid("device", "USB devices are redirected over SPICE, and the VM has no such screen"));
    }
    Ok(xml::Redirdev {
        bus: Some(xml::UsbBus::Usb),
        r#type: Some(xml::CharType::Spicevmc),
        alias: alias(PeripheralKind::Redirect, machine),
        ..xml::Redirdev::default()
    })
}

fn controller(spec: &ControllerSpec, machine: &[&Domain]) -> xml::Controller {
    let kind = spec.controller.kind();
    let best = match kind {
        xml::ControllerType::Scsi => Some(xml::ControllerModel::VirtioScsi),
        xml::ControllerType::Usb => Some(xml::ControllerModel::QemuXhci),
        _ => None,
    };
    let devices = machine.iter().flat_map(|document| &document.devices).flat_map(|devices| &devices.controller);
    let taken: Vec<_> = devices.filter(|other| other.r#type == Some(kind)).filter_map(|other| other.index).collect();
    xml::Controller {
        r#type: Some(kind),
        index: (0..).find(|index| !taken.contains(index)),
        model: spec.model.or(best),
        ..xml::Controller::default()
    }
}

fn dimm(spec: &DimmSpec, machine: &[&Domain]) -> Result<xml::MemoryDevice> {
    const MIB: u64 = 1 << 20;
    let refuse = |message: String| Error::invalid("dimm", message);
    if spec.dimm == Bytes::ZERO || !spec.dimm.get().is_multiple_of(MIB) {
        return Err(refuse(format!("a memory module has whole MiB, not {}", spec.dimm)));
    }
    let node = spec.node.map(|node| node.get());
    for document in machine {
        let Some(most) = &document.max_memory else {
            return Err(refuse("the VM has no places for memory modules".into())
                .with_detail("it gets them when it is made: kvmctl vm create --memory-slots N --max-memory SIZE"));
        };
        let modules = document.devices.as_ref().map_or(&[][..], |devices| &devices.memory);
        let slots = most.slots.unwrap_or(0);
        if u32::try_from(modules.len()).is_ok_and(|present| present >= slots) {
            return Err(refuse(format!("all {slots} places for memory modules are taken")));
        }
        let total = document.memory.as_ref().and_then(xml::DomainMemory::bytes).map_or(Bytes::ZERO, Bytes::new);
        let (after, most) = (total.saturating_add(spec.dimm), most.bytes().map_or(Bytes::ZERO, Bytes::new));
        if after > most {
            return Err(refuse(format!("the VM has {total} and can have {most} at most")));
        }
        let cells = document.cpu.as_ref().and_then(|cpu| cpu.numa.as_ref()).map_or(0, |numa| numa.cell.len());
        if let Some(node) = node.filter(|node| usize::try_from(*node).is_ok_and(|node| node >= cells)) {
            return Err(Error::invalid("node", format!("there is no NUMA cell {node}: the VM has {cells}, from 0")));
        }
    }
    let target = xml::MemoryDeviceTarget {
        size: Some(Memory::new(spec.dimm.kib(), Unit::KiB)),
        node: Some(node.unwrap_or(0)),
        ..xml::MemoryDeviceTarget::default()
    };
    Ok(xml::MemoryDevice {
        model: Some(xml::MemoryDeviceModel::Dimm),
        target: Some(target),
        alias: alias(PeripheralKind::Memory, machine),
        ..xml::MemoryDevice::default()
    })
}

fn share(spec: &ShareSpec) -> xml::Filesystem {
    xml::Filesystem {
        r#type: Some(xml::FilesystemType::Mount),
        accessmode: Some(xml::FilesystemAccessmode::Passthrough),
        driver: Some(xml::FilesystemDriver {
            r#type: Some(xml::FilesystemDriverType::Virtiofs),
            ..xml::FilesystemDriver::default()
        }),
        source: Some(xml::FilesystemSource {
            dir: Some(spec.share.as_str().to_owned()),
            ..xml::FilesystemSource::default()
        }),
        target: Some(xml::FilesystemTarget {
            dir: Some(spec.tag.as_str().to_owned()),
            ..xml::FilesystemTarget::default()
        }),
        readonly: spec.readonly,
        ..xml::Filesystem::default()
    }
}

fn vsock(spec: &VsockSpec) -> xml::Vsock {
    let cid = match spec.vsock {
        Some(cid) => xml::VsockCid { auto: Some(YesNo::No), address: Some(cid.get()), ..xml::VsockCid::default() },
        None => xml::VsockCid { auto: Some(YesNo::Yes), ..xml::VsockCid::default() },
    };
    xml::Vsock { model: Some(xml::VirtioModel::Virtio), cid: Some(cid), ..xml::Vsock::default() }
}

fn watchdog(spec: &WatchdogSpec, machine: &[&Domain]) -> Result<xml::Watchdog> {
    let devices = machine.iter().flat_map(|document| &document.devices).flat_map(|devices| &devices.watchdog);
    // QEMU does one thing for all watchdogs.
    let present = devices.filter_map(|other| other.action).next();
    let action = spec.action.or(present).unwrap_or(xml::WatchdogAction::Reset);
    if let Some(present) = present.filter(|present| *present != action) {
        let message = format!("the VM's watchdogs all act alike: another one is there with action {present}");
        return Err(Error::invalid("action", message));
    }
    let best = if arch(machine) == Some("s390x") { xml::WatchdogModel::Diag288 } else { xml::WatchdogModel::I6300esb };
    Ok(xml::Watchdog { model: Some(spec.watchdog.unwrap_or(best)), action: Some(action), ..xml::Watchdog::default() })
}

fn sound(machine: &[&Domain]) -> xml::SoundModel {
    let is_q35 = machine.iter().filter_map(|document| machine_type(document)).any(|name| name.contains("q35"));
    match (arch(machine), is_q35) {
        (Some("x86_64" | "i686"), true) => xml::SoundModel::Ich9,
        (Some("x86_64" | "i686"), false) => xml::SoundModel::Ich6,
        _ => xml::SoundModel::Usb,
    }
}

fn has_screen(machine: &[&Domain], kind: xml::GraphicsType) -> bool {
    let devices = machine.iter().flat_map(|document| &document.devices);
    devices.flat_map(|devices| &devices.graphics).any(|screen| screen.r#type == Some(kind))
}

/// A name that is free in all documents.
fn alias(kind: PeripheralKind, machine: &[&Domain]) -> Option<xml::Alias> {
    let devices: Vec<_> = machine.iter().filter_map(|document| document.devices.as_ref()).collect();
    let name = PeripheralName::free_alias(kind, &devices).as_str().to_owned();
    Some(xml::Alias { name: Some(name), ..xml::Alias::default() })
}

fn machine_type(document: &Domain) -> Option<&str> {
    document.os.as_ref()?.r#type.as_ref()?.machine.as_deref()
}

fn arch<'a>(machine: &[&'a Domain]) -> Option<&'a str> {
    machine.iter().find_map(|document| Some(document.os.as_ref()?.r#type.as_ref()?.arch?.as_str()))
}

/// `AlreadyExists` for a device that a machine has.
pub(crate) fn taken(device: &Peripheral, vm: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("VM {vm} has {} already", device.key()))
        .on(Resource::Field("device".into()))
}
