//! From an appliance to a document of version 1, which everybody reads.

use std::fmt::Write as _;

use kvm_image::Format;
use quick_xml::escape::escape;

use super::resource;
use crate::{Adapter, Appliance, ApplianceFirmware, Controller, GuestSystem};

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
"#;

/// Writes a document. Disks of one controller stand together, so they come in the order in which they are read again.
#[must_use]
pub fn write_ovf(appliance: &Appliance) -> String {
    let mut out = String::from(HEAD);
    references(&mut out, appliance);
    let name = appliance.name.as_deref().unwrap_or("machine");
    let (id, os_type, description) = match appliance.system {
        GuestSystem::Linux => (101, "otherLinux64Guest", "Linux 64-Bit"),
        GuestSystem::Windows => (103, "windows9_64Guest", "Microsoft Windows 64-Bit"),
        GuestSystem::Other => (1, "otherGuest64", "Other"),
    };
    line(&mut out, 1, format_args!("<VirtualSystem ovf:id=\"{}\">", escape(name)));
    line(&mut out, 2, format_args!("<Info>A virtual machine</Info>"));
    line(&mut out, 2, format_args!("<Name>{}</Name>", escape(name)));
    line(&mut out, 2, format_args!("<OperatingSystemSection ovf:id=\"{id}\" vmw:osType=\"{os_type}\">"));
    line(&mut out, 3, format_args!("<Info>The kind of installed guest operating system</Info>"));
    line(&mut out, 3, format_args!("<Description>{description}</Description>"));
    line(&mut out, 2, format_args!("</OperatingSystemSection>"));
    hardware(&mut out, appliance, name);
    if let Some(text) = &appliance.description {
        line(&mut out, 2, format_args!("<AnnotationSection>"));
        line(&mut out, 3, format_args!("<Info>What it is for</Info>"));
        line(&mut out, 3, format_args!("<Annotation>{}</Annotation>", escape(text.as_str())));
        line(&mut out, 2, format_args!("</AnnotationSection>"));
    }
    line(&mut out, 1, format_args!("</VirtualSystem>"));
    out.push_str("</Envelope>\n");
    out
}

fn line(out: &mut String, depth: usize, text: std::fmt::Arguments<'_>) {
    let _infallible = writeln!(out, "{:1$}{text}", "", depth * 2);
}

fn references(out: &mut String, appliance: &Appliance) {
    line(out, 1, format_args!("<References>"));
    for (i, file) in (1..).zip(&appliance.disks).filter_map(|(i, disk)| Some((i, disk.file.as_ref()?))) {
        let length = file.length.map(|length| format!(" ovf:size=\"{}\"", length.get())).unwrap_or_default();
        let name = escape(file.name.as_str());
        line(out, 2, format_args!("<File ovf:id=\"file{i}\" ovf:href=\"{name}\"{length}/>"));
    }
    line(out, 1, format_args!("</References>"));
    if !appliance.disks.is_empty() {
        line(out, 1, format_args!("<DiskSection>"));
        line(out, 2, format_args!("<Info>Virtual disks</Info>"));
        for (i, disk) in (1..).zip(&appliance.disks) {
            let file = disk.file.as_ref().map(|file| {
                let format = match file.format {
                    Format::Vmdk => "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized",
                    Format::Qcow2 => "http://www.gnome.org/~markmc/qcow-image-format.html",
                    _ => "raw",
                };
                let populated = file.populated.map(|p| format!(" ovf:populatedSize=\"{}\"", p.get()));
                format!(" ovf:fileRef=\"file{i}\" ovf:format=\"{format}\"{}", populated.unwrap_or_default())
            });
            let (capacity, file) = (disk.capacity.get(), file.unwrap_or_default());
            line(out, 2, format_args!("<Disk ovf:diskId=\"vmdisk{i}\" ovf:capacity=\"{capacity}\"{file}/>"));
        }
        line(out, 1, format_args!("</DiskSection>"));
    }
    let mut networks: Vec<_> = appliance.nics.iter().filter_map(|nic| nic.network.as_deref()).collect();
    networks.sort_unstable();
    networks.dedup();
    if !networks.is_empty() {
        line(out, 1, format_args!("<NetworkSection>"));
        line(out, 2, format_args!("<Info>The networks that the machine was plugged into</Info>"));
        for name in networks {
            line(out, 2, format_args!("<Network ovf:name=\"{}\"/>", escape(name)));
        }
        line(out, 1, format_args!("</NetworkSection>"));
    }
}

