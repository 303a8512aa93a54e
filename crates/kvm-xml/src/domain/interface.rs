//! Network interfaces.

use super::{Address, Alias, BackendDomain, DeviceAcpi, DeviceBoot, DeviceId, Rom};
use crate::common::{Bandwidth, FilterRef, Max, Mtu, PathElement, PortIsolation, Reconnect, Route, VirtualPort, Vlan};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{MacAddr, OnOff, PortId, YesNo};
use kvm_xml_derive::Xml;
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// A network interface: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
#[xml(root = "interface", key = "mac.address")]
pub struct Interface {
    pub r#type: Option<InterfaceType>,
    pub managed: Option<YesNo>,
    #[xml("trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    pub mac: Option<InterfaceMac>,
    pub link: Option<LinkState>,
    pub source: Option<InterfaceSource>,
    pub virtualport: Option<VirtualPort>,
    pub mtu: Option<Mtu>,
    pub coalesce: Option<Coalesce>,
    pub target: Option<InterfaceTarget>,
    pub guest: Option<InterfaceGuest>,
    pub ip: Vec<InterfaceIp>,
    pub route: Vec<Route>,
    #[xml("portForward")]
    pub port_forward: Vec<PortForward>,
    pub script: Option<PathElement>,
    pub downscript: Option<PathElement>,
    pub backenddomain: Option<BackendDomain>,
    pub model: Option<InterfaceModel>,
    pub bandwidth: Option<Bandwidth>,
    pub filterref: Option<FilterRef>,
    pub boot: Option<DeviceBoot>,
    pub backend: Option<InterfaceBackend>,
    pub driver: Option<InterfaceDriver>,
    pub alias: Option<Alias>,
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub tune: Option<InterfaceTune>,
    pub rom: Option<Rom>,
    pub vlan: Option<Vlan>,
    pub port: Option<PortIsolation>,
    pub teaming: Option<Teaming>,
    pub _extra: Extra,
}

/// What an interface is connected to; which fields count is decided by the interface's `type`.
#[derive(Clone, Default, Xml)]
pub struct InterfaceSource {
    pub dev: Option<String>,
    pub bridge: Option<String>,
    #[xml("macTableManager")]
    pub mac_table_manager: Option<MacTableManager>,
    pub network: Option<String>,
    pub portgroup: Option<String>,
    pub portid: Option<PortId>,
    pub r#type: Option<UnixSocket>,
    pub mode: Option<InterfaceSourceMode>,
    pub path: Option<String>,
    pub name: Option<String>,
    pub address: Option<Ipv4Addr>,
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    pub missing: Option<YesNo>,
    pub switchid: Option<Uuid>,
    pub portgroupid: Option<String>,
    pub connectionid: Option<i64>,
    pub ip: Vec<InterfaceIp>,
    pub route: Vec<Route>,
    pub reconnect: Option<Reconnect>,
    pub local: Option<InterfaceLocal>,
    pub vendor: Option<DeviceId>,
    pub product: Option<DeviceId>,
    #[xml("address")]
    pub address_el: Option<InterfaceSourceAddress>,
    pub _extra: Extra,
}

/// Whether the cable is plugged in.
#[derive(Clone, Default, Xml)]
pub struct LinkState {
    pub state: Option<Link>,
    pub _extra: Extra,
}

/// How received packets are gathered.
#[derive(Clone, Default, Xml)]
pub struct Coalesce {
    pub rx: Option<CoalesceRx>,
    pub _extra: Extra,
}

/// The interface's device on the host.
#[derive(Clone, Default, Xml)]
pub struct InterfaceTarget {
    pub dev: Option<String>,
    pub managed: Option<YesNo>,
    pub _extra: Extra,
}

/// The interface's name inside a container.
#[derive(Clone, Default, Xml)]
pub struct InterfaceGuest {
    pub dev: Option<String>,
    pub actual: Option<String>,
    pub _extra: Extra,
}

/// The MAC address of an interface.
#[derive(Clone, Default, Xml)]
pub struct InterfaceMac {
    pub address: Option<MacAddr>,
    pub r#type: Option<MacType>,
    pub check: Option<YesNo>,
    #[xml("currentAddress")]
    pub current_address: Option<MacAddr>,
    pub _extra: Extra,
}

/// An IP address of an interface.
#[derive(Clone, Default, Xml)]
pub struct InterfaceIp {
    pub address: Option<IpAddr>,
    pub family: Option<IpFamily>,
    #[xml(max = 128)]
    pub prefix: Option<u32>,
    pub peer: Option<IpAddr>,
    pub _extra: Extra,
}

/// Host ports that passt forwards to the guest.
#[derive(Clone, Default, Xml)]
pub struct PortForward {
    pub proto: Option<IpProtocol>,
    pub address: Option<IpAddr>,
    pub dev: Option<String>,
    pub range: Vec<PortRange>,
    pub _extra: Extra,
}

/// The network card that the guest sees.
#[derive(Clone, Default, Xml)]
pub struct InterfaceModel {
    pub r#type: Option<String>,
    pub _extra: Extra,
}

/// Who moves the packets on the host.
#[derive(Clone, Default, Xml)]
pub struct InterfaceBackend {
    pub r#type: Option<InterfaceBackendType>,
    pub tap: Option<String>,
    pub vhost: Option<String>,
    #[xml("logFile")]
    pub log_file: Option<String>,
    pub _extra: Extra,
}

