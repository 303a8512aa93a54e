//! Virtual networks.

use crate::common::{Bandwidth, HostdevDriver, MacAddress, Mtu, PortIsolation, Route, VirtualPort, Vlan};
use crate::domain::{IpFamily, IpProtocol, MacTableManager, QemuArg};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::metadata::Metadata;
use crate::value::{Duid, MacAddr, OnOff, YesNo};
use kvm_xml_derive::Xml;
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// A virtual network: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "network")]
pub struct Network {
    pub connections: Option<u32>,
    pub ipv6: Option<YesNo>,
    #[xml("trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub title: Option<String>,
    #[xml(el)]
    pub description: Option<String>,
    pub metadata: Option<Metadata>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub forward: Option<Forward>,
    pub bridge: Option<Bridge>,
    pub dns: Option<Dns>,
    pub vlan: Option<Vlan>,
    pub bandwidth: Option<Bandwidth>,
    pub mtu: Option<Mtu>,
    pub mac: Option<MacAddress>,
    pub domain: Option<NetworkDomain>,
    pub ip: Vec<NetworkIp>,
    pub route: Vec<Route>,
    pub virtualport: Option<VirtualPort>,
    pub portgroup: Vec<PortGroup>,
    pub port: Option<PortIsolation>,
    #[xml("options", ns = "dnsmasq")]
    pub dnsmasq_options: Option<DnsmasqOptions>,
    pub _extra: Extra,
}

/// The network's bridge on the host: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "bridge")]
pub struct Bridge {
    pub name: Option<String>,
    pub zone: Option<String>,
    pub stp: Option<OnOff>,
    pub delay: Option<u64>,
    #[xml("macTableManager")]
    pub mac_table_manager: Option<MacTableManager>,
    pub _extra: Extra,
}

/// How the network reaches the outside: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "forward")]
pub struct Forward {
    pub dev: Option<String>,
    pub mode: Option<ForwardMode>,
    pub managed: Option<YesNo>,
    pub nat: Option<Nat>,
    pub interface: Vec<ForwardInterface>,
    pub driver: Option<HostdevDriver>,
    pub pf: Option<ForwardPf>,
    pub address: Vec<ForwardAddress>,
    pub _extra: Extra,
}

/// A class of interfaces: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "portgroup", key = "name")]
pub struct PortGroup {
    pub name: Option<String>,
    pub default: Option<YesNo>,
    #[xml("trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    pub virtualport: Option<VirtualPort>,
    pub bandwidth: Option<Bandwidth>,
    pub vlan: Option<Vlan>,
    pub _extra: Extra,
}

/// The DNS domain of the network: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "domain")]
pub struct NetworkDomain {
    pub name: Option<String>,
    #[xml("localOnly")]
    pub local_only: Option<YesNo>,
    pub register: Option<YesNo>,
    pub _extra: Extra,
}

/// The network's name server: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct Dns {
    pub enable: Option<YesNo>,
    #[xml("forwardPlainNames")]
    pub forward_plain_names: Option<YesNo>,
    pub forwarder: Vec<DnsForwarder>,
    pub txt: Vec<DnsTxt>,
    pub host: Vec<DnsHost>,
    pub srv: Vec<DnsSrv>,
    pub _extra: Extra,
}

/// An address of the bridge, with the network's DHCP service: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "ip", key = "address")]
pub struct NetworkIp {
    pub family: Option<IpFamily>,
    pub address: Option<IpAddr>,
    pub netmask: Option<Ipv4Addr>,
    #[xml(max = 128)]
    pub prefix: Option<u32>,
    #[xml("localPtr")]
    pub local_ptr: Option<YesNo>,
    pub dhcp: Option<Dhcp>,
    pub tftp: Option<Tftp>,
    pub _extra: Extra,
}

/// Lines for dnsmasq's configuration file: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct DnsmasqOptions {
    #[xml(ns = "dnsmasq")]
    pub option: Vec<QemuArg>,
    pub _extra: Extra,
}

/// A host interface that traffic leaves by: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "interface", key = "dev")]
pub struct ForwardInterface {
    pub dev: Option<String>,
    pub connections: Option<u32>,
    pub _extra: Extra,
}

