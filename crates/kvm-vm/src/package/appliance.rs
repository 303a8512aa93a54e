//! What a machine's document and an appliance have in common.

use kvm_archive::{
    Adapter, Appliance, ApplianceDisk, ApplianceFirmware, ApplianceNic, Controller, GuestSystem, MemberName,
};
use kvm_core::op::PlanLine;
use kvm_core::{Bytes, Description, Error, Host, NetworkName, Result, VcpuCount, VmName};
use kvm_xml::Domain;
use kvm_xml::domain as xml;
use kvm_xml::value::YesNo;

use super::PackageImport;
use super::export::hard_disks;
use crate::spec::{
    CreateSpec, DiskBus, DiskOptions, DiskSource, DiskSpec, Firmware, NicLink, NicModel, NicSpec, OsHint,
};

/// A machine in the words of no hypervisor. `sizes` are those of its disks, in the order of the document.
pub(crate) fn describe(document: &Domain, sizes: &[Bytes]) -> Appliance {
    let disks = hard_disks(document).zip(sizes);
    let disks = disks.map(|(disk, size)| ApplianceDisk { capacity: *size, controller: controller(disk), file: None });
    let interfaces = document.devices.iter().flat_map(|devices| &devices.interface);
    let memory = document.memory.as_ref().and_then(xml::DomainMemory::bytes).unwrap_or_default();
    Appliance {
        name: document.name.clone(),
        description: document.description.clone().or_else(|| document.title.clone()),
        system: system(document),
        vcpus: document.vcpu.as_ref().and_then(|vcpu| vcpu.value).map_or(1, u32::from),
        memory: Bytes::new(memory),
        firmware: firmware(document),
        disks: disks.collect(),
        nics: interfaces.map(nic).collect(),
        left: Vec::new(),
    }
}

fn controller(disk: &xml::Disk) -> Controller {
    match disk.target.as_ref().and_then(|target| target.bus) {
        Some(xml::DiskBus::Ide) => Controller::Ide,
        Some(xml::DiskBus::Sata | xml::DiskBus::Usb) => Controller::Sata,
        // Also for virtio: what others have for it is for machines that know its drivers.
        _ => Controller::Scsi,
    }
}

