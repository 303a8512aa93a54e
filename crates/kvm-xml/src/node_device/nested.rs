//! Capabilities inside of capabilities.

use super::NodeAddress;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{VpdIndex, Wwn};
use kvm_xml_derive::Xml;

/// What a device can do beside what it is: <https://libvirt.org/formatnode.html#capability-types>.
///
/// One struct for all types, as in the XML, where `type` says which of the elements there can be:
///
/// | of | type | holds |
/// |---|---|---|
/// | `pci` | `phys_function` | `address` of the physical function that the device is a virtual function of |
/// | | `virt_functions` | `maxCount` (since 1.3.0), an `address` for each virtual function |
/// | | `pci-bridge`, `cardbus-bridge` (since 1.3.3) | nothing |
/// | | `vpd` (since 7.9.0) | `name`, `fields` |
/// | `pci`, `css`, `ap_matrix` | `mdev_types` (since 3.4.0) | `type` |
/// | `net` | `80203`, `80211` | nothing |
/// | `scsi_host` | `fc_host` | `wwnn`, `wwpn`, `fabric_wwn` |
/// | | `vport_ops` | `max_vports`, `vports` |
/// | `scsi_target` | `fc_remote_port` | `rport`, `wwpn` |
/// | `storage` | `removable` | `media_available`, `media_size`, `media_label`, `logical_block_size`, `num_blocks` |
/// | | `hotpluggable` | nothing |
/// | `ccw` | `ccwgroup_member` | `group_device` |
/// | `ccwgroup` | `qeth_generic`, `qeth_layer2`, `qeth_layer3` | `card_type`, `chpid` |
#[derive(Clone, Default, Xml)]
pub struct NestedCapability {
    pub r#type: Option<NestedCapabilityType>,
    /// How many virtual functions there can be.
    #[xml("maxCount")]
    pub max_count: Option<u32>,
    pub address: Vec<NodeAddress>,
    /// Kinds of mediated devices that can be made.
    #[xml("type")]
    pub type_el: Vec<MdevType>,
    /// The device's name, from its vital product data.
    #[xml(el)]
    pub name: Option<String>,
    pub fields: Vec<VpdFields>,
    #[xml(el)]
    pub rport: Option<String>,
    #[xml(el)]
    pub wwnn: Option<Wwn>,
    #[xml(el)]
    pub wwpn: Option<Wwn>,
    #[xml(el)]
    pub fabric_wwn: Option<Wwn>,
    /// How many virtual ports there can be.
    #[xml(el)]
    pub max_vports: Option<u32>,
    /// How many virtual ports there are.
    #[xml(el)]
    pub vports: Option<u32>,
    /// Whether there is a medium: 1 or 0.
    #[xml(el, max = 1)]
    pub media_available: Option<u8>,
    /// In bytes.
    #[xml(el)]
    pub media_size: Option<u64>,
    #[xml(el)]
    pub media_label: Option<String>,
    /// In bytes.
    #[xml(el)]
    pub logical_block_size: Option<u64>,
    #[xml(el)]
    pub num_blocks: Option<u64>,
    /// The name of the group that the device belongs to.
    #[xml(el)]
    pub group_device: Option<String>,
    #[xml(el)]
    pub card_type: Option<String>,
    /// The channel path.
    #[xml(el)]
    pub chpid: Option<String>,
    pub _extra: Extra,
}

/// A kind of mediated device: <https://libvirt.org/formatnode.html#mdev-types-capability>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct MdevType {
    /// As the vendor calls it: `i915-GVTg_V5_4`.
    pub id: Option<String>,
    #[xml(el)]
    pub name: Option<String>,
    #[xml("deviceAPI", el)]
    pub device_api: Option<MdevApi>,
    /// How many more can be made.
    #[xml("availableInstances", el)]
    pub available_instances: Option<u32>,
    pub _extra: Extra,
}

/// Vital product data of a PCI device: <https://libvirt.org/formatnode.html#vpd-capability>.
///
/// Each text has at most 255 characters.
#[derive(Clone, Default, Xml)]
#[xml(key = "access")]
pub struct VpdFields {
    pub access: Option<VpdAccess>,
    #[xml(el)]
    pub change_level: Option<String>,
    #[xml(el)]
    pub manufacture_id: Option<String>,
    #[xml(el)]
    pub part_number: Option<String>,
    #[xml(el)]
    pub serial_number: Option<String>,
    /// Only in writable fields.
    #[xml(el)]
    pub asset_tag: Option<String>,
    pub vendor_field: Vec<VpdField>,
    /// Only in writable fields.
    pub system_field: Vec<VpdField>,
    pub _extra: Extra,
}

/// A numbered field of vital product data.
#[derive(Clone, Default, Xml)]
#[xml(key = "index")]
pub struct VpdField {
    pub index: Option<VpdIndex>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`NestedCapability`] can be.
    pub enum NestedCapabilityType {
        PhysFunction = "phys_function", VirtFunctions = "virt_functions", PciBridge = "pci-bridge",
        CardbusBridge = "cardbus-bridge", MdevTypes = "mdev_types", Vpd = "vpd", Ethernet = "80203", Wireless = "80211",
        FcHost = "fc_host", VportOps = "vport_ops", FcRemotePort = "fc_remote_port", Hotpluggable = "hotpluggable",
        Removable = "removable", QethGeneric = "qeth_generic", QethLayer2 = "qeth_layer2", QethLayer3 = "qeth_layer3",
        CcwgroupMember = "ccwgroup_member",
    }
    /// What `deviceAPI` of [`MdevType`] can be: how the guest sees the device.
    pub enum MdevApi {
        VfioPci = "vfio-pci", VfioCcw = "vfio-ccw", VfioAp = "vfio-ap",
    }
    /// What `access` of [`VpdFields`] can be.
    pub enum VpdAccess {
        Readonly = "readonly", Readwrite = "readwrite",
    }
}