/// How the hypervisor handles an interface.
#[derive(Clone, Default, Xml)]
pub struct InterfaceDriver {
    pub name: Option<InterfaceDriverName>,
    pub model: Option<String>,
    #[xml(min = 1)]
    pub queues: Option<u32>,
    #[xml(min = 1)]
    pub rx_queue_size: Option<u32>,
    #[xml(min = 1)]
    pub tx_queue_size: Option<u32>,
    pub txmode: Option<InterfaceDriverTxmode>,
    pub ioeventfd: Option<OnOff>,
    pub event_idx: Option<OnOff>,
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    pub rss: Option<OnOff>,
    pub rss_hash_report: Option<OnOff>,
    pub host: Option<OffloadsHost>,
    pub guest: Option<OffloadsGuest>,
    pub _extra: Extra,
}

/// The send buffer of an interface, in bytes.
#[derive(Clone, Default, Xml)]
pub struct InterfaceTune {
    #[xml(el)]
    pub sndbuf: Option<u32>,
    pub _extra: Extra,
}

/// Pairs a virtio interface with an assigned device.
#[derive(Clone, Default, Xml)]
pub struct Teaming {
    pub r#type: Option<TeamingType>,
    pub persistent: Option<String>,
    pub _extra: Extra,
}

/// The local end of a UDP tunnel.
#[derive(Clone, Default, Xml)]
pub struct InterfaceLocal {
    pub address: Option<Ipv4Addr>,
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    pub _extra: Extra,
}

/// The host device behind an interface.
#[derive(Clone, Default, Xml)]
pub struct InterfaceSourceAddress {
    pub r#type: Option<InterfaceSourceAddressType>,
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    #[xml(hex = 2, with = "domain")]
    pub bus: Option<u16>,
    #[xml(hexable)]
    pub device: Option<u16>,
    #[xml(hex = 2, max = 31)]
    pub slot: Option<u8>,
    #[xml(hex = 1, max = 7)]
    pub function: Option<u8>,
    pub multifunction: Option<OnOff>,
    pub _extra: Extra,
}

/// How received packets are gathered.
#[derive(Clone, Default, Xml)]
pub struct CoalesceRx {
    pub frames: Option<Max>,
    pub _extra: Extra,
}

/// A range of forwarded ports.
#[derive(Clone, Default, Xml)]
pub struct PortRange {
    #[xml(min = -1, max = 65535)]
    pub start: Option<i32>,
    #[xml(min = -1, max = 65535)]
    pub end: Option<i32>,
    #[xml(min = -1, max = 65535)]
    pub to: Option<i32>,
    pub exclude: Option<YesNo>,
    pub _extra: Extra,
}

/// Offloads on the host's side.
#[derive(Clone, Default, Xml)]
pub struct OffloadsHost {
    pub csum: Option<OnOff>,
    pub gso: Option<OnOff>,
    pub tso4: Option<OnOff>,
    pub tso6: Option<OnOff>,
    pub ecn: Option<OnOff>,
    pub ufo: Option<OnOff>,
    pub mrg_rxbuf: Option<OnOff>,
    pub _extra: Extra,
}

/// Offloads on the guest's side.
#[derive(Clone, Default, Xml)]
pub struct OffloadsGuest {
    pub csum: Option<OnOff>,
    pub tso4: Option<OnOff>,
    pub tso6: Option<OnOff>,
    pub ecn: Option<OnOff>,
    pub ufo: Option<OnOff>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Interface`] can be.
    pub enum InterfaceType {
        Bridge = "bridge", Ethernet = "ethernet", Vhostuser = "vhostuser", Network = "network", Direct = "direct",
        User = "user", Internal = "internal", Mcast = "mcast", Client = "client", Udp = "udp", Server = "server",
        Hostdev = "hostdev", Vdpa = "vdpa", Null = "null", Vds = "vds",
    }
    /// What `macTableManager` of [`InterfaceSource`] and [`Bridge`](crate::network::Bridge) can be.
    pub enum MacTableManager {
        Kernel = "kernel", Libvirt = "libvirt",
    }
    /// What `type` of [`InterfaceSource`] and [`ReservationsSource`](crate::domain::ReservationsSource) can be.
    pub enum UnixSocket {
        Unix = "unix",
    }
    /// What `mode` of [`InterfaceSource`] can be.
    pub enum InterfaceSourceMode {
        Vepa = "vepa", Bridge = "bridge", Private = "private", Passthrough = "passthrough", Server = "server",
        Client = "client",
    }
    /// What `state` of [`LinkState`] can be.
    pub enum Link {
        Up = "up", Down = "down",
    }
    /// What `type` of [`InterfaceMac`] can be.
    pub enum MacType {
        Generated = "generated", Static = "static",
    }
    /// What `family` of [`InterfaceIp`], [`Route`](crate::common::Route) and [`NetworkIp`](crate::network::NetworkIp) can be.
    pub enum IpFamily {
        Ipv4 = "ipv4", Ipv6 = "ipv6",
    }
    /// What `proto` of [`PortForward`]; `protocol` of [`DnsSrv`](crate::network::DnsSrv) can be.
    pub enum IpProtocol {
        Tcp = "tcp", Udp = "udp",
    }
    /// What `type` of [`InterfaceBackend`] can be.
    pub enum InterfaceBackendType {
        Default = "default", Passt = "passt",
    }
    /// What `name` of [`InterfaceDriver`] can be.
    pub enum InterfaceDriverName {
        Kvm = "kvm", Vfio = "vfio", Xen = "xen", Qemu = "qemu", Vhost = "vhost",
    }
    /// What `txmode` of [`InterfaceDriver`] can be.
    pub enum InterfaceDriverTxmode {
        Iothread = "iothread", Timer = "timer",
    }
    /// What `type` of [`Teaming`] can be.
    pub enum TeamingType {
        Persistent = "persistent", Transient = "transient",
    }
    /// What `type` of [`InterfaceSourceAddress`] can be.
    pub enum InterfaceSourceAddressType {
        Pci = "pci", Usb = "usb",
    }
}
