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
    /// How many guest interfaces are plugged in. Read only, since 0.10.0.
    pub connections: Option<u32>,
    /// Whether guests may talk IPv6 to each other where the network has no IPv6 address. Since 1.0.1.
    pub ipv6: Option<YesNo>,
    /// For all interfaces that do not say otherwise. Since 1.2.10.
    #[xml("trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    /// Unique on its host; part of a file's name.
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el, form = "line")]
    pub title: Option<String>,
    #[xml(el)]
    pub description: Option<String>,
    /// Since 2.1.0.
    pub metadata: Option<Metadata>,
    /// Chosen at random if there is none.
    #[xml(el)]
    pub uuid: Option<Uuid>,
    /// How guests reach the outside; without it they do not.
    pub forward: Option<Forward>,
    pub bridge: Option<Bridge>,
    /// Since 0.9.3.
    pub dns: Option<Dns>,
    /// For Open vSwitch and virtual functions. Since 0.10.0.
    pub vlan: Option<Vlan>,
    /// Of all guests together. Since 0.9.4.
    pub bandwidth: Option<Bandwidth>,
    /// Of the bridge and the guests' taps. Since 3.1.0.
    pub mtu: Option<Mtu>,
    /// Of the bridge; chosen by libvirt if there is none. Since 0.8.8.
    pub mac: Option<MacAddress>,
    pub domain: Option<NetworkDomain>,
    /// Of the bridge.
    pub ip: Vec<NetworkIp>,
    /// Set on the host. Since 1.0.6.
    pub route: Vec<Route>,
    pub virtualport: Option<VirtualPort>,
    pub portgroup: Vec<PortGroup>,
    /// Since 6.1.0.
    pub port: Option<PortIsolation>,
    /// Without guarantee from libvirt, since 5.6.0.
    #[xml("options", ns = "dnsmasq")]
    pub dnsmasq_options: Option<DnsmasqOptions>,
    pub _extra: Extra,
}

/// The network's bridge on the host: <https://libvirt.org/formatnetwork.html#connectivity>.
#[derive(Clone, Default, Xml)]
#[xml(root = "bridge")]
pub struct Bridge {
    /// Made up from `virbr` and a number if there is none.
    #[xml(form = "device")]
    pub name: Option<String>,
    /// The zone of firewalld, `libvirt` unless said otherwise. Since 5.1.0.
    #[xml(form = "word")]
    pub zone: Option<String>,
    /// Whether it speaks the Spanning Tree Protocol; `on` unless said otherwise.
    pub stp: Option<OnOff>,
    /// How long it listens before it forwards, in seconds; 0 unless said otherwise.
    pub delay: Option<u64>,
    /// Who keeps the table of MAC addresses: the kernel unless said otherwise. Since 1.2.11.
    #[xml("macTableManager")]
    pub mac_table_manager: Option<MacTableManager>,
    pub _extra: Extra,
}

/// How the network reaches the outside: <https://libvirt.org/formatnetwork.html#connectivity>.
#[derive(Clone, Default, Xml)]
#[xml(root = "forward")]
pub struct Forward {
    /// The only interface of the host that traffic leaves by. Not for `open`.
    #[xml(form = "device")]
    pub dev: Option<String>,
    /// `nat` if there is none.
    pub mode: Option<ForwardMode>,
    /// Whether libvirt takes a device of `hostdev` from its driver, and gives it back.
    pub managed: Option<YesNo>,
    /// Since 1.0.3.
    pub nat: Option<Nat>,
    /// For `bridge`, `private`, `vepa` and `passthrough`. Since 0.9.4.
    pub interface: Vec<ForwardInterface>,
    /// For `hostdev`. Since 1.0.5.
    pub driver: Option<HostdevDriver>,
    /// In place of `interface` or `address`. Since 0.9.10.
    pub pf: Option<ForwardPf>,
    /// For `hostdev`. Since 0.10.0.
    pub address: Vec<ForwardAddress>,
    pub _extra: Extra,
}