fn hardware(out: &mut String, appliance: &Appliance, name: &str) {
    line(out, 2, format_args!("<VirtualHardwareSection>"));
    line(out, 3, format_args!("<Info>Virtual hardware</Info>"));
    line(out, 3, format_args!("<System>"));
    line(out, 4, format_args!("<vssd:ElementName>Virtual Hardware Family</vssd:ElementName>"));
    line(out, 4, format_args!("<vssd:InstanceID>0</vssd:InstanceID>"));
    line(out, 4, format_args!("<vssd:VirtualSystemIdentifier>{}</vssd:VirtualSystemIdentifier>", escape(name)));
    line(out, 4, format_args!("<vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>"));
    line(out, 3, format_args!("</System>"));
    let mut items = Items { out, next: 1 };
    let count = appliance.vcpus;
    items.write(&[
        ("AllocationUnits", "hertz * 10^6"),
        ("ElementName", &format!("{count} virtual CPU(s)")),
        ("ResourceType", &resource::CPU.to_string()),
        ("VirtualQuantity", &count.to_string()),
    ]);
    // Programs write whole MiB, and some read nothing else.
    let mebibytes = appliance.memory.get().div_ceil(1 << 20);
    items.write(&[
        ("AllocationUnits", "byte * 2^20"),
        ("ElementName", &format!("{mebibytes}MB of memory")),
        ("ResourceType", &resource::MEMORY.to_string()),
        ("VirtualQuantity", &mebibytes.to_string()),
    ]);
    for controller in [Controller::Ide, Controller::Sata, Controller::Scsi, Controller::Nvme] {
        items.disks(appliance, controller);
    }
    for (i, nic) in (0..).zip(&appliance.nics) {
        let make = match nic.adapter {
            Adapter::Paravirtual => "VmxNet3",
            Adapter::E1000e => "E1000e",
            Adapter::E1000 | Adapter::Other => "E1000",
        };
        let mut said = vec![("AddressOnParent", i.to_string()), ("AutomaticAllocation", "true".to_owned())];
        said.extend(nic.network.iter().map(|network| ("Connection", network.clone())));
        said.push(("ElementName", format!("Network adapter {}", i + 1)));
        said.push(("ResourceSubType", make.to_owned()));
        said.push(("ResourceType", resource::ETHERNET.to_string()));
        items.write(&said.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>());
    }
    let config = |out: &mut String, key: &str, value: &str| {
        line(out, 3, format_args!("<vmw:Config ovf:required=\"false\" vmw:key=\"{key}\" vmw:value=\"{value}\"/>"));
    };
    if appliance.firmware != ApplianceFirmware::Bios {
        config(out, "firmware", "efi");
    }
    if appliance.firmware == ApplianceFirmware::UefiSecure {
        config(out, "bootOptions.efiSecureBootEnabled", "true");
    }
    line(out, 2, format_args!("</VirtualHardwareSection>"));
}

/// Writes devices, each with its own number.
struct Items<'a> {
    out: &'a mut String,
    next: u32,
}

impl Items<'_> {
    /// Writes a device of what is said about it, in the order of the alphabet, which the schema demands. Gives its number.
    fn write(&mut self, said: &[(&str, &str)]) -> u32 {
        let id = self.next;
        self.next += 1;
        line(self.out, 3, format_args!("<Item>"));
        let number = id.to_string();
        let mut said: Vec<_> = said.iter().copied().chain([("InstanceID", number.as_str())]).collect();
        said.sort_unstable();
        for (key, value) in said {
            line(self.out, 4, format_args!("<rasd:{key}>{}</rasd:{key}>", escape(value)));
        }
        line(self.out, 3, format_args!("</Item>"));
        id
    }

    /// Writes the disks of one kind of controller, and as many controllers as they need.
    fn disks(&mut self, appliance: &Appliance, controller: Controller) {
        let (kind, make, label, room) = match controller {
            Controller::Ide => (resource::IDE, "PIIX4", "IDE", 2),
            Controller::Sata => (resource::STORAGE, "AHCI", "SATA", 30),
            // The place of the controller itself is the eighth.
            Controller::Scsi => (resource::SCSI, "lsilogic", "SCSI", 7),
            Controller::Nvme => (resource::STORAGE, "vmware.nvme.controller", "NVMe", 15),
        };
        let disks: Vec<_> = (1..).zip(&appliance.disks).filter(|(_, disk)| disk.controller == controller).collect();
        for (number, disks) in disks.chunks(room).enumerate() {
            let parent = self.write(&[
                ("Address", &number.to_string()),
                ("ElementName", &format!("{label} controller {number}")),
                ("ResourceSubType", make),
                ("ResourceType", &kind.to_string()),
            ]);
            for (place, (i, _)) in disks.iter().enumerate() {
                self.write(&[
                    ("AddressOnParent", &place.to_string()),
                    ("ElementName", &format!("Hard disk {i}")),
                    ("HostResource", &format!("ovf:/disk/vmdisk{i}")),
                    ("Parent", &parent.to_string()),
                    ("ResourceType", &resource::DISK.to_string()),
                ]);
            }
        }
    }
}
