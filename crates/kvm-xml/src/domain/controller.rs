//! Controllers: the buses of the guest.

use super::{Address, Alias, DeviceAcpi, DiskIothreads};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Memory, OnOff, UsbPort};
use kvm_xml_derive::Xml;

/// A bus of the guest: <https://libvirt.org/formatdomain.html#controllers>.
#[derive(Clone, Default, Xml)]
#[xml(root = "controller")]
pub struct Controller {
    pub r#type: Option<ControllerType>,
    pub index: Option<u32>,
    pub model: Option<ControllerModel>,
    pub ports: Option<u32>,
    pub vectors: Option<u32>,
    #[xml("maxGrantFrames")]
    pub max_grant_frames: Option<u32>,
    #[xml("maxEventChannels")]
    pub max_event_channels: Option<u32>,
    pub driver: Option<ControllerDriver>,
    #[xml("model")]
    pub model_el: Option<PciControllerModel>,
    pub target: Option<ControllerTarget>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub master: Option<UsbMaster>,
    pub address: Option<Address>,
    pub pcihole64: Option<Memory>,
    pub _extra: Extra,
}

/// The first port of a companion USB controller.
#[derive(Clone, Default, Xml)]
pub struct UsbMaster {
    pub startport: Option<UsbPort>,
    pub _extra: Extra,
}

/// The device that implements a PCI controller.
#[derive(Clone, Default, Xml)]
pub struct PciControllerModel {
    pub name: Option<PciControllerName>,
    pub _extra: Extra,
}

/// How the guest sees a PCI controller.
#[derive(Clone, Default, Xml)]
pub struct ControllerTarget {
    #[xml("chassisNr", hexable)]
    pub chassis_nr: Option<u8>,
    #[xml(hexable)]
    pub chassis: Option<u8>,
    #[xml(hex = 1)]
    pub port: Option<u8>,
    #[xml("busNr", hexable)]
    pub bus_nr: Option<u8>,
    #[xml(hexable)]
    pub index: Option<u8>,
    pub hotplug: Option<OnOff>,
    #[xml("memReserve")]
    pub mem_reserve: Option<u64>,
    #[xml(el)]
    pub node: Option<u32>,
    pub _extra: Extra,
}

/// How the hypervisor handles a controller.
#[derive(Clone, Default, Xml)]
pub struct ControllerDriver {
    pub queues: Option<u32>,
    pub cmd_per_lun: Option<u32>,
    pub max_sectors: Option<u32>,
    pub ioeventfd: Option<OnOff>,
    pub iothread: Option<u32>,
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    pub iothreads: Option<DiskIothreads>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Controller`] can be.
    pub enum ControllerType {
        Fdc = "fdc", Sata = "sata", Ccid = "ccid", Scsi = "scsi", Usb = "usb", Ide = "ide", Isa = "isa", Pci = "pci",
        VirtioSerial = "virtio-serial", Xenbus = "xenbus",
    }
    /// What `model` of [`Controller`] can be.
    pub enum ControllerModel {
        Auto = "auto", Buslogic = "buslogic", Lsilogic = "lsilogic", Lsisas1068 = "lsisas1068", Vmpvscsi = "vmpvscsi",
        Ibmvscsi = "ibmvscsi", VirtioScsi = "virtio-scsi", Lsisas1078 = "lsisas1078",
        VirtioTransitional = "virtio-transitional", VirtioNonTransitional = "virtio-non-transitional",
        Ncr53c90 = "ncr53c90", Dc390 = "dc390", Am53c974 = "am53c974", Piix3Uhci = "piix3-uhci",
        Piix4Uhci = "piix4-uhci", Ehci = "ehci", Ich9Ehci1 = "ich9-ehci1", Ich9Uhci1 = "ich9-uhci1",
        Ich9Uhci2 = "ich9-uhci2", Ich9Uhci3 = "ich9-uhci3", Vt82c686bUhci = "vt82c686b-uhci", PciOhci = "pci-ohci",
        NecXhci = "nec-xhci", None = "none", Qusb1 = "qusb1", Qusb2 = "qusb2", QemuXhci = "qemu-xhci",
        Piix3 = "piix3", Piix4 = "piix4", Ich6 = "ich6", PciRoot = "pci-root", PcieRoot = "pcie-root",
        PciBridge = "pci-bridge", DmiToPciBridge = "dmi-to-pci-bridge", PcieToPciBridge = "pcie-to-pci-bridge",
        PcieRootPort = "pcie-root-port", PcieSwitchUpstreamPort = "pcie-switch-upstream-port",
        PcieSwitchDownstreamPort = "pcie-switch-downstream-port", PciExpanderBus = "pci-expander-bus",
        PcieExpanderBus = "pcie-expander-bus", Virtio = "virtio",
    }
    /// What `name` of [`PciControllerModel`] can be.
    pub enum PciControllerName {
        SpaprPciHostBridge = "spapr-pci-host-bridge", PciBridge = "pci-bridge", I82801b11Bridge = "i82801b11-bridge",
        PciePciBridge = "pcie-pci-bridge", Ioh3420 = "ioh3420", PcieRootPort = "pcie-root-port",
        X3130Upstream = "x3130-upstream", Xio3130Downstream = "xio3130-downstream", Pxb = "pxb", PxbPcie = "pxb-pcie",
    }
}