/// A class of interfaces, since 0.9.4: <https://libvirt.org/formatnetwork.html#portgroups>.
#[derive(Clone, Default, Xml)]
#[xml(root = "portgroup", key = "name")]
pub struct PortGroup {
    #[xml(form = "device")]
    pub name: Option<String>,
    /// Whether interfaces that name no group are in this one.
    pub default: Option<YesNo>,
    /// Since 1.2.10.
    #[xml("trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    pub virtualport: Option<VirtualPort>,
    /// Of each guest's interface, unless it says otherwise.
    pub bandwidth: Option<Bandwidth>,
    pub vlan: Option<Vlan>,
    pub _extra: Extra,
}

/// The DNS domain of the network: <https://libvirt.org/formatnetwork.html#connectivity>.
#[derive(Clone, Default, Xml)]
#[xml(root = "domain")]
pub struct NetworkDomain {
    #[xml(form = "host")]
    pub name: Option<String>,
    /// Whether names in it are looked up nowhere else; `no` unless said otherwise. Since 1.2.12.
    #[xml("localOnly")]
    pub local_only: Option<YesNo>,
    /// Whether the host's resolver is told of it. Since 10.1.0.
    pub register: Option<YesNo>,
    pub _extra: Extra,
}

/// The network's name server, since 0.9.3: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
pub struct Dns {
    /// `yes` unless said otherwise. Since 2.2.0.
    pub enable: Option<YesNo>,
    /// Whether names without a dot are asked for outside. Since 1.1.2.
    #[xml("forwardPlainNames")]
    pub forward_plain_names: Option<YesNo>,
    pub forwarder: Vec<DnsForwarder>,
    pub txt: Vec<DnsTxt>,
    pub host: Vec<DnsHost>,
    /// Since 0.9.9.
    pub srv: Vec<DnsSrv>,
    pub _extra: Extra,
}

/// An address of the bridge, with the network's DHCP service: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
#[xml(root = "ip", key = "address")]
pub struct NetworkIp {
    /// IPv4 if there is none.
    pub family: Option<IpFamily>,
    pub address: Option<IpAddr>,
    /// IPv4 only, in place of `prefix`.
    pub netmask: Option<Ipv4Addr>,
    /// Length in bits.
    #[xml(max = 128)]
    pub prefix: Option<u32>,
    /// Whether reverse lookups stay in the network. Since 3.0.0.
    #[xml("localPtr")]
    pub local_ptr: Option<YesNo>,
    /// At most one for each family.
    pub dhcp: Option<Dhcp>,
    /// IPv4 only.
    pub tftp: Option<Tftp>,
    pub _extra: Extra,
}

/// Lines for dnsmasq's configuration file, since 5.6.0: <https://libvirt.org/formatnetwork.html#network-namespaces>.
#[derive(Clone, Default, Xml)]
pub struct DnsmasqOptions {
    #[xml(ns = "dnsmasq")]
    pub option: Vec<QemuArg>,
    pub _extra: Extra,
}

/// A host interface that traffic leaves by: <https://libvirt.org/formatnetwork.html#connectivity>.
#[derive(Clone, Default, Xml)]
#[xml(root = "interface", key = "dev")]
pub struct ForwardInterface {
    #[xml(form = "device")]
    pub dev: Option<String>,
    /// How many guest interfaces use it. Read only, since 0.10.0.
    pub connections: Option<u32>,
    pub _extra: Extra,
}

/// A host device that guests can get: <https://libvirt.org/formatnetwork.html#connectivity>.
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
    /// How many guests have it. Read only.
    pub connections: Option<u32>,
    pub _extra: Extra,
}

/// The physical function whose virtual functions guests get: <https://libvirt.org/formatnetwork.html#connectivity>.
#[derive(Clone, Default, Xml)]
#[xml(root = "pf")]
pub struct ForwardPf {
    #[xml(form = "device")]
    pub dev: Option<String>,
    pub _extra: Extra,
}

/// Addresses and ports used for translation: <https://libvirt.org/formatnetwork.html#connectivity>.
#[derive(Clone, Default, Xml)]
pub struct Nat {
    /// Whether IPv6 is translated too, not only routed. Since 6.5.0.
    pub ipv6: Option<YesNo>,
    /// The addresses that guests appear with; all of the range are used.
    pub address: Option<NatAddress>,
    pub port: Option<NatPort>,
    pub _extra: Extra,
}