fn nic(interface: &xml::Interface) -> ApplianceNic {
    let source = interface.source.as_ref();
    let network = source.and_then(|source| source.network.clone().or_else(|| source.bridge.clone()));
    let model = interface.model.as_ref().and_then(|model| model.r#type.as_deref()).unwrap_or_default();
    let adapter = match model {
        "virtio" => Adapter::Paravirtual,
        "e1000e" => Adapter::E1000e,
        "e1000" => Adapter::E1000,
        _ => Adapter::Other,
    };
    ApplianceNic { network: network.or_else(|| Some("user".into())), adapter }
}

/// A guess: clocks of Windows run in local time, and what has virtio from the start is hardly anything but Linux.
fn system(document: &Domain) -> GuestSystem {
    let is_local = document.clock.as_ref().is_some_and(|clock| clock.offset == Some(xml::ClockOffset::Localtime));
    let mut buses = hard_disks(document).filter_map(|disk| disk.target.as_ref()?.bus);
    match (is_local, buses.any(|bus| bus == xml::DiskBus::Virtio)) {
        (true, _) => GuestSystem::Windows,
        (false, true) => GuestSystem::Linux,
        (false, false) => GuestSystem::Other,
    }
}

fn firmware(document: &Domain) -> ApplianceFirmware {
    let Some(os) = &document.os else { return ApplianceFirmware::Bios };
    let loader = os.loader.as_ref();
    let is_uefi = os.firmware == Some(xml::OsFirmware::Efi)
        || loader.is_some_and(|loader| loader.r#type == Some(xml::LoaderType::Pflash));
    let is_on = |feature: &xml::FirmwareFeature| {
        feature.name == Some(xml::FirmwareFeatureName::SecureBoot) && feature.enabled == Some(YesNo::Yes)
    };
    let is_secure = os.firmware_el.as_ref().is_some_and(|firmware| firmware.feature.iter().any(is_on));
    match (is_uefi, is_secure) {
        (false, _) => ApplianceFirmware::Bios,
        (true, false) => ApplianceFirmware::Uefi,
        (true, true) => ApplianceFirmware::UefiSecure,
    }
}

/// What is asked for in place of an appliance. `files` are the sizes of its disks by what is in them; lines say what
/// differs from what it says.
pub(super) async fn specify(
    host: &Host,
    appliance: &Appliance,
    files: &[(ApplianceDisk, Option<Bytes>)],
    wanted: &PackageImport,
) -> Result<(CreateSpec, Vec<PlanLine>)> {
    let mut lines = Vec::new();
    let name = match &wanted.name {
        Some(name) => name.clone(),
        None => {
            let said = appliance.name.as_deref().unwrap_or_default();
            VmName::parse(said).map_err(|e| e.with_detail("the appliance is named so; say another name"))?
        }
    };
    if appliance.memory < Bytes::MEMORY_MIN {
        let message = format!("{} of memory are less than 16 MiB, with which nothing boots", appliance.memory);
        return Err(Error::invalid("memory", message));
    }
    let os = match appliance.system {
        GuestSystem::Linux => OsHint::Linux,
        GuestSystem::Windows => OsHint::Windows,
        GuestSystem::Other => OsHint::Other,
    };
    let new = |(disk, size): &(ApplianceDisk, Option<Bytes>)| DiskSpec {
        source: DiskSource::New {
            pool: wanted.pool.clone(),
            name: None,
            // What a guest sees is made of sectors.
            size: size.unwrap_or(Bytes::new(disk.capacity.get().next_multiple_of(512))),
            format: wanted.format,
            encrypt: None,
        },
        bus: wanted.bus.or(bus(disk.controller)),
        cache: None,
        options: DiskOptions::default(),
    };
    let mut spec = CreateSpec::new(name);
    spec.vcpus = Some(VcpuCount::new(appliance.vcpus)?);
    spec.memory = appliance.memory;
    spec.os = os;
    spec.firmware = Some(match appliance.firmware {
        ApplianceFirmware::Bios => Firmware::Bios,
        ApplianceFirmware::Uefi => Firmware::Uefi,
        ApplianceFirmware::UefiSecure => Firmware::UefiSecure,
    });
    spec.disks = files.iter().map(new).collect();
    spec.nics = Some(nics(host, appliance, wanted, &mut lines).await?);
    spec.description = match appliance.description.as_deref().map(Description::parse) {
        Some(Ok(description)) => Some(description),
        Some(Err(e)) => {
            lines.push(PlanLine::new("leave out", "description", spec.name.as_str()).note(e.message().to_owned()));
            None
        }
        None => None,
    };
    spec.autostart = wanted.autostart;
    spec.start = wanted.start;
    spec.allow_overcommit = wanted.allow_overcommit;
    lines.extend(appliance.left.iter().map(|what| {
        PlanLine::new("leave out", "device", what).note("appliances are taken in with hard disks and network devices")
    }));
    Ok((spec, lines))
}

/// What a guest boots from without new drivers; for what is left open the system decides.
fn bus(controller: Controller) -> Option<DiskBus> {
    match controller {
        Controller::Ide | Controller::Sata => Some(DiskBus::Sata),
        Controller::Scsi | Controller::Nvme => None,
    }
}

async fn nics(
    host: &Host,
    appliance: &Appliance,
    wanted: &PackageImport,
    lines: &mut Vec<PlanLine>,
) -> Result<Vec<NicSpec>> {
    let networks = host.networks.list().await?;
    let mut nics = Vec::new();
    for nic in &appliance.nics {
        let said = nic.network.as_deref().unwrap_or_default();
        let link = match (wanted.mapped(said), networks.iter().find(|network| network.name == *said)) {
            (Some(link), _) => link.clone(),
            (None, Some(network)) => NicLink::Network(network.name.clone()),
            (None, None) if said == "user" => NicLink::User,
            (None, None) => {
                let link = default_link(&networks);
                let note = match &link {
                    NicLink::Network(name) => format!("the host has no such network; it is plugged into {name}"),
                    _ => "the host has no such network; it gets user networking".to_owned(),
                };
                lines.push(PlanLine::new("change", "network", said).note(note));
                link
            }
        };
        let model = match nic.adapter {
            Adapter::Paravirtual | Adapter::Other => None,
            Adapter::E1000 => Some(NicModel::E1000),
            Adapter::E1000e => Some(NicModel::E1000e),
        };
        nics.push(NicSpec { model, ..NicSpec::new(link) });
    }
    Ok(nics)
}

fn default_link(networks: &[kvm_core::NetworkInfo]) -> NicLink {
    let default = NetworkName::parse("default").ok().filter(|name| networks.iter().any(|n| n.name == *name));
    default.map_or(NicLink::User, NicLink::Network)
}

/// The file of a disk, where it has one.
pub(super) fn member(disk: &ApplianceDisk) -> Result<Option<(MemberName, kvm_image::Format)>> {
    match &disk.file {
        Some(file) => Ok(Some((file.name.clone(), file.format))),
        None if disk.capacity == Bytes::ZERO || disk.capacity > Bytes::VOLUME_MAX => {
            let message = format!("the appliance has an empty disk of {}, which no disk can have", disk.capacity);
            Err(Error::invalid("ovf", message))
        }
        None => Ok(None),
    }
}
