//! Network interfaces of the host.

use crate::common::{MacAddress, Named, NetLink};
use crate::domain::IpFamily;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{ForwardDelay, OnOff, YesNo};
use kvm_xml_derive::Xml;
use std::net::{IpAddr, Ipv4Addr};

/// A network interface of the host, as the `virInterface` calls define it:
/// <https://libvirt.org/html/libvirt-libvirt-interface.html>.
///
/// libvirt documents the format by its schema alone. The outermost element is called `interface`, as that of a guest's
/// network card is; since the two have nothing else in common, this one is named for the host and the other is
/// [`domain::Interface`](crate::domain::Interface).
#[derive(Clone, Default, Xml)]
#[xml(root = "interface", key = "name")]
pub struct HostInterface {
    pub r#type: Option<HostInterfaceType>,
    /// `eth0`, `br1`. Optional for a VLAN, whose name follows from its device and tag.
    pub name: Option<String>,
    /// Read only.
    pub link: Option<NetLink>,
    pub start: Option<InterfaceStart>,
    pub mac: Option<MacAddress>,
    pub mtu: Option<InterfaceMtu>,
    /// At most one for each family; none for an interface inside of a bridge or bond.
    pub protocol: Vec<InterfaceProtocol>,
    pub bridge: Option<InterfaceBridge>,
    pub bond: Option<Bond>,
    pub vlan: Option<InterfaceVlan>,
    pub _extra: Extra,
}

/// When an interface is brought up.
#[derive(Clone, Default, Xml)]
pub struct InterfaceStart {
    pub mode: Option<InterfaceStartMode>,
    pub _extra: Extra,
}

/// The largest packet of a host's interface, in bytes.
///
/// Wider than [`Mtu`](crate::common::Mtu), as the schema is.
#[derive(Clone, Default, Xml)]
pub struct InterfaceMtu {
    pub size: Option<u32>,
    pub _extra: Extra,
}

/// How an interface gets its addresses.
#[derive(Clone, Default, Xml)]
#[xml(key = "family")]
pub struct InterfaceProtocol {
    pub family: Option<IpFamily>,
    /// Takes addresses from router advertisements; IPv6 only.
    pub autoconf: bool,
    pub dhcp: Option<InterfaceDhcp>,
    pub ip: Vec<InterfaceAddress>,
    pub route: Option<InterfaceRoute>,
    pub _extra: Extra,
}

/// Addresses come by DHCP.
#[derive(Clone, Default, Xml)]
pub struct InterfaceDhcp {
    /// Whether name servers are taken from DHCP too.
    pub peerdns: Option<YesNo>,
    pub _extra: Extra,
}

/// A fixed address.
#[derive(Clone, Default, Xml)]
pub struct InterfaceAddress {
    pub address: Option<IpAddr>,
    #[xml(max = 128)]
    pub prefix: Option<u32>,
    pub _extra: Extra,
}

/// The default route.
#[derive(Clone, Default, Xml)]
pub struct InterfaceRoute {
    pub gateway: Option<IpAddr>,
    pub _extra: Extra,
}

/// A bridge and the interfaces in it.
#[derive(Clone, Default, Xml)]
pub struct InterfaceBridge {
    /// Whether it speaks the Spanning Tree Protocol.
    pub stp: Option<OnOff>,
    /// How long it listens before it forwards, in seconds.
    pub delay: Option<ForwardDelay>,
    /// Ethernet, VLAN and bond interfaces, without addresses of their own.
    pub interface: Vec<HostInterface>,
    pub _extra: Extra,
}

/// A bond and the interfaces in it: <https://docs.kernel.org/networking/bonding.html>.
#[derive(Clone, Default, Xml)]
pub struct Bond {
    pub mode: Option<BondMode>,
    /// Links are watched through their drivers; excludes `arpmon`.
    pub miimon: Option<Miimon>,
    /// Links are watched by ARP requests; excludes `miimon`.
    pub arpmon: Option<Arpmon>,
    /// Ethernet interfaces, without addresses of their own. The first is the primary one of an `active-backup` bond.
    pub interface: Vec<HostInterface>,
    pub _extra: Extra,
}

/// Watches the links of a bond through their drivers; all times in milliseconds.
#[derive(Clone, Default, Xml)]
pub struct Miimon {
    pub freq: Option<u32>,
    /// How long a link that is down is waited for.
    pub downdelay: Option<u32>,
    /// How long a link that is up again is left alone.
    pub updelay: Option<u32>,
    pub carrier: Option<MiimonCarrier>,
    pub _extra: Extra,
}

/// Watches the links of a bond by ARP requests.
#[derive(Clone, Default, Xml)]
pub struct Arpmon {
    /// In milliseconds.
    pub interval: Option<u32>,
    /// The address asked for.
    pub target: Option<Ipv4Addr>,
    pub validate: Option<ArpmonValidate>,
    pub _extra: Extra,
}

/// The tag of a VLAN interface, and the interface that carries it.
#[derive(Clone, Default, Xml)]
pub struct InterfaceVlan {
    #[xml(max = 4095)]
    pub tag: Option<u32>,
    pub interface: Option<Named>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`HostInterface`] can be.
    pub enum HostInterfaceType {
        Ethernet = "ethernet", Bridge = "bridge", Bond = "bond", Vlan = "vlan",
    }
    /// What `mode` of [`InterfaceStart`] can be.
    pub enum InterfaceStartMode {
        Onboot = "onboot", None = "none", Hotplug = "hotplug",
    }
    /// What `mode` of [`Bond`] can be.
    pub enum BondMode {
        BalanceRr = "balance-rr", ActiveBackup = "active-backup", BalanceXor = "balance-xor", Broadcast = "broadcast",
        V8023Ad = "802.3ad", BalanceTlb = "balance-tlb", BalanceAlb = "balance-alb",
    }
    /// What `carrier` of [`Miimon`] can be: which call asks the driver.
    pub enum MiimonCarrier {
        Ioctl = "ioctl", Netif = "netif",
    }
    /// What `validate` of [`Arpmon`] can be: on which interfaces replies are checked.
    pub enum ArpmonValidate {
        None = "none", Active = "active", Backup = "backup", All = "all",
    }
}
