//! Devices out of their documents.

use std::collections::BTreeMap;

use kvm_core::{Bytes, HostDeviceName, PciAddress, UsbAddress, UsbId};
use kvm_xml::NodeDevice;
use kvm_xml::node_device::{Capability, CapabilityType, Identity, NestedCapability, NestedCapabilityType, NodeAddress};

use super::{
    DeviceClass, DeviceIdentity, GroupMember, HostAddress, HostDevice, HostDeviceKind, IommuMembers, MdevChoice,
    VirtualFunctions,
};

/// All devices, by kind and address. What has no name that can be spoken of is left out.
pub(super) fn devices(documents: &[NodeDevice]) -> Vec<HostDevice> {
    let mut devices: Vec<_> = documents.iter().filter_map(device).collect();
    let members: BTreeMap<_, _> = devices.iter().filter_map(|device| Some((pci(device)?, member(device)?))).collect();
    for group in devices.iter_mut().filter_map(|device| device.iommu_group.as_mut()) {
        for other in &mut group.others {
            if let Some(known) = members.get(&other.address) {
                *other = known.clone();
            }
        }
    }
    devices.sort_by(|a, b| (a.kind, &a.address, &a.name).cmp(&(b.kind, &b.address, &b.name)));
    devices
}

fn pci(device: &HostDevice) -> Option<PciAddress> {
    match device.address {
        Some(HostAddress::Pci(address)) => Some(address),
        _ => None,
    }
}

fn member(device: &HostDevice) -> Option<GroupMember> {
    Some(GroupMember {
        address: pci(device)?,
        product: device.product.as_ref().and_then(|product| product.name.clone()),
        class: device.class,
        driver: device.driver.clone(),
    })
}

fn device(document: &NodeDevice) -> Option<HostDevice> {
    let name = HostDeviceName::adopt(document.name.as_deref()?).ok()?;
    let unknown = Capability::default();
    let what = document.capability.first().unwrap_or(&unknown);
    let kind = kind(what);
    let address = address(what);
    let own = match address {
        Some(HostAddress::Pci(own)) => Some(own),
        _ => None,
    };
    let iommu_group = what.iommu_group.as_ref().and_then(|group| {
        let addresses = group.address.iter().filter_map(pci_address).filter(|address| Some(*address) != own);
        let others = addresses.map(|address| GroupMember { address, product: None, class: None, driver: None });
        Some(IommuMembers { number: group.number?, others: others.collect() })
    });
    let nested = |kind| what.capability.iter().find(|nested: &&NestedCapability| nested.r#type == Some(kind));
    let virtual_functions = nested(NestedCapabilityType::VirtFunctions).map(|nested| VirtualFunctions {
        max: nested.max_count,
        addresses: nested.address.iter().filter_map(pci_address).collect(),
    });
    let types = what.capability.iter().flat_map(|nested| &nested.type_el);
    let choice = |kind: &kvm_xml::node_device::MdevType| {
        Some(MdevChoice { id: kind.id.clone()?, name: kind.name.clone(), available: kind.available_instances })
    };
    Some(HostDevice {
        name,
        kind,
        class: what.class.filter(|_| kind == HostDeviceKind::Pci).and_then(DeviceClass::new),
        vendor: what.vendor.as_ref().and_then(identity),
        product: what.product.as_ref().and_then(identity).or_else(|| model(what)),
        driver: document.driver.as_ref().and_then(|driver| driver.name.clone()),
        parent: document.parent.as_ref().and_then(|parent| parent.value.clone()),
        numa_node: what.numa.as_ref().and_then(|numa| u32::try_from(numa.node?).ok()),
        physical_function: nested(NestedCapabilityType::PhysFunction)
            .and_then(|nested| pci_address(nested.address.first()?)),
        mediated_types: types.filter_map(choice).collect(),
        mediated_type: what.type_el.as_ref().and_then(|kind| kind.id.clone()),
        size: what.size.map(Bytes::new),
        used_by: Vec::new(),
        address,
        iommu_group,
        virtual_functions,
    })
}

fn kind(what: &Capability) -> HostDeviceKind {
    use CapabilityType as C;
    match what.r#type {
        Some(C::Pci) => HostDeviceKind::Pci,
        Some(C::UsbDevice) => HostDeviceKind::Usb,
        Some(C::Mdev) => HostDeviceKind::Mdev,
        Some(C::Net) => HostDeviceKind::Net,
        Some(C::Storage) => HostDeviceKind::Storage,
        Some(C::ScsiHost | C::ScsiTarget | C::Scsi | C::ScsiGeneric) => HostDeviceKind::Scsi,
        Some(C::Drm) => HostDeviceKind::Drm,
        _ => HostDeviceKind::Other,
    }
}

fn address(what: &Capability) -> Option<HostAddress> {
    let bus = || what.bus.as_ref()?.number();
    match what.r#type? {
        CapabilityType::Pci => {
            let number = |value: Option<u64>| u8::try_from(value?).ok();
            let domain = u32::try_from(what.domain?).ok()?;
            PciAddress::new(domain, number(bus())?, number(what.slot)?, number(what.function)?).map(HostAddress::Pci)
        }
        CapabilityType::UsbDevice => {
            let number = |value: Option<u64>| u16::try_from(value?).ok();
            let part = |identity: &Option<Identity>| u16::try_from(identity.as_ref()?.id?).ok();
            let id =
                part(&what.vendor).zip(part(&what.product)).and_then(|(vendor, product)| UsbId::new(vendor, product));
            UsbAddress::new(number(bus())?, number(what.device)?).map(|at| HostAddress::Usb(at, id))
        }
        CapabilityType::Mdev => Some(HostAddress::Mdev(what.uuid?.into())),
        CapabilityType::Net => what.interface.clone().map(HostAddress::Net),
        CapabilityType::Storage => what.block.clone().map(HostAddress::Block),
        _ => None,
    }
}

fn pci_address(address: &NodeAddress) -> Option<PciAddress> {
    let number = |value: Option<u32>| u8::try_from(value?).ok();
    PciAddress::new(address.domain?, number(address.bus)?, number(address.slot)?, number(address.function)?)
}

fn identity(identity: &Identity) -> Option<DeviceIdentity> {
    let name = identity.value.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    let id = identity.id.map(|id| format!("{id:04x}"));
    (name.is_some() || id.is_some()).then_some(DeviceIdentity { id, name })
}

/// What a disk says of itself.
fn model(what: &Capability) -> Option<DeviceIdentity> {
    let name = what.model.as_deref().map(str::trim).filter(|model| !model.is_empty())?;
    Some(DeviceIdentity { id: None, name: Some(name.to_owned()) })
}
