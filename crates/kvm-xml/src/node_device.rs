//! Devices of the host: what they are, what they can do, and which of them guests may get.

mod nested;
mod pci;

pub use nested::*;
pub use pci::*;

use crate::common::NetLink;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{MacAddr, NetFeature, NumberOrName, Wwn};
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A device of the host: <https://libvirt.org/formatnode.html>.
///
/// Devices form a tree whose root is called `computer`; [`parent`](Self::parent) names the next one towards it. A
/// document for creating a device (a mediated device, a virtual Fibre Channel port) has only `parent` and one
/// `capability`.
#[derive(Clone, Default, Xml)]
#[xml(root = "device")]
pub struct NodeDevice {
    /// `pci_0000_00_02_1`, `net_eth1_00_27_13_6a_fe_00`. Read only: chosen by the host.
    #[xml(el)]
    pub name: Option<String>,
    /// Its place in sysfs. Read only.
    #[xml(el)]
    pub path: Option<String>,
    pub devnode: Vec<Devnode>,
    pub parent: Option<NodeParent>,
    /// The kernel driver in use.
    pub driver: Option<NodeDriver>,
    /// What the device is; mostly one.
    pub capability: Vec<Capability>,
    pub _extra: Extra,
}

/// A special file of the device in `/dev`: <https://libvirt.org/formatnode.html#node-device-xml>.
#[derive(Clone, Default, Xml)]
pub struct Devnode {
    pub r#type: Option<DevnodeType>,
    /// The path.
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// The device above this one, by name or, for a Fibre Channel adapter, by world wide names:
/// <https://libvirt.org/formatnode.html#node-device-xml>.
#[derive(Clone, Default, Xml)]
pub struct NodeParent {
    /// Name of the node; goes with `wwpn`.
    pub wwnn: Option<Wwn>,
    /// Name of the port; goes with `wwnn`.
    pub wwpn: Option<Wwn>,
    /// Name of the fabric, in place of the other two.
    pub fabric_wwn: Option<Wwn>,
    /// The parent's name.
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// The kernel driver that serves a device: <https://libvirt.org/formatnode.html#node-device-xml>.
#[derive(Clone, Default, Xml)]
pub struct NodeDriver {
    #[xml(el)]
    pub name: Option<String>,
    pub _extra: Extra,
}

/// What a device is: <https://libvirt.org/formatnode.html#capability-types>.
///
/// One struct for all types, as in the XML, where `type` says which of the elements there can be:
///
/// | type | elements |
/// |---|---|
/// | `system` | `product`, `hardware`, `firmware` |
/// | `pci` | `class`, `domain`, `bus`, `slot`, `function`, `product`, `vendor`, `capability`, `iommuGroup`, `numa`, `pci-express` |
/// | `usb_device` | `bus`, `device`, `product`, `vendor` |
/// | `usb` | `number`, `class`, `subclass`, `protocol`, `description` |
/// | `net` | `interface`, `address`, `link`, `feature`, `capability` |
/// | `scsi_host` | `host`, `unique_id`, `capability` |
/// | `scsi_target` | `target`, `capability` |
/// | `scsi` | `host`, `bus`, `target`, `lun`, `type` |
/// | `scsi_generic` | `char` |
/// | `storage` | `block`, `bus`, `drive_type`, `model`, `vendor`, `serial`, `size`, `logical_block_size`, `num_blocks`, `capability` |
/// | `drm` | `type` |
/// | `mdev` (since 3.4.0) | `type`, `uuid`, `parent_addr`, `iommuGroup`, `attr` |
/// | `ccw` | `state`, `cssid`, `ssid`, `devno`, `capability` |
/// | `ccwgroup` (since 11.1.0) | `state`, `cssid`, `ssid`, `devno`, `members`, `capability` |
/// | `css` (since 6.9.0) | `cssid`, `ssid`, `devno`, `channel_dev_addr`, `capability` |
/// | `vdpa` (since 6.9.0) | `chardev` |
/// | `ap_card` (since 7.0.0) | `ap-adapter` |
/// | `ap_queue` (since 7.0.0) | `ap-adapter`, `ap-domain` |
/// | `ap_matrix` (since 7.0.0) | `capability` |
#[derive(Clone, Default, Xml)]
pub struct Capability {
    pub r#type: Option<CapabilityType>,
    /// The number of a USB interface.
    #[xml(el)]
    pub number: Option<u64>,
    /// PCI: class, subclass and programming interface in six hexadecimal digits (since 5.2.0). USB: the class.
    #[xml(el, hex = 6, with = "domain")]
    pub class: Option<u64>,
    #[xml(el)]
    pub subclass: Option<u64>,
    #[xml(el)]
    pub protocol: Option<u64>,
    #[xml(el)]
    pub description: Option<String>,
    /// The name of a network interface.
    #[xml(el)]
    pub interface: Option<String>,
    #[xml(el)]
    pub address: Option<MacAddr>,
    pub link: Option<NetLink>,
    pub feature: Vec<NetDeviceFeature>,
    #[xml(el)]
    pub state: Option<CcwState>,
    /// The channel subsystem.
    #[xml(el, hex = 1, max = 254)]
    pub cssid: Option<u8>,
    /// The set of subchannels.
    #[xml(el, hex = 1, max = 3)]
    pub ssid: Option<u8>,
    /// The device, or the subchannel of a `css` device.
    #[xml(el, hex = 4)]
    pub devno: Option<u16>,
    /// The channel device behind a subchannel.
    pub channel_dev_addr: Option<CcwAddress>,
    pub members: Option<CcwMembers>,
    /// The path of a vDPA device's character device.
    #[xml(el)]
    pub chardev: Option<String>,
    /// The path of a SCSI device's character device, `/dev/sg0`.
    #[xml(el)]
    pub char: Option<String>,
    #[xml("ap-adapter", el, hex = 2)]
    pub ap_adapter: Option<u8>,
    #[xml("ap-domain", el, hex = 4)]
    pub ap_domain: Option<u16>,
    /// The path of a block device.
    #[xml(el)]
    pub block: Option<String>,
    /// The number of a SCSI host.
    #[xml(el)]
    pub host: Option<u64>,
    /// What the kernel calls a SCSI host beside its number (since 1.2.7).
    #[xml(el)]
    pub unique_id: Option<u32>,
    #[xml(el)]
    pub domain: Option<u64>,
    /// A number, or the kind of bus of a storage device: `ata`, `usb`.
    #[xml(el)]
    pub bus: Option<NumberOrName>,
    #[xml(el)]
    pub slot: Option<u64>,
    #[xml(el)]
    pub function: Option<u64>,
    /// A number, or the name of a `scsi_target`: `target0:0:0`.
    #[xml(el)]
    pub target: Option<NumberOrName>,
    #[xml(el)]
    pub lun: Option<u64>,
    /// The number of a USB device on its bus.
    #[xml(el)]
    pub device: Option<u64>,
    /// `disk`, `cdrom` and the like.
    #[xml(el)]
    pub drive_type: Option<String>,
    #[xml(el)]
    pub model: Option<String>,
    pub product: Option<Identity>,
    pub vendor: Option<Identity>,
    #[xml(el)]
    pub serial: Option<String>,
    pub hardware: Option<Hardware>,
    pub firmware: Option<Firmware>,
    /// In bytes; of a medium that cannot be removed.
    #[xml(el)]
    pub size: Option<u64>,
    /// In bytes.
    #[xml(el)]
    pub logical_block_size: Option<u64>,
    #[xml(el)]
    pub num_blocks: Option<u64>,
    #[xml("type")]
    pub type_el: Option<DeviceType>,
    /// The uuid of a mediated device.
    #[xml(el)]
    pub uuid: Option<Uuid>,
    /// The address of the device that a mediated device was made from: `0000:00:02.0`.
    #[xml(el)]
    pub parent_addr: Option<String>,
    pub capability: Vec<NestedCapability>,
    #[xml("iommuGroup")]
    pub iommu_group: Option<IommuGroup>,
    /// Settings of a mediated device, written in this order.
    pub attr: Vec<MdevAttr>,
    pub numa: Option<NumaAffinity>,
    #[xml("pci-express")]
    pub pci_express: Option<PciExpress>,
    pub _extra: Extra,
}

/// What a `type` element says: the kind of a SCSI device (text), the kind of a DRM node (text: `primary`, `control` or
/// `render`), or the type of a mediated device (`id`).
#[derive(Clone, Default, Xml)]
pub struct DeviceType {
    /// As the vendor calls it: `i915-GVTg_V5_4`.
    pub id: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A vendor or a product, with its number where it has one: <https://libvirt.org/formatnode.html#pci>.
#[derive(Clone, Default, Xml)]
pub struct Identity {
    #[xml(base16 = 4)]
    pub id: Option<u32>,
    /// The name.
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// The hardware of the host: <https://libvirt.org/formatnode.html#system>.
#[derive(Clone, Default, Xml)]
pub struct Hardware {
    #[xml(el)]
    pub vendor: Option<String>,
    #[xml(el)]
    pub version: Option<String>,
    #[xml(el)]
    pub serial: Option<String>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub _extra: Extra,
}

/// The firmware of the host: <https://libvirt.org/formatnode.html#system>.
#[derive(Clone, Default, Xml)]
pub struct Firmware {
    #[xml(el)]
    pub vendor: Option<String>,
    #[xml(el)]
    pub version: Option<String>,
    #[xml(el)]
    pub release_date: Option<String>,
    pub _extra: Extra,
}

/// Work that a network device takes off the CPU: `tso`, `rxvlan`, `rdma`; <https://libvirt.org/formatnode.html#net>.
#[derive(Clone, Default, Xml)]
pub struct NetDeviceFeature {
    pub name: Option<NetFeature>,
    pub _extra: Extra,
}

/// A setting of a mediated device (since 6.5.0): <https://libvirt.org/formatnode.html#mdev>.
#[derive(Clone, Default, Xml)]
pub struct MdevAttr {
    pub name: Option<String>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A device in the channel subsystem of s390: <https://libvirt.org/formatnode.html#css>.
#[derive(Clone, Default, Xml)]
pub struct CcwAddress {
    #[xml(el, hex = 1, max = 254)]
    pub cssid: Option<u8>,
    #[xml(el, hex = 1, max = 3)]
    pub ssid: Option<u8>,
    #[xml(el, hex = 4)]
    pub devno: Option<u16>,
    pub _extra: Extra,
}

/// The devices that make up a CCW group.
#[derive(Clone, Default, Xml)]
pub struct CcwMembers {
    pub ccw_device: Vec<CcwMember>,
    pub _extra: Extra,
}

/// A device of a CCW group: its part in it, and its name.
#[derive(Clone, Default, Xml)]
pub struct CcwMember {
    pub r#ref: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Devnode`] can be: the file itself, or a symbolic link to it.
    pub enum DevnodeType {
        Dev = "dev", Link = "link",
    }
    /// What `type` of [`Capability`] can be.
    pub enum CapabilityType {
        System = "system", Pci = "pci", UsbDevice = "usb_device", Usb = "usb", Net = "net", ScsiHost = "scsi_host",
        ScsiTarget = "scsi_target", Scsi = "scsi", ScsiGeneric = "scsi_generic", Storage = "storage", Drm = "drm",
        Mdev = "mdev", Ccw = "ccw", Ccwgroup = "ccwgroup", Css = "css", Vdpa = "vdpa", ApCard = "ap_card",
        ApQueue = "ap_queue", ApMatrix = "ap_matrix",
    }
    /// What `state` of [`Capability`] can be.
    pub enum CcwState {
        Online = "online", Offline = "offline",
    }
}