/// A host device that guests can get: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "domain+bus+slot+function")]
pub struct ForwardAddress {
    pub r#type: Option<ForwardAddressType>,
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    #[xml(hex = 2)]
    pub bus: Option<u8>,
    #[xml(hex = 2, max = 31)]
    pub slot: Option<u8>,
    #[xml(hex = 1, max = 7)]
    pub function: Option<u8>,
    pub multifunction: Option<OnOff>,
    pub connections: Option<u32>,
    pub _extra: Extra,
}

/// The physical function whose virtual functions guests get: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "pf")]
pub struct ForwardPf {
    pub dev: Option<String>,
    pub _extra: Extra,
}

/// Addresses and ports used for translation: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct Nat {
    pub ipv6: Option<YesNo>,
    pub address: Option<NatAddress>,
    pub port: Option<NatPort>,
    pub _extra: Extra,
}

/// Another name server to ask: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(key = "domain+addr")]
pub struct DnsForwarder {
    pub domain: Option<String>,
    pub addr: Option<IpAddr>,
    pub _extra: Extra,
}

/// A TXT record: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "txt", key = "name")]
pub struct DnsTxt {
    pub name: Option<String>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// An SRV record: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "srv", key = "service+protocol+domain+target")]
pub struct DnsSrv {
    pub service: Option<String>,
    pub protocol: Option<IpProtocol>,
    pub domain: Option<String>,
    pub target: Option<String>,
    pub port: Option<u16>,
    pub priority: Option<u16>,
    pub weight: Option<u16>,
    pub _extra: Extra,
}

/// Names of one address: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "host", key = "ip")]
pub struct DnsHost {
    pub ip: Option<IpAddr>,
    pub hostname: Vec<String>,
    pub _extra: Extra,
}

/// The directory of the TFTP server: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct Tftp {
    pub root: Option<String>,
    pub _extra: Extra,
}

/// The network's DHCP service: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct Dhcp {
    pub range: Vec<DhcpRange>,
    pub host: Vec<DhcpHost>,
    pub bootp: Option<Bootp>,
    pub _extra: Extra,
}

/// A range of addresses: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct NatAddress {
    pub start: Option<Ipv4Addr>,
    pub end: Option<Ipv4Addr>,
    pub _extra: Extra,
}

/// A range of ports: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct NatPort {
    #[xml(min = 1)]
    pub start: Option<u16>,
    #[xml(min = 1)]
    pub end: Option<u16>,
    pub _extra: Extra,
}

/// Addresses given out by DHCP: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "range", key = "start")]
pub struct DhcpRange {
    pub start: Option<IpAddr>,
    pub end: Option<IpAddr>,
    pub lease: Option<DhcpLease>,
    pub _extra: Extra,
}

/// The fixed address of one host: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "host", key = "mac|id|name")]
pub struct DhcpHost {
    pub mac: Option<MacAddr>,
    pub id: Option<Duid>,
    pub name: Option<String>,
    pub ip: Option<IpAddr>,
    pub lease: Option<DhcpLease>,
    pub _extra: Extra,
}

/// What to boot over the network: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct Bootp {
    pub file: Option<String>,
    pub server: Option<String>,
    pub _extra: Extra,
}

/// How long an address may be kept: <https://libvirt.org/formatnetwork.html>.
#[derive(Clone, Default, Xml)]
pub struct DhcpLease {
    pub expiry: Option<u64>,
    pub unit: Option<DhcpLeaseUnit>,
    pub _extra: Extra,
}

closed! {
    /// What `mode` of [`Forward`] can be.
    pub enum ForwardMode {
        Nat = "nat", Route = "route", Open = "open", Bridge = "bridge", Passthrough = "passthrough",
        Private = "private", Vepa = "vepa", Hostdev = "hostdev",
    }
    /// What `type` of [`ForwardAddress`] can be.
    pub enum ForwardAddressType {
        Pci = "pci",
    }
    /// What `unit` of [`DhcpLease`] can be.
    pub enum DhcpLeaseUnit {
        Seconds = "seconds", Minutes = "minutes", Hours = "hours",
    }
}
