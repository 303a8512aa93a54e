//! Host devices given to the guest.

use super::{Address, Alias, DeviceAcpi, DeviceBoot, InterfaceIp, Rom, Sgio, StartupPolicy, Teaming};
use crate::common::{Auth, HostdevDriver, Initiator, Route, ScsiAdapter};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Naa, OnOff, YesNo};
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A host device given to the guest: <https://libvirt.org/formatdomain.html#host-device-assignment>.
#[derive(Clone, Default, Xml)]
#[xml(root = "hostdev")]
pub struct Hostdev {
    pub mode: Option<HostdevMode>,
    pub r#type: Option<HostdevType>,
    pub managed: Option<YesNo>,
    pub model: Option<HostdevModel>,
    pub display: Option<OnOff>,
    pub ramfb: Option<OnOff>,
    pub sgio: Option<Sgio>,
    pub rawio: Option<YesNo>,
    pub driver: Option<HostdevDriver>,
    pub teaming: Option<Teaming>,
    pub source: Option<HostdevSource>,
    pub ip: Vec<InterfaceIp>,
    pub route: Vec<Route>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub boot: Option<DeviceBoot>,
    pub rom: Option<Rom>,
    pub address: Option<Address>,
    pub readonly: bool,
    pub shareable: bool,
    pub _extra: Extra,
}

/// Which host device is assigned.
#[derive(Clone, Default, Xml)]
pub struct HostdevSource {
    #[xml("startupPolicy")]
    pub startup_policy: Option<StartupPolicy>,
    #[xml("writeFiltering")]
    pub write_filtering: Option<YesNo>,
    #[xml("guestReset")]
    pub guest_reset: Option<HostdevSourceGuestReset>,
    pub protocol: Option<HostdevSourceProtocol>,
    pub name: Option<String>,
    pub wwpn: Option<Naa>,
    pub adapter: Option<ScsiAdapter>,
    pub address: Option<HostdevAddress>,
    pub vendor: Option<DeviceId>,
    pub product: Option<DeviceId>,
    pub host: Vec<IscsiHost>,
    pub auth: Option<Auth>,
    pub initiator: Option<Initiator>,
    #[xml(el)]
    pub block: Option<String>,
    #[xml(el)]
    pub char: Option<String>,
    #[xml(el)]
    pub interface: Option<String>,
    pub _extra: Extra,
}

/// A vendor or product id.
#[derive(Clone, Default, Xml)]
pub struct DeviceId {
    #[xml(hex = 4)]
    pub id: Option<u16>,
    pub _extra: Extra,
}

/// Where the assigned device sits on the host.
#[derive(Clone, Default, Xml)]
pub struct HostdevAddress {
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    #[xml(hex = 2, with = "domain")]
    pub bus: Option<u16>,
    #[xml(hex = 2, max = 31)]
    pub slot: Option<u8>,
    #[xml(hex = 1, max = 7)]
    pub function: Option<u8>,
    pub multifunction: Option<OnOff>,
    #[xml(hexable)]
    pub device: Option<u16>,
    pub target: Option<u32>,
    pub unit: Option<u64>,
    pub uuid: Option<Uuid>,
    pub _extra: Extra,
}

/// An iSCSI portal.
#[derive(Clone, Default, Xml)]
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
