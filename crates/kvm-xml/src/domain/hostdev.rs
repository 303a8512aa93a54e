//! Host devices given to the guest.

use super::{Address, Alias, DeviceAcpi, DeviceBoot, InterfaceIp, Rom, Sgio, StartupPolicy, Teaming};
use crate::common::{Auth, HostdevDriver, Initiator, Route, ScsiAdapter};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Naa, OnOff, YesNo};
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A host device given to the guest: <https://libvirt.org/formatdomain.html#host-device-assignment>.
///
/// As a rule, a machine with one cannot be migrated while it runs.
#[derive(Clone, Default, Xml)]
#[xml(
    root = "hostdev",
    key = "type+source.address+source.vendor.id+source.product.id+source.adapter.name+source.name+source.block+source.char+source.interface"
)]
pub struct Hostdev {
    /// `Subsystem` for virtual machines, `Capabilities` for containers.
    pub mode: Option<HostdevMode>,
    /// `Subsystem`: `Pci`, `Usb`, `Scsi`, `ScsiHost`, `Mdev`. `Capabilities`: `Storage`, `Misc`, `Net`.
    pub r#type: Option<HostdevType>,
    /// `Pci` only. Yes: libvirt takes the device from its host driver and gives it back. No (default): someone has done
    /// so.
    pub managed: Option<YesNo>,
    /// `Mdev`: the interface of the device; needed. `ScsiHost`: the virtio model (since 5.2.0).
    pub model: Option<HostdevModel>,
    /// `Mdev` with `VfioPci`: the device draws the guest's screen; needs `graphics`. Default off. Since 4.6.0.
    pub display: Option<OnOff>,
    /// With `display`: a picture before the guest's driver is there. Since 5.10.0.
    pub ramfb: Option<OnOff>,
    /// `Scsi`: whether the host filters the guest's commands. Since 1.0.6.
    pub sgio: Option<Sgio>,
    /// `Scsi`: the hypervisor may send any command. Since 1.2.9.
    pub rawio: Option<YesNo>,
    /// `model` names the host's driver to use. Since 10.0.0.
    pub driver: Option<HostdevDriver>,
    /// Joins a network card with a virtio one, so that the guest can be migrated. Since 7.1.0.
    pub teaming: Option<Teaming>,
    /// Every host device needs it.
    pub source: Option<HostdevSource>,
    /// Containers with `Net`: addresses to set. Since 1.2.12.
    pub ip: Vec<InterfaceIp>,
    /// Containers with `Net`: routes to set. Since 1.2.12.
    pub route: Vec<Route>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    /// PCI since 0.8.8, USB since 1.0.1. Not together with `os.boot`.
    pub boot: Option<DeviceBoot>,
    /// PCI only.
    pub rom: Option<Rom>,
    /// In the guest. `source.address` is the one on the host.
    pub address: Option<Address>,
    /// `Scsi`: the guest cannot write. Since 1.0.6.
    pub readonly: bool,
    /// `Scsi`: several guests may use it. Since 1.0.6.
    pub shareable: bool,
    pub _extra: Extra,
}

/// Which host device is assigned: <https://libvirt.org/formatdomain.html#host-device-assignment>.
///
/// PCI: `address`. USB: `vendor` and `product`, or `address`. SCSI: `adapter` and `address`, or iSCSI by `protocol`,
/// `name` and `host`. Mediated: `address.uuid`.
#[derive(Clone, Default, Xml)]
pub struct HostdevSource {
    /// USB: what happens when the device is not there. Since 1.0.0.
    #[xml("startupPolicy")]
    pub startup_policy: Option<StartupPolicy>,
    /// Xen, PCI only: no lets the guest write the whole configuration space. Since 6.8.0.
    #[xml("writeFiltering")]
    pub write_filtering: Option<YesNo>,
    /// USB only: `Off` keeps devices alive whose firmware fails on a reset. Since 8.6.0.
    #[xml("guestReset")]
    pub guest_reset: Option<HostdevSourceGuestReset>,
    /// `Iscsi` for a SCSI unit (since 1.2.8), `Vhost` for a host adapter (since 2.5.0).
    pub protocol: Option<HostdevSourceProtocol>,
    /// iSCSI: the target and, after a slash, the LUN.
    pub name: Option<String>,
    /// `ScsiHost`: as made in the host's configfs.
    pub wwpn: Option<Naa>,
    pub adapter: Option<ScsiAdapter>,
    pub address: Option<HostdevAddress>,
    pub vendor: Option<DeviceId>,
    pub product: Option<DeviceId>,
    pub host: Vec<IscsiHost>,
    pub auth: Option<Auth>,
    /// iSCSI: the name the host logs in with. Since 6.7.0.
    pub initiator: Option<Initiator>,
    /// Containers: the absolute path of a block device.
    #[xml(el, form = "path")]
    pub block: Option<String>,
    /// Containers: the absolute path of a character device.
    #[xml(el, form = "path")]
    pub char: Option<String>,
    /// Containers: a network interface, which leaves the host.
    #[xml(el, form = "device")]
    pub interface: Option<String>,
    pub _extra: Extra,
}

/// A vendor or product id: <https://libvirt.org/formatdomain.html#host-device-assignment>.
#[derive(Clone, Default, Xml)]
pub struct DeviceId {
    #[xml(hex = 4)]
    pub id: Option<u16>,
    pub _extra: Extra,
}

/// Where the assigned device sits on the host: <https://libvirt.org/formatdomain.html#host-device-assignment>.
#[derive(Clone, Default, Xml)]
pub struct HostdevAddress {
    /// PCI.
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    /// PCI, USB, SCSI.
    #[xml(hex = 2, with = "domain")]
    pub bus: Option<u16>,
    /// PCI.
    #[xml(hex = 2, max = 31)]
    pub slot: Option<u8>,
    /// PCI.
    #[xml(hex = 1, max = 7)]
    pub function: Option<u8>,
    pub multifunction: Option<OnOff>,
    /// USB: the number on its bus, another one after it was unplugged.
    #[xml(hexable)]
    pub device: Option<u16>,
    /// SCSI.
    pub target: Option<u32>,
    /// SCSI: the LUN.
    pub unit: Option<u64>,
    /// Mediated devices.
    pub uuid: Option<Uuid>,
    pub _extra: Extra,
}

/// An iSCSI portal: <https://libvirt.org/formatdomain.html#host-device-assignment>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name+port")]
pub struct IscsiHost {
    pub name: Option<String>,
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    pub _extra: Extra,
}

closed! {
    /// What `mode` of [`Hostdev`] can be.
    pub enum HostdevMode {
        Subsystem = "subsystem", Capabilities = "capabilities",
    }
    /// What `type` of [`Hostdev`] can be.
    pub enum HostdevType {
        Pci = "pci", Usb = "usb", Scsi = "scsi", ScsiHost = "scsi_host", Mdev = "mdev", Storage = "storage",
        Misc = "misc", Net = "net",
    }
    /// What `model` of [`Hostdev`] can be.
    pub enum HostdevModel {
        Virtio = "virtio", VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional", VfioPci = "vfio-pci", VfioCcw = "vfio-ccw",
        VfioAp = "vfio-ap",
    }
    /// What `guestReset` of [`HostdevSource`] can be.
    pub enum HostdevSourceGuestReset {
        Off = "off", Uninitialized = "uninitialized", On = "on",
    }
    /// What `protocol` of [`HostdevSource`] can be.
    pub enum HostdevSourceProtocol {
        Adapter = "adapter", Iscsi = "iscsi", Vhost = "vhost",
    }
}
