//! From a document to an appliance.

use std::collections::BTreeMap;

use kvm_core::text::printable_within;
use kvm_core::{Bytes, Error, ErrorKind, Resource, Result};
use kvm_image::Format;

use super::{OVF_MAX, resource};
use crate::appliance::ApplianceFile;
use crate::xml::{Node, parse};
use crate::{Adapter, Appliance, ApplianceDisk, ApplianceFirmware, ApplianceNic, Controller, GuestSystem, MemberName};

/// More CPUs, disks or network devices have no appliance and no hypervisor.
const MOST: usize = 256;

/// CIM's numbers for kinds of Linux (`CIM_OperatingSystem.OSType`).
const LINUX: [std::ops::RangeInclusive<u32>; 4] = [36..=36, 79..=80, 82..=101, 106..=109];

/// Reads a document.
///
/// `Corrupt` when it is not well formed or contradicts itself; `InvalidInput` names the field `ovf`; `Unsupported` for
/// several machines in one document, and for disks that are compressed, in pieces, or differences to others.
pub fn read_ovf(text: &str) -> Result<Appliance> {
    if text.len() as u64 > OVF_MAX {
        return Err(Error::invalid("ovf", "the OVF document is longer than 1 MiB"));
    }
    let envelope = parse(text)?;
    if envelope.name != "Envelope" {
        return Err(wrong("has no envelope"));
    }
    let system = match envelope.child("VirtualSystem") {
        Some(system) if envelope.all("VirtualSystem").count() == 1 => system,
        _ => return Err(unsupported("describes not exactly one machine; export each by itself")),
    };
    let hardware = system.child("VirtualHardwareSection").ok_or_else(|| wrong("describes no hardware"))?;
    let items = Item::list(hardware, default_configuration(&envelope))?;
    let files = Files::read(&envelope)?;
    let (vcpus, memory) = (items.quantity(resource::CPU)?, items.quantity(resource::MEMORY)?);
    let annotation = system.child("AnnotationSection").and_then(|section| section.said("Annotation"));
    Ok(Appliance {
        name: system.said("Name").or_else(|| system.attribute("id")).map(ToOwned::to_owned),
        description: annotation.map(ToOwned::to_owned),
        system: guest_system(system),
        vcpus: vcpus.map_or(Ok(1), |count| u32::try_from(count).map_err(|_| wrong("asks for too many CPUs")))?,
        memory: Bytes::new(memory.ok_or_else(|| wrong("does not say how much memory the machine has"))?),
        firmware: firmware(system, hardware),
        disks: items.disks(&files)?,
        nics: items.nics(),
        left: items.left(),
    })
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the OVF document {why}")).on(Resource::Field("ovf".into()))
}

fn unsupported(why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the OVF document {why}")).on(Resource::Field("ovf".into()))
}

fn number(text: &str, what: &str) -> Result<u64> {
    text.parse().map_err(|_| wrong(&format!("says \"{}\" where {what} belongs", printable_within(text, 40))))
}

/// The bytes in a unit: `byte * 2^20`, and the words of old documents.
fn unit(text: Option<&str>, default: u64) -> Result<u64> {
    let Some(text) = text else { return Ok(default) };
    let word: String = text.to_lowercase().split_whitespace().collect();
    let power = match word.as_str() {
        "byte" | "bytes" => 0,
        "kilobytes" | "kb" => 10,
        "megabytes" | "mb" => 20,
        "gigabytes" | "gb" => 30,
        other => {
            let power = other.strip_prefix("byte*2^").and_then(|power| power.parse::<u32>().ok());
            power
                .filter(|power| *power <= 50)
                .ok_or_else(|| wrong(&format!("has the unknown unit \"{}\"", printable_within(text, 40))))?
        }
    };
    Ok(1 << power)
}

fn default_configuration(envelope: &Node) -> Option<&str> {
    let section = envelope.child("DeploymentOptionSection")?;
    let chosen = section.all("Configuration").find(|c| c.attribute("default") == Some("true"));
    chosen.or_else(|| section.child("Configuration"))?.attribute("id")
}

fn guest_system(system: &Node) -> GuestSystem {
    let Some(section) = system.child("OperatingSystemSection") else { return GuestSystem::Other };
    let words = [section.attribute("osType"), section.said("Description"), section.said("OSType")];
    let words = words.into_iter().flatten().collect::<Vec<_>>().join(" ").to_lowercase();
    let id = section.attribute("id").and_then(|id| id.parse().ok()).unwrap_or(0);
    let names = ["linux", "ubuntu", "debian", "centos", "rhel", "fedora", "suse", "sles", "rocky", "alma"];
    if words.contains("windows") || words.starts_with("win") {
        GuestSystem::Windows
    } else if LINUX.iter().any(|ids| ids.contains(&id)) || names.iter().any(|name| words.contains(name)) {
        GuestSystem::Linux
    } else {
        GuestSystem::Other
    }
}

