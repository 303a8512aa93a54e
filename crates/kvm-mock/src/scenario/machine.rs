//! A machine of a scenario: from its entry to its document, and into its state.

use jiff::{SignedDuration, Timestamp};
use kvm_core::{CheckpointSpec, Error, Existing, MacAddr, PowerAction, Result, VmId, VmNotes, VmState};
use kvm_xml::domain::{
    Channel, ChannelTarget, ChannelTargetType, CharType, CrashAction, Devices, Disk, DiskBus, DiskDevice, DiskDriver,
    DiskFormat, DiskSource, DiskTarget, DiskType, DomainMemory, DomainType, Graphics, GraphicsType, Interface,
    InterfaceMac, InterfaceModel, InterfaceSource, InterfaceType, Os, OsFirmware, OsType, OsTypeName, Serial, Tpm,
    TpmBackend, TpmBackendType, Vcpu, Video, VideoModel, VideoModelType,
};
use kvm_xml::value::{DiskName, Unit};
use kvm_xml::{Document as _, Domain};
use uuid::Uuid;

use super::format::{DiskEntry, DiskKind, Firmware, MachineEntry, NicEntry};
use crate::document;
use crate::image;
use crate::machine::{GuestAction, GuestModel};
use crate::world::World;

/// Puts the machine of an entry into the world, in the state that the entry wants.
pub(super) fn add(world: &mut World, entry: &MachineEntry, now: Timestamp) -> Result<()> {
    let document = match &entry.xml {
        Some(xml) => Domain::from_xml(xml).map_err(|e| Error::invalid("xml", "is no domain").with_source(e))?,
        None => build(world, entry)?,
    };
    let (id, _) = world.define(&document, Existing::Reject)?;
    let machine = world.machine_mut(&id)?;
    machine.autostart = entry.autostart;
    machine.persistent = !entry.transient;
    let macs = document::nics(&machine.config).into_iter().map(|nic| nic.mac);
    let addresses = macs.zip(&entry.nics).filter_map(|(mac, nic)| Some((mac, nic.address?.into())));
    machine.guest = GuestModel {
        boots_in: entry.boots,
        obeys_in: entry.obeys,
        has_agent: entry.agent,
        load: entry.load,
        addresses: addresses.collect(),
        ..GuestModel::default()
    };
    for name in &entry.snapshots {
        world.plant_snapshot(&id, name, now)?;
    }
    for name in &entry.checkpoints {
        world.checkpoint(&id, &CheckpointSpec::new(name.clone()), now)?;
    }
    bring(world, &id, entry, now)
}

/// Lets the machine's past happen.
fn bring(world: &mut World, id: &VmId, entry: &MachineEntry, now: Timestamp) -> Result<()> {
    if entry.state == VmState::Off {
        return Ok(());
    }
    let up = SignedDuration::try_from(entry.up).unwrap_or(SignedDuration::MAX);
    let started = now.checked_sub(up).unwrap_or(Timestamp::MIN);
    world.power(id, PowerAction::Start, false, started)?;
    world.settle(now);
    let mut act = |action| world.machine_mut(id)?.act(action, now).map(|_| ());
    match entry.state {
        VmState::Running => Ok(()),
        VmState::Paused => world.power(id, PowerAction::Suspend, false, now).map(|_| ()),
        VmState::Saved => world.power(id, PowerAction::Save, false, now).map(|_| ()),
        VmState::Crashed => act(GuestAction::Crash),
        VmState::PmSuspended => act(GuestAction::SuspendToMemory),
        _ => Err(Error::invalid("state", format!("a scenario cannot begin with a machine that is {}", entry.state))),
    }
}

fn build(world: &World, entry: &MachineEntry) -> Result<Domain> {
    let name = entry.name.as_ref().ok_or_else(|| Error::invalid("name", "a machine needs a name or a document"))?;
    let uuid = entry.uuid.map_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_str().as_bytes()), Uuid::from);
    let mut document = Domain {
        r#type: Some(DomainType::Kvm),
        name: Some(name.as_str().to_owned()),
        uuid: Some(uuid),
        memory: Some(DomainMemory {
            unit: Some(Unit::KiB),
            value: Some(entry.memory.kib()),
            ..DomainMemory::default()
        }),
        vcpu: Some(Vcpu { value: Some(entry.vcpus), ..Vcpu::default() }),
        os: Some(Os {
            firmware: (entry.firmware == Firmware::Uefi).then_some(OsFirmware::Efi),
            r#type: Some(OsType {
                arch: Some(kvm_xml::common::Arch::X86_64),
                machine: Some(entry.machine.clone().unwrap_or_else(|| "q35".into())),
                value: Some(OsTypeName::Hvm),
                ..OsType::default()
            }),
            ..Os::default()
        }),
        on_crash: (entry.state == VmState::Crashed).then_some(CrashAction::Preserve),
        devices: Some(devices(world, entry)?),
        ..Domain::default()
    };
    let notes = VmNotes {
        title: entry.title.clone(),
        description: entry.description.clone(),
        tags: entry.tags.iter().cloned().collect(),
        protection: entry.protection,
        replication: None,
        moving: None,
        proof: None,
    };
    notes.apply_to(&mut document)?;
    Ok(document)
}