/// Another name server to ask: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
#[xml(key = "domain+addr")]
pub struct DnsForwarder {
    /// Only for names in it; without `addr` they are resolved here. Since 2.2.0.
    #[xml(form = "host")]
    pub domain: Option<String>,
    /// Since 1.1.3.
    pub addr: Option<IpAddr>,
    pub _extra: Extra,
}

/// A TXT record: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
#[xml(root = "txt", key = "name")]
pub struct DnsTxt {
    /// Without spaces and commas.
    #[xml(form = "host")]
    pub name: Option<String>,
    /// Several values have commas between them.
    pub value: Option<String>,
    pub _extra: Extra,
}

/// An SRV record, since 0.9.9: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
#[xml(root = "srv", key = "service+protocol+domain+target")]
pub struct DnsSrv {
    pub service: Option<String>,
    pub protocol: Option<IpProtocol>,
    #[xml(form = "host")]
    pub domain: Option<String>,
    pub target: Option<String>,
    pub port: Option<u16>,
    pub priority: Option<u16>,
    pub weight: Option<u16>,
    pub _extra: Extra,
}

/// Names of one address: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
#[xml(root = "host", key = "ip")]
pub struct DnsHost {
    pub ip: Option<IpAddr>,
    #[xml(form = "host")]
    pub hostname: Vec<String>,
    pub _extra: Extra,
}

/// The TFTP server of an address: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
pub struct Tftp {
    /// The directory that it serves.
    pub root: Option<String>,
    pub _extra: Extra,
}

/// The network's DHCP service: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
pub struct Dhcp {
    pub range: Vec<DhcpRange>,
    pub host: Vec<DhcpHost>,
    /// IPv4 only.
    pub bootp: Option<Bootp>,
    pub _extra: Extra,
}

/// A range of addresses: <https://libvirt.org/formatnetwork.html#connectivity>.
#[derive(Clone, Default, Xml)]
pub struct NatAddress {
    pub start: Option<Ipv4Addr>,
    pub end: Option<Ipv4Addr>,
    pub _extra: Extra,
}

/// A range of ports: <https://libvirt.org/formatnetwork.html#connectivity>.
#[derive(Clone, Default, Xml)]
pub struct NatPort {
    #[xml(min = 1)]
    pub start: Option<u16>,
    #[xml(min = 1)]
    pub end: Option<u16>,
    pub _extra: Extra,
}

/// Addresses given out by DHCP, first and last included: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
#[xml(root = "range", key = "start")]
pub struct DhcpRange {
    pub start: Option<IpAddr>,
    pub end: Option<IpAddr>,
    /// Since 6.3.0.
    pub lease: Option<DhcpLease>,
    pub _extra: Extra,
}

/// The fixed address of one host: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
#[xml(root = "host", key = "mac|id|name")]
pub struct DhcpHost {
    /// Tells the host by its card; IPv4 only.
    #[xml(form = "unicast")]
    pub mac: Option<MacAddr>,
    /// Tells the host by its DHCP identifier; IPv6 only.
    pub id: Option<Duid>,
    /// Tells an IPv6 host that has no `id`; otherwise the name that it gets.
    pub name: Option<String>,
    pub ip: Option<IpAddr>,
    /// Since 6.3.0.
    pub lease: Option<DhcpLease>,
    pub _extra: Extra,
}

/// What to boot over the network: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
pub struct Bootp {
    pub file: Option<String>,
    /// The DHCP server itself if there is none.
    #[xml(form = "host")]
    pub server: Option<String>,
    pub _extra: Extra,
}

/// How long an address may be kept, since 6.3.0: <https://libvirt.org/formatnetwork.html#addressing>.
#[derive(Clone, Default, Xml)]
pub struct DhcpLease {
    /// In `unit`; at least two minutes, or 0 for ever.
    pub expiry: Option<u64>,
    /// Minutes if there is none.
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
