//! Where devices of a host are, as people write it.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::text::{refused, text_serde};
use crate::{Error, Result};

/// The address of a function of a PCI device. Written `0000:01:00.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    slot: u8,
    function: u8,
}

impl PciAddress {
    /// Takes `DOMAIN:BUS:SLOT.FUNCTION` in hexadecimal as `lspci` prints it; without the domain it is 0000. `InvalidInput`
    /// for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        parse_pci(text).ok_or_else(|| {
            let why = "is not DOMAIN:BUS:SLOT.FUNCTION in hexadecimal; write it like 0000:01:00.0";
            refused("pci", "PCI address", text, why)
        })
    }

    /// Takes its parts; `None` when a slot is above 31 or a function above 7.
    #[must_use]
    pub fn new(domain: u32, bus: u8, slot: u8, function: u8) -> Option<Self> {
        (slot <= 31 && function <= 7).then_some(Self { domain, bus, slot, function })
    }

    /// The domain, mostly 0.
    #[must_use]
    pub fn domain(self) -> u32 {
        self.domain
    }

    /// The bus.
    #[must_use]
    pub fn bus(self) -> u8 {
        self.bus
    }

    /// The slot, 0 to 31.
    #[must_use]
    pub fn slot(self) -> u8 {
        self.slot
    }

    /// The function, 0 to 7.
    #[must_use]
    pub fn function(self) -> u8 {
        self.function
    }
}

fn parse_pci(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.split_once('.')?;
    let mut parts = rest.rsplit(':');
    let (slot, bus) = (digits(parts.next()?, 2..=2, 16)?, digits(parts.next()?, 2..=2, 16)?);
    let domain = parts.next().map_or(Some(0), |domain| digits(domain, 4..=8, 16))?;
    if parts.next().is_some() {
        return None;
    }
    let function = digits(function, 1..=1, 16)?;
    PciAddress::new(domain, bus.try_into().ok()?, slot.try_into().ok()?, function.try_into().ok()?)
}

/// A number of so many digits. The library's own reader would take a plus sign.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>, radix: u32) -> Option<u32> {
    let is_number = text.chars().all(|c| c.is_digit(radix));
    (is_number && count.contains(&text.len())).then(|| u32::from_str_radix(text, radix).ok())?
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, slot, function } = self;
        f.pad(&format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"))
    }
}

/// What a USB device is: the numbers of its vendor and its product. Written `046d:c52b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsbId {
    /// The vendor; not 0.
    vendor: u16,
    /// The product.
    product: u16,
}

impl UsbId {
    /// Takes two numbers of four hexadecimal digits, as `lsusb` prints them. `InvalidInput` for anything else, and for the
    /// vendor 0000, which libvirt refuses.
    pub fn parse(text: &str) -> Result<Self> {
        let part = |text| digits(text, 4..=4, 16)?.try_into().ok();
        let numbers = text.split_once(':').and_then(|(vendor, product)| Some((part(vendor)?, part(product)?)));
        numbers.and_then(|(vendor, product)| Self::new(vendor, product)).ok_or_else(|| {
            let why = "is not VENDOR:PRODUCT of four hexadecimal digits each; write it like 046d:c52b";
            refused("usb", "USB id", text, why)
        })
    }

    /// Takes its parts; `None` for the vendor 0.
    #[must_use]
    pub fn new(vendor: u16, product: u16) -> Option<Self> {
        (vendor != 0).then_some(Self { vendor, product })
    }

    /// The number of the vendor.
    #[must_use]
    pub fn vendor(self) -> u16 {
        self.vendor
    }

    /// The number of the product.
    #[must_use]
    pub fn product(self) -> u16 {
        self.product
    }
}

impl fmt::Display for UsbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04x}:{:04x}", self.vendor, self.product))
    }
}

/// Where a USB device is now: its bus and its number there, which is another one after it was unplugged. Written `1-4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsbAddress {
    bus: u16,
    device: u16,
}

impl UsbAddress {
    /// Takes `BUS-DEVICE`, two numbers from 1 to 999 as `lsusb` prints them, with or without zeros before them.
    /// `InvalidInput` for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let part = |text| digits(text, 1..=3, 10)?.try_into().ok();
        let numbers = text.split_once('-').and_then(|(bus, device)| Some((part(bus)?, part(device)?)));
        numbers.and_then(|(bus, device)| Self::new(bus, device)).ok_or_else(|| {
            let why = "is not BUS-DEVICE, two numbers from 1 as lsusb prints them; write it like 1-4";
            refused("usb", "USB address", text, why)
        })
    }

    /// Takes its parts; `None` where one is not 1 to 999.
    #[must_use]
    pub fn new(bus: u16, device: u16) -> Option<Self> {
        let is_number = |number| (1..=999).contains(&number);
        (is_number(bus) && is_number(device)).then_some(Self { bus, device })
    }

    /// The bus.
    #[must_use]
    pub fn bus(self) -> u16 {
        self.bus
    }

    /// The number on the bus.
    #[must_use]
    pub fn device(self) -> u16 {
        self.device
    }
}