fn devices(world: &World, entry: &MachineEntry) -> Result<Devices> {
    let agent = Channel {
        r#type: Some(CharType::Unix),
        target: Some(ChannelTarget {
            r#type: Some(ChannelTargetType::Virtio),
            name: Some("org.qemu.guest_agent.0".into()),
            ..ChannelTarget::default()
        }),
        ..Channel::default()
    };
    let tpm = Tpm {
        backend: Some(TpmBackend { r#type: Some(TpmBackendType::Emulator), ..TpmBackend::default() }),
        ..Tpm::default()
    };
    let screen = VideoModel { r#type: Some(VideoModelType::Virtio), ..VideoModel::default() };
    let (mut disks, mut cdroms) = (Vec::new(), 0);
    for entry in &entry.disks {
        let cdrom = entry.device == DiskKind::Cdrom;
        let nth = if cdrom { cdroms } else { disks.len() - cdroms };
        cdroms += usize::from(cdrom);
        disks.push(disk(world, entry, nth)?);
    }
    Ok(Devices {
        disk: disks,
        interface: entry.nics.iter().map(nic).collect::<Result<_>>()?,
        serial: vec![Serial { r#type: Some(CharType::Pty), ..Serial::default() }],
        channel: if entry.agent { vec![agent] } else { Vec::new() },
        tpm: if entry.tpm { vec![tpm] } else { Vec::new() },
        graphics: vec![Graphics { r#type: Some(GraphicsType::Vnc), port: Some(-1), ..Graphics::default() }],
        video: vec![Video { model: Some(screen), ..Video::default() }],
        ..Devices::default()
    })
}

fn disk(world: &World, entry: &DiskEntry, nth: usize) -> Result<Disk> {
    let path = entry.path.as_str();
    let format = world.files.get(path).map(|file| image::probe(file).format);
    let cdrom = entry.device == DiskKind::Cdrom;
    let letter = u8::try_from(nth).ok().filter(|nth| *nth < 26).map(|nth| char::from(b'a' + nth));
    let letter = letter.ok_or_else(|| Error::invalid("disks", "a machine of a scenario has at most 26"))?;
    let target = format!("{}{letter}", if cdrom { "sd" } else { "vd" });
    Ok(Disk {
        r#type: Some(DiskType::File),
        device: Some(if cdrom { DiskDevice::Cdrom } else { DiskDevice::Disk }),
        driver: Some(DiskDriver {
            name: Some("qemu".into()),
            r#type: Some(if format == Some("qcow2") { DiskFormat::Qcow2 } else { DiskFormat::Raw }),
            ..DiskDriver::default()
        }),
        source: Some(DiskSource { file: Some(path.to_owned()), ..DiskSource::default() }),
        target: Some(DiskTarget {
            dev: target.parse::<DiskName>().ok(),
            bus: Some(if cdrom { DiskBus::Sata } else { DiskBus::Virtio }),
            ..DiskTarget::default()
        }),
        readonly: cdrom,
        ..Disk::default()
    })
}

fn nic(entry: &NicEntry) -> Result<Interface> {
    let (kind, source) = match (&entry.network, &entry.bridge) {
        (Some(name), None) => (
            InterfaceType::Network,
            InterfaceSource { network: Some(name.as_str().to_owned()), ..InterfaceSource::default() },
        ),
        (None, Some(name)) => {
            (InterfaceType::Bridge, InterfaceSource { bridge: Some(name.clone()), ..InterfaceSource::default() })
        }
        _ => return Err(Error::invalid("nics", "a network device names either a network or a bridge")),
    };
    let mac =
        |mac: MacAddr| InterfaceMac { address: Some(kvm_xml::value::MacAddr(mac.octets())), ..InterfaceMac::default() };
    Ok(Interface {
        r#type: Some(kind),
        mac: entry.mac.map(mac),
        source: Some(source),
        model: Some(InterfaceModel { r#type: Some("virtio".into()), ..InterfaceModel::default() }),
        ..Interface::default()
    })
}
