//! Devices of a scenario's host: from their entries to the documents that a real host would give.

use kvm_core::{Error, PciAddress, Result};
use kvm_xml::node_device::{
    Capability, CapabilityType, Devnode, DevnodeType, Identity, IommuGroup, MdevApi, MdevType, NestedCapability,
    NestedCapabilityType, NodeAddress, NodeDriver, NodeParent, NumaAffinity,
};
use kvm_xml::value::NumberOrName;
use kvm_xml::{Document as _, NodeDevice};

use super::format::DeviceEntry;

/// The documents of all entries, and of what is on them.
pub(super) fn documents(entries: &[DeviceEntry]) -> Result<Vec<NodeDevice>> {
    let mut documents = Vec::new();
    for entry in entries {
        match (entry.pci, entry.usb, &entry.xml) {
            (Some(address), None, None) => documents.extend(function(address, entry, entries)),
            (None, Some(_), None) => documents.push(usb(entry)),
            (None, None, Some(xml)) => {
                let document = NodeDevice::from_xml(xml);
                documents.push(document.map_err(|e| Error::invalid("xml", "is no device").with_source(e))?);
            }
            _ => return Err(Error::invalid("devices", "a device has one of pci, usb and xml")),
        }
    }
    Ok(documents)
}

/// A function on the PCI bus, and the network interface or the disk that it drives.
fn function(address: PciAddress, entry: &DeviceEntry, all: &[DeviceEntry]) -> Vec<NodeDevice> {
    let name = format!("pci_{}", address.to_string().replace([':', '.'], "_"));
    let group = entry.group.map(|number| {
        let members = all.iter().filter(|other| other.group == Some(number)).filter_map(|other| other.pci);
        IommuGroup { number: Some(number), address: members.map(node_address).collect(), ..IommuGroup::default() }
    });
    let pci = Capability {
        r#type: Some(CapabilityType::Pci),
        class: entry.class,
        domain: Some(address.domain().into()),
        bus: Some(NumberOrName::Number(address.bus().into())),
        slot: Some(address.slot().into()),
        function: Some(address.function().into()),
        capability: nested(address, entry, all),
        iommu_group: group,
        numa: entry.numa.map(|node| NumaAffinity { node: Some(node), ..NumaAffinity::default() }),
        ..identified(entry)
    };
    let mut documents = vec![device(name.clone(), "computer", entry.driver.as_deref(), pci)];
    if let Some(interface) = &entry.net {
        let net = Capability {
            r#type: Some(CapabilityType::Net),
            interface: Some(interface.clone()),
            ..Capability::default()
        };
        documents.push(device(format!("net_{interface}"), &name, None, net));
    }
    if let Some(path) = &entry.disk {
        let storage = Capability {
            r#type: Some(CapabilityType::Storage),
            block: Some(path.clone()),
            drive_type: Some("disk".into()),
            ..Capability::default()
        };
        let mut disk = device(format!("block_{}", path.trim_start_matches("/dev/")), &name, None, storage);
        disk.devnode =
            vec![Devnode { r#type: Some(DevnodeType::Dev), value: Some(path.clone()), ..Devnode::default() }];
        documents.push(disk);
    }
    documents
}

fn nested(address: PciAddress, entry: &DeviceEntry, all: &[DeviceEntry]) -> Vec<NestedCapability> {
    let of_type = |kind| NestedCapability { r#type: Some(kind), ..NestedCapability::default() };
    let physical = entry.max_vfs.map(|max| {
        let functions = all.iter().filter(|other| other.vf_of == Some(address)).filter_map(|other| other.pci);
        NestedCapability {
            max_count: Some(max),
            address: functions.map(node_address).collect(),
            ..of_type(NestedCapabilityType::VirtFunctions)
        }
    });
    let virtual_of = entry
        .vf_of
        .map(|of| NestedCapability { address: vec![node_address(of)], ..of_type(NestedCapabilityType::PhysFunction) });
    let types = entry.mdev_types.iter().map(|kind| MdevType {
        id: Some(kind.id.clone()),
        name: Some(kind.name.clone()),
        device_api: Some(MdevApi::VfioPci),
        available_instances: Some(kind.left),
        ..MdevType::default()
    });
    let mediated = (!entry.mdev_types.is_empty())
        .then(|| NestedCapability { type_el: types.collect(), ..of_type(NestedCapabilityType::MdevTypes) });
    // libvirt gives a bridge this capability in place of others.
    let bridge =
        (entry.class.map(|class| class >> 8) == Some(0x0604)).then(|| of_type(NestedCapabilityType::PciBridge));
    [physical, virtual_of, mediated, bridge].into_iter().flatten().collect()
}

fn usb(entry: &DeviceEntry) -> NodeDevice {
    let (bus, number) = entry.usb.map_or((0, 0), |at| (at.bus(), at.device()));
    let usb = Capability {
        r#type: Some(CapabilityType::UsbDevice),
        bus: Some(NumberOrName::Number(bus.into())),
        device: Some(number.into()),
        ..identified(entry)
    };
    let driver = entry.driver.as_deref().unwrap_or("usb");
    device(format!("usb_{bus}_{number}"), "computer", Some(driver), usb)
}

fn identified(entry: &DeviceEntry) -> Capability {
    let identity = |id: Option<u16>, name: &Option<String>| {
        Some(Identity { id: Some(id?.into()), value: name.clone(), ..Identity::default() })
    };
    Capability {
        vendor: identity(entry.id.map(|id| id.vendor()), &entry.vendor),
        product: identity(entry.id.map(|id| id.product()), &entry.product),
        ..Capability::default()
    }
}

fn device(name: String, parent: &str, driver: Option<&str>, capability: Capability) -> NodeDevice {
    NodeDevice {
        name: Some(name),
        parent: Some(NodeParent { value: Some(parent.to_owned()), ..NodeParent::default() }),
        driver: driver.map(|name| NodeDriver { name: Some(name.to_owned()), ..NodeDriver::default() }),
        capability: vec![capability],
        ..NodeDevice::default()
    }
}

fn node_address(address: PciAddress) -> NodeAddress {
    NodeAddress {
        domain: Some(address.domain()),
        bus: Some(address.bus().into()),
        slot: Some(address.slot().into()),
        function: Some(address.function().into()),
        ..NodeAddress::default()
    }
}
