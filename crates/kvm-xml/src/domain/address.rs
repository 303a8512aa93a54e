//! Where devices sit on their buses.

use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{OnOff, UsbPort};
use kvm_xml_derive::Xml;

/// Where a device sits on its bus: <https://libvirt.org/formatdomain.html#device-addresses>.
#[derive(Clone, Default, Xml)]
pub struct Address {
    pub r#type: Option<AddressType>,
    pub controller: Option<u32>,
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    #[xml(hex = 2, with = "domain")]
    pub bus: Option<u16>,
    #[xml(hex = 2, with = "domain")]
    pub slot: Option<u32>,
    #[xml(hex = 1, max = 7)]
    pub function: Option<u8>,
    pub multifunction: Option<OnOff>,
    pub target: Option<u32>,
    pub unit: Option<u32>,
    pub port: Option<UsbPort>,
    #[xml(base16 = 8)]
    pub reg: Option<u64>,
    #[xml(hex = 1, max = 254)]
    pub cssid: Option<u8>,
    #[xml(hex = 1, max = 3)]
    pub ssid: Option<u8>,
    #[xml(hex = 4)]
    pub devno: Option<u16>,
    #[xml(hex = 1)]
    pub iobase: Option<u16>,
    #[xml(hex = 1)]
    pub irq: Option<u8>,
    #[xml(base16 = 1)]
    pub base: Option<u64>,
    pub zpci: Option<Zpci>,
    pub _extra: Extra,
}

/// The s390 side of a PCI address.
#[derive(Clone, Default, Xml)]
pub struct Zpci {
    #[xml(hex = 4)]
    pub uid: Option<u16>,
    #[xml(hex = 8)]
    pub fid: Option<u32>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Address`] can be.
    pub enum AddressType {
        Pci = "pci", Drive = "drive", VirtioSerial = "virtio-serial", Ccid = "ccid", Usb = "usb",
        SpaprVio = "spapr-vio", Ccw = "ccw", Isa = "isa", VirtioMmio = "virtio-mmio", Dimm = "dimm",
        Unassigned = "unassigned",
    }
}
