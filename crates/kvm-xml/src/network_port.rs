//! Ports of virtual networks: where guests' network cards are plugged in.

use crate::common::{Bandwidth, HostdevDriver, MacAddress, PciAddress, PortIsolation, VirtualPort, Vlan};
use crate::domain::MacTableManager;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::YesNo;
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// The connection of one network card to a virtual network, since 5.5.0: <https://libvirt.org/formatnetworkport.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "networkport")]
pub struct NetworkPort {
    /// Chosen at random if there is none.
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub owner: Option<PortOwner>,
    /// The port group of the network.
    #[xml(el)]
    pub group: Option<String>,
    /// What the guest sees. Must not start with `fe`, which is for the host's side.
    pub mac: Option<MacAddress>,
    pub virtualport: Option<VirtualPort>,
    pub bandwidth: Option<Bandwidth>,
    pub vlan: Option<Vlan>,
    pub rxfilters: Option<RxFilters>,
    /// Since 6.1.0.
    pub port: Option<PortIsolation>,
    pub plug: Option<Plug>,
    pub _extra: Extra,
}

/// The domain that a port belongs to: <https://libvirt.org/formatnetworkport.html#general-metadata>.
#[derive(Clone, Default, Xml)]
pub struct PortOwner {
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub _extra: Extra,
}

/// Whether the guest may change its MAC address and its filters:
/// <https://libvirt.org/formatnetworkport.html#common-elements>.
#[derive(Clone, Default, Xml)]
pub struct RxFilters {
    /// `no` unless said otherwise.
    #[xml("trustGuest")]
    pub trust_guest: Option<YesNo>,
    pub _extra: Extra,
}

/// What a port is plugged into; `type` says which fields count: <https://libvirt.org/formatnetworkport.html#plugs>.
#[derive(Clone, Default, Xml)]
pub struct Plug {
    pub r#type: Option<PlugType>,
    /// The host's bridge, for `network` and `bridge`.
    pub bridge: Option<String>,
    #[xml("macTableManager")]
    pub mac_table_manager: Option<MacTableManager>,
    /// The host's interface, for `direct`.
    pub dev: Option<String>,
    pub mode: Option<PlugMode>,
    /// Whether libvirt takes a `hostdev-pci` device from its driver, and gives it back.
    pub managed: Option<YesNo>,
    pub driver: Option<HostdevDriver>,
    pub address: Option<PciAddress>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Plug`] can be: libvirt's own bridge, another bridge, an interface of the host, a PCI device.
    pub enum PlugType {
        Network = "network", Bridge = "bridge", Direct = "direct", HostdevPci = "hostdev-pci",
    }
    /// What `mode` of [`Plug`] can be.
    pub enum PlugMode {
        Bridge = "bridge", Passthrough = "passthrough", Private = "private", Vepa = "vepa",
    }
}