fn firmware(system: &Node, hardware: &Node) -> ApplianceFirmware {
    let vmware = |key: &str, value: &str| {
        let mut found = hardware.all("Config").filter(|c| c.attribute("key") == Some(key));
        found.any(|c| c.attribute("value").is_some_and(|v| v.eq_ignore_ascii_case(value)))
    };
    let box_hardware = system.child("Machine").and_then(|machine| machine.child("Hardware"));
    let box_firmware = box_hardware.and_then(|h| h.child("Firmware")).and_then(|f| f.attribute("type"));
    let is_uefi = vmware("firmware", "efi") || box_firmware.is_some_and(|kind| kind.starts_with("EFI"));
    match (is_uefi, vmware("bootOptions.efiSecureBootEnabled", "true")) {
        (false, _) => ApplianceFirmware::Bios,
        (true, false) => ApplianceFirmware::Uefi,
        (true, true) => ApplianceFirmware::UefiSecure,
    }
}

/// The files and the disks of a document, by their ids.
struct Files<'a> {
    files: BTreeMap<&'a str, &'a Node>,
    disks: BTreeMap<&'a str, &'a Node>,
}

impl<'a> Files<'a> {
    fn read(envelope: &'a Node) -> Result<Self> {
        let by = |section: &str, element: &'static str, id: &'static str| {
            let mut found = BTreeMap::new();
            for node in envelope.all_in(section, element) {
                let key = node.attribute(id).ok_or_else(|| wrong(&format!("has a {element} without an id")))?;
                if found.insert(key, node).is_some() {
                    return Err(wrong(&format!("has two of {element} with one id")));
                }
            }
            if found.len() > MOST { Err(wrong(&format!("has more than {MOST} of {element}"))) } else { Ok(found) }
        };
        Ok(Self { files: by("References", "File", "id")?, disks: by("DiskSection", "Disk", "diskId")? })
    }

    /// The disk of a reference such as `ovf:/disk/vmdisk1`.
    fn disk(&self, resource: &str, controller: Controller) -> Result<ApplianceDisk> {
        let id = resource.rsplit_once("/disk/").map(|(_, id)| id);
        let disk = id.and_then(|id| self.disks.get(id));
        let disk = disk.ok_or_else(|| wrong("plugs in a disk that it does not describe"))?;
        if disk.attribute("parentRef").is_some() {
            return Err(unsupported("has a disk that is only the difference to another; export it in one piece"));
        }
        let said = disk.attribute("capacity").ok_or_else(|| wrong("has a disk without a capacity"))?;
        let capacity = number(said, "the capacity of a disk")?;
        let capacity = capacity.checked_mul(unit(disk.attribute("capacityAllocationUnits"), 1)?);
        let capacity = Bytes::new(capacity.ok_or_else(|| wrong("has a disk that is too large"))?);
        let file = match disk.attribute("fileRef") {
            Some(id) => Some(self.file(id, disk)?),
            None => None,
        };
        Ok(ApplianceDisk { capacity, controller, file })
    }

    fn file(&self, id: &str, disk: &Node) -> Result<ApplianceFile> {
        let file = self.files.get(id).ok_or_else(|| wrong("names a file that it does not refer to"))?;
        if file.attribute("compression").is_some_and(|c| !c.is_empty() && c != "identity") {
            return Err(unsupported("has a disk whose file is compressed as a whole; unpack it first"));
        }
        if file.attribute("chunkSize").is_some() {
            return Err(unsupported("has a disk in pieces; join them, or export it in one file"));
        }
        let name = file.attribute("href").ok_or_else(|| wrong("has a file without a name"))?;
        if name.contains("://") {
            return Err(unsupported("takes a disk from an address; download it first"));
        }
        let uri = disk.attribute("format").unwrap_or_default().to_lowercase();
        let formats = [("vmdk", Format::Vmdk), ("qcow", Format::Qcow2), ("raw", Format::Raw)];
        let format = formats.into_iter().find(|(word, _)| uri.contains(word)).map(|(_, format)| format);
        let format = format.ok_or_else(|| unsupported("has a disk that is neither VMDK nor qcow2 nor raw"))?;
        let length = file.attribute("size").filter(|size| !size.is_empty());
        let length = length.map(|size| number(size, "the length of a file").map(Bytes::new)).transpose()?;
        Ok(ApplianceFile { name: MemberName::parse(name)?, format, length, populated: None })
    }
}

impl Node {
    /// The elements of this name in all sections of that one.
    fn all_in<'a>(&'a self, section: &str, element: &'a str) -> impl Iterator<Item = &'a Self> {
        let sections: Vec<_> = self.children.iter().filter(|child| child.name == section).collect();
        sections.into_iter().flat_map(move |section| section.all(element))
    }
}

/// A virtual device.
struct Item<'a> {
    node: &'a Node,
    kind: u32,
    id: &'a str,
}

