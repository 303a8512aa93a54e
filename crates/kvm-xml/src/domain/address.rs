//! Where devices sit on their buses.

use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{OnOff, UsbPort};
use kvm_xml_derive::Xml;

/// Where a device sits on its bus: <https://libvirt.org/formatdomain.html#device-addresses>.
///
/// libvirt assigns addresses and writes them back, so that a guest keeps its layout; a new device needs none. What is
/// set depends on `type`. Copying a device into another domain goes well without its address.
#[derive(Clone, Default, Xml)]
pub struct Address {
    /// The bus. `Pci` alone, without further fields, asks libvirt for some PCI address (since 1.3.5). `Unassigned`
    /// keeps a PCI host device from the guest (since 6.0.0).
    pub r#type: Option<AddressType>,
    /// The `index` of a controller: drive, virtio-serial, ccid.
    pub controller: Option<u32>,
    /// PCI only; QEMU has domain 0 alone.
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    /// For PCI, the `index` of the PCI controller.
    #[xml(hex = 2, with = "domain")]
    pub bus: Option<u16>,
    /// PCI: 0 to 31. Also the slot of a memory module or smart card.
    #[xml(hex = 2, with = "domain")]
    pub slot: Option<u32>,
    /// PCI: 0 to 7.
    #[xml(hex = 1, max = 7)]
    pub function: Option<u8>,
    /// On function 0 of a slot whose other functions are used too; default off.
    pub multifunction: Option<OnOff>,
    /// Drive only: the SCSI target.
    pub target: Option<u32>,
    /// Drive only: the place on the bus; for SCSI, the LUN.
    pub unit: Option<u32>,
    /// USB: dotted ports from the root, such as `1.2`. virtio-serial: the port's number; port 0 is kept for the
    /// console.
    pub port: Option<UsbPort>,
    /// spapr-vio: the register's address.
    #[xml(base16 = 8)]
    pub reg: Option<u64>,
    /// CCW: `0xfe` for virtio devices.
    #[xml(hex = 1, max = 254)]
    pub cssid: Option<u8>,
    /// CCW: 0 to 3.
    #[xml(hex = 1, max = 3)]
    pub ssid: Option<u8>,
    /// CCW: the device number.
    #[xml(hex = 4)]
    pub devno: Option<u16>,
    /// ISA: the first I/O port.
    #[xml(hex = 1)]
    pub iobase: Option<u16>,
    /// ISA: the interrupt line.
    #[xml(hex = 1)]
    pub irq: Option<u8>,
    /// DIMM: the physical address in the guest.
    #[xml(base16 = 1)]
    pub base: Option<u64>,
    /// PCI on s390 only. Since 4.10.0.
    pub zpci: Option<Zpci>,
    pub _extra: Extra,
}

/// The s390 side of a PCI address: <https://libvirt.org/formatdomain.html#device-addresses>.
#[derive(Clone, Default, Xml)]
pub struct Zpci {
    /// 1 to 0xffff, unique in the guest.
    #[xml(hex = 4)]
    pub uid: Option<u16>,
    /// Unique in the guest.
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
