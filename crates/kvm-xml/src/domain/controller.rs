//! Controllers: the buses of the guest.

use super::{Address, Alias, DeviceAcpi, DiskIothreads};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Memory, OnOff, UsbPort};
use kvm_xml_derive::Xml;

/// A bus of the guest: <https://libvirt.org/formatdomain.html#controllers>.
///
/// libvirt adds the controllers that the devices need. One is written by hand to choose a model, such as virtio-scsi,
/// or to leave room for hot-plug.
#[derive(Clone, Default, Xml)]
#[xml(root = "controller", key = "type+index")]
pub struct Controller {
    pub r#type: Option<ControllerType>,
    /// Counts from 0 for each type; the `controller` (PCI: `bus`) of an address. The lowest free one if absent.
    pub index: Option<u32>,
    /// Means a different thing for each type. `None` with `Usb` takes USB away.
    pub model: Option<ControllerModel>,
    /// virtio-serial, and USB since 1.3.5: how many devices fit.
    pub ports: Option<u32>,
    /// virtio-serial only.
    pub vectors: Option<u32>,
    /// Xen bus. Since 5.2.0.
    #[xml("maxGrantFrames")]
    pub max_grant_frames: Option<u32>,
    /// Xen bus. Since 6.3.0.
    #[xml("maxEventChannels")]
    pub max_event_channels: Option<u32>,
    pub driver: Option<ControllerDriver>,
    /// Chosen by libvirt; better left alone. Since 1.2.19.
    #[xml("model")]
    pub model_el: Option<PciControllerModel>,
    /// Chosen by libvirt; better left alone, except for `hotplug` and `node`. Since 1.2.19.
    pub target: Option<ControllerTarget>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    /// USB 2 companions have the `index` of the controller they belong to.
    pub master: Option<UsbMaster>,
    pub address: Option<Address>,
    /// The 64-bit window of a root controller; KiB unless `unit` says otherwise. 0 helps Windows XP. Since 1.1.2.
    pub pcihole64: Option<Memory>,
    pub _extra: Extra,
}

/// The first port of a companion USB controller: <https://libvirt.org/formatdomain.html#controllers>.
#[derive(Clone, Default, Xml)]
pub struct UsbMaster {
    pub startport: Option<UsbPort>,
    pub _extra: Extra,
}

/// The device that implements a PCI controller: <https://libvirt.org/formatdomain.html#controllers>.
#[derive(Clone, Default, Xml)]
pub struct PciControllerModel {
    pub name: Option<PciControllerName>,
    pub _extra: Extra,
}

/// How the guest sees a PCI controller: <https://libvirt.org/formatdomain.html#controllers>.
#[derive(Clone, Default, Xml)]
pub struct ControllerTarget {
    /// `PciBridge`: 1 to 255.
    #[xml("chassisNr", hexable)]
    pub chassis_nr: Option<u8>,
    /// `PcieRootPort` and `PcieSwitchDownstreamPort`.
    #[xml(hexable)]
    pub chassis: Option<u8>,
    /// `PcieRootPort` and `PcieSwitchDownstreamPort`.
    #[xml(hex = 1)]
    pub port: Option<u8>,
    /// Expander buses: 1 to 254; the numbers above it belong to what hangs below.
    #[xml("busNr", hexable)]
    pub bus_nr: Option<u8>,
    /// pSeries: the order of root buses. Since 3.6.0.
    #[xml(hexable)]
    pub index: Option<u8>,
    /// Off forbids it; default on. Since 6.3.0, `PciRoot` since 7.9.0.
    pub hotplug: Option<OnOff>,
    /// KiB kept free for devices plugged in later. Since 10.3.0.
    #[xml("memReserve")]
    pub mem_reserve: Option<u64>,
    /// Expander buses: the guest's NUMA cell.
    #[xml(el)]
    pub node: Option<u32>,
    pub _extra: Extra,
}

/// How the hypervisor handles a controller: <https://libvirt.org/formatdomain.html#controllers>.
#[derive(Clone, Default, Xml)]
pub struct ControllerDriver {
    /// virtio-scsi: best as many as virtual CPUs. Since 1.0.5.
    pub queues: Option<u32>,
    /// Commands that may wait for one device. Since 1.2.7.
    pub cmd_per_lun: Option<u32>,
    /// The most that one command moves, in sectors of 512 bytes. Since 1.2.7.
    pub max_sectors: Option<u32>,
    /// A thread of its own takes requests, so that the guest runs on. Since 1.2.18.
    pub ioeventfd: Option<OnOff>,
    /// virtio-scsi: from 1; all disks of the controller use it. Since 1.3.5.
    pub iothread: Option<u32>,
    /// See [`VirtioDriver`](super::VirtioDriver).
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    /// virtio-scsi: several threads; instead of `iothread`. Since 11.2.0.
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
