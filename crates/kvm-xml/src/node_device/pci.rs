//! What PCI devices have beside their address.

use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::LinkSpeed;
use kvm_xml_derive::Xml;

/// The PCI address of a device of the host: <https://libvirt.org/formatnode.html#pci>.
///
/// Wider than [`PciAddress`](crate::common::PciAddress), as libvirt's schema for what it reports is wider than that for
/// what it is told.
#[derive(Clone, Default, Xml)]
pub struct NodeAddress {
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    #[xml(hex = 2)]
    pub bus: Option<u32>,
    #[xml(hex = 2)]
    pub slot: Option<u32>,
    #[xml(hex = 1)]
    pub function: Option<u32>,
    pub _extra: Extra,
}

/// The devices that can only be given away together: `/sys/kernel/iommu_groups/{number}`;
/// <https://libvirt.org/formatnode.html#pci>.
#[derive(Clone, Default, Xml)]
pub struct IommuGroup {
    pub number: Option<u32>,
    /// All devices of the group, this one included.
    pub address: Vec<NodeAddress>,
    pub _extra: Extra,
}

/// The NUMA node that a device is next to: <https://libvirt.org/formatnode.html#pci>.
#[derive(Clone, Default, Xml)]
pub struct NumaAffinity {
    /// The node of the host; -1 for none.
    pub node: Option<i32>,
    pub _extra: Extra,
}

/// The PCI Express side of a device: <https://libvirt.org/formatnode.html#pci>.
#[derive(Clone, Default, Xml)]
pub struct PciExpress {
    /// What the link could do, and what was negotiated.
    pub link: Vec<PciLink>,
    pub _extra: Extra,
}

/// A PCI Express link: <https://libvirt.org/formatnode.html#pci>.
#[derive(Clone, Default, Xml)]
pub struct PciLink {
    pub validity: Option<PciLinkValidity>,
    /// The port that the device is plugged into; not negotiated, so only with `cap`.
    pub port: Option<u32>,
    /// In gigatransfers per second: `2.5`.
    pub speed: Option<LinkSpeed>,
    /// The number of lanes.
    pub width: Option<u32>,
    pub _extra: Extra,
}

closed! {
    /// What `validity` of [`PciLink`] can be: what the device is capable of, or its present status.
    pub enum PciLinkValidity {
        Cap = "cap", Sta = "sta",
    }
}
