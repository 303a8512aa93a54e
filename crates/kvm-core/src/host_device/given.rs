//! Devices of the host in the documents of machines.

use std::fmt;

use kvm_xml::domain::{DeviceId, Hostdev, HostdevAddress, HostdevMode, HostdevModel, HostdevSource, HostdevType};
use kvm_xml::value::YesNo;

use super::{MdevId, PciAddress, UsbAddress, UsbId};

/// Points at a device of the host that a machine has, or is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostDeviceRef {
    /// A function on the PCI bus.
    Pci(PciAddress),
    /// The USB device of this kind, wherever it is plugged in.
    UsbId(UsbId),
    /// The USB device that is there now.
    UsbAddress(UsbAddress),
    /// A mediated device.
    Mdev(MdevId),
}

impl HostDeviceRef {
    /// The device that an element of a machine's document gives to the guest; `None` for kinds beside these.
    #[must_use]
    pub fn of(element: &Hostdev) -> Option<Self> {
        let source = element.source.as_ref()?;
        let address = source.address.as_ref();
        match element.r#type? {
            HostdevType::Pci => {
                let address = address?;
                let (slot, function) = (address.slot.unwrap_or_default(), address.function.unwrap_or_default());
                let bus = u8::try_from(address.bus?).ok()?;
                PciAddress::new(address.domain.unwrap_or_default(), bus, slot, function).map(Self::Pci)
            }
            HostdevType::Usb => match address {
                Some(address) => UsbAddress::new(address.bus?, address.device?).map(Self::UsbAddress),
                None => UsbId::new(source.vendor.as_ref()?.id?, source.product.as_ref()?.id?).map(Self::UsbId),
            },
            HostdevType::Mdev => Some(Self::Mdev(address?.uuid?.into())),
            _ => None,
        }
    }

    /// The element that gives it to a guest: libvirt takes it from its host driver at the start and gives it back at the
    /// end.
    #[must_use]
    pub fn element(self) -> Hostdev {
        let at = |address| HostdevSource { address: Some(address), ..HostdevSource::default() };
        let (kind, source) = match self {
            Self::Pci(pci) => {
                let address = HostdevAddress {
                    domain: Some(pci.domain()),
                    bus: Some(pci.bus().into()),
                    slot: Some(pci.slot()),
                    function: Some(pci.function()),
                    ..HostdevAddress::default()
                };
                (HostdevType::Pci, at(address))
            }
            Self::UsbId(id) => {
                let number = |id| Some(DeviceId { id: Some(id), ..DeviceId::default() });
                let (vendor, product) = (number(id.vendor()), number(id.product()));
                (HostdevType::Usb, HostdevSource { vendor, product, ..HostdevSource::default() })
            }
            Self::UsbAddress(usb) => {
                let (bus, device) = (Some(usb.bus()), Some(usb.device()));
                (HostdevType::Usb, at(HostdevAddress { bus, device, ..HostdevAddress::default() }))
            }
            Self::Mdev(id) => {
                (HostdevType::Mdev, at(HostdevAddress { uuid: Some(id.into()), ..HostdevAddress::default() }))
            }
        };
        let is_mediated = kind == HostdevType::Mdev;
        Hostdev {
            mode: Some(HostdevMode::Subsystem),
            managed: (!is_mediated).then_some(YesNo::Yes),
            model: is_mediated.then_some(HostdevModel::VfioPci),
            r#type: Some(kind),
            source: Some(source),
            ..Hostdev::default()
        }
    }
}

impl fmt::Display for HostDeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(f),
            Self::UsbId(id) => id.fmt(f),
            Self::UsbAddress(address) => address.fmt(f),
            Self::Mdev(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    #[test]
    fn an_element_says_which_device_it_gives() {
        let id = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".parse().unwrap();
        for (device, says) in [
            (
                HostDeviceRef::Pci("01:00.1".parse().unwrap()),
                "<address domain='0x0000' bus='0x01' slot='0x00' function='0x1'/>",
            ),
            (HostDeviceRef::UsbId("046d:c52b".parse().unwrap()), "<vendor id='0x046d'/>"),
            (HostDeviceRef::UsbAddress("1-4".parse().unwrap()), "<address bus='1' device='4'/>"),
            (HostDeviceRef::Mdev(id), "model='vfio-pci'"),
        ] {
            let xml = device.element().to_xml();
            assert!(xml.contains(says), "{xml}");
            assert_eq!(HostDeviceRef::of(&Hostdev::from_xml(&xml).unwrap()), Some(device));
        }
        assert_eq!(HostDeviceRef::of(&Hostdev::default()), None);
    }
}