struct Items<'a>(Vec<Item<'a>>);

impl<'a> Item<'a> {
    /// Those of the default configuration, the ones for all configurations first.
    fn list(hardware: &'a Node, configuration: Option<&str>) -> Result<Items<'a>> {
        let mut found = Vec::new();
        let is_item = |node: &&Node| matches!(node.name.as_str(), "Item" | "StorageItem" | "EthernetPortItem");
        for node in hardware.children.iter().filter(is_item) {
            // The least and the most that is allowed are not what is wanted.
            if node.attribute("bound").is_some_and(|bound| bound != "normal") {
                continue;
            }
            let only_in = node.attribute("configuration");
            let is_in = |c: &str| configuration.is_some_and(|chosen| c.split_whitespace().any(|c| c == chosen));
            if only_in.is_none_or(is_in) {
                let kind = node.said("ResourceType").ok_or_else(|| wrong("has a device without a kind"))?;
                let kind = u32::try_from(number(kind, "the kind of a device")?).unwrap_or(u32::MAX);
                found.push((only_in.is_some(), Self { node, kind, id: node.said("InstanceID").unwrap_or_default() }));
            }
        }
        if found.len() > 2 * MOST {
            return Err(wrong("has more than 512 devices"));
        }
        found.sort_by_key(|(only, _)| *only);
        Ok(Items(found.into_iter().map(|(_, item)| item).collect()))
    }

    fn place(&self) -> u64 {
        self.node.said("AddressOnParent").and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
    }

    fn host_resource(&self) -> Option<&'a str> {
        self.node.said("HostResource")
    }

    fn controller(&self) -> Option<Controller> {
        let make = self.node.said("ResourceSubType").unwrap_or_default().to_lowercase();
        match self.kind {
            resource::IDE => Some(Controller::Ide),
            resource::SCSI => Some(Controller::Scsi),
            resource::STORAGE if make.contains("nvme") => Some(Controller::Nvme),
            resource::STORAGE if make.contains("scsi") => Some(Controller::Scsi),
            resource::STORAGE => Some(Controller::Sata),
            _ => None,
        }
    }
}

impl<'a> Items<'a> {
    fn of(&self, kind: u32) -> impl Iterator<Item = &Item<'a>> {
        self.0.iter().filter(move |item| item.kind == kind)
    }

    /// How much there is of something; of a configuration when it says so.
    fn quantity(&self, kind: u32) -> Result<Option<u64>> {
        let Some(item) = self.of(kind).last() else { return Ok(None) };
        let amount = item.node.said("VirtualQuantity").ok_or_else(|| wrong("has a device without a quantity"))?;
        let amount = number(amount, "a quantity")?;
        let default = if kind == resource::MEMORY { 1 << 20 } else { 1 };
        // CPUs have a unit of speed, which says nothing about their number.
        let unit = if kind == resource::MEMORY { unit(item.node.said("AllocationUnits"), default)? } else { 1 };
        amount.checked_mul(unit).map(Some).ok_or_else(|| wrong("asks for more memory than there can be"))
    }

    fn disks(&self, files: &Files<'_>) -> Result<Vec<ApplianceDisk>> {
        let mut found = Vec::new();
        for item in self.of(resource::DISK) {
            let Some(resource) = item.host_resource() else { continue };
            let parent = item.node.said("Parent");
            let parent = self.0.iter().position(|other| parent == Some(other.id) && other.controller().is_some());
            let controller = parent.and_then(|at| self.0[at].controller()).unwrap_or(Controller::Scsi);
            found.push(((parent, item.place()), files.disk(resource, controller)?));
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(found.into_iter().map(|(_, disk)| disk).collect())
    }

    fn nics(&self) -> Vec<ApplianceNic> {
        let mut found: Vec<_> = self.of(resource::ETHERNET).collect();
        found.sort_by_key(|item| item.place());
        let nic = |item: &Item<'_>| ApplianceNic {
            network: item.node.said("Connection").map(ToOwned::to_owned),
            adapter: match item.node.said("ResourceSubType").unwrap_or_default().to_lowercase().as_str() {
                make if make.starts_with("vmxnet") || make.starts_with("virtio") => Adapter::Paravirtual,
                "e1000" => Adapter::E1000,
                "e1000e" => Adapter::E1000e,
                _ => Adapter::Other,
            },
        };
        found.into_iter().map(nic).collect()
    }

    /// Discs and floppies that are part of the package.
    fn left(&self) -> Vec<String> {
        let media = [resource::FLOPPY, resource::CD, resource::DVD];
        let has_medium = |item: &&Item<'_>| media.contains(&item.kind) && item.host_resource().is_some();
        let name = |item: &Item<'_>| item.node.said("ElementName").unwrap_or("a drive").to_owned();
        self.0.iter().filter(has_medium).map(|item| format!("the medium in {}", name(item))).collect()
    }
}