impl fmt::Display for UsbAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.bus, self.device))
    }
}

/// The uuid of a mediated device, in lower case with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MdevId(Uuid);

impl MdevId {
    /// Takes a uuid as 8-4-4-4-12 hexadecimal digits, as the kernel writes it. `InvalidInput` for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let uuid = if text.len() == 36 { Uuid::try_parse(text).ok() } else { None };
        uuid.map(Self).ok_or_else(|| {
            let why = "is not the uuid of a mediated device; write it as 8-4-4-4-12 hexadecimal digits";
            refused("mdev", "mediated device", text, why)
        })
    }

    /// A new random one (version 4) from 16 bytes of entropy.
    #[must_use]
    pub fn from_entropy(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

impl From<Uuid> for MdevId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<MdevId> for Uuid {
    fn from(id: MdevId) -> Self {
        id.0
    }
}

impl fmt::Display for MdevId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

macro_rules! from_text {
    ($($type:ident: $what:literal;)*) => {$(
        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }

        text_serde!($type, $what, $type::parse, |address| &address.to_string());
    )*};
}

from_text! {
    PciAddress: "a PCI address";
    UsbId: "a USB id";
    UsbAddress: "a USB address";
    MdevId: "the uuid of a mediated device";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_written_in_one_form() {
        for (text, form) in
            [("01:00.0", "0000:01:00.0"), ("0000:AF:1F.7", "0000:af:1f.7"), ("10000:e1:00.0", "10000:e1:00.0")]
        {
            assert_eq!(PciAddress::parse(text).unwrap().to_string(), form);
        }
        assert_eq!(UsbId::parse("046D:C52B").unwrap().to_string(), "046d:c52b");
        assert_eq!(UsbAddress::parse("001-004").unwrap().to_string(), "1-4");
        let id = "83B8F4F2-509F-382F-3C1E-E6BFE0FA1001";
        assert_eq!(MdevId::parse(id).unwrap().to_string(), id.to_lowercase());
    }

    #[test]
    fn hostile_addresses_are_refused_with_field_and_fix() {
        let hostile = ["", " ", "..", "../../etc", "-rf", "'/><x a='", "\u{202e}", "a\0b", "１:00.0", "0x1:0.0"];
        let check = |field: &str, e: Error| {
            assert_eq!(e.kind(), crate::ErrorKind::InvalidInput);
            assert_eq!(e.resource(), Some(&crate::Resource::Field(field.into())), "{e}");
            assert!(e.message().contains("write it"), "{e}");
        };
        for text in hostile.into_iter().chain([
            "01:00",
            "1:00.0",
            "01:20.0",
            "01:00.8",
            "00:01:00.0",
            "+001:01:00.0",
            "0:0:0:0.0",
        ]) {
            check("pci", PciAddress::parse(text).unwrap_err());
        }
        for text in hostile.into_iter().chain(["46d:c52b", "0000:c52b", "046d:c52b:1", "046g:c52b", "+46d:c52b"]) {
            check("usb", UsbId::parse(text).unwrap_err());
        }
        for text in hostile.into_iter().chain(["0-1", "1-0", "1-1000", "1-1.2", "+1-2", "1--2"]) {
            check("usb", UsbAddress::parse(text).unwrap_err());
        }
        let long = "a".repeat(1 << 20);
        for text in hostile.into_iter().chain([
            "83b8f4f2509f382f3c1ee6bfe0fa1001",
            "{83b8f4f2-509f-382f-3c1e-e6bfe0fa10}",
            &long,
        ]) {
            check("mdev", MdevId::parse(text).unwrap_err());
        }
        assert!(PciAddress::parse(&long).unwrap_err().message().len() < 300);
    }

    #[test]
    fn an_address_survives_json() {
        let address = PciAddress::parse("0000:01:00.0").unwrap();
        let text = serde_json::to_string(&address).unwrap();
        assert_eq!((text.as_str(), serde_json::from_str(&text).unwrap()), ("\"0000:01:00.0\"", address));
        assert!(serde_json::from_str::<UsbId>("\"../x\"").is_err());
    }
}
