//! What a network is to be like, as a person writes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use kvm_core::{AddressRange, DnsName, Error, MacAddr, NetworkEntry, NetworkName, Result, Subnet};
use kvm_xml::common::{Vlan, VlanTag};
use kvm_xml::network::{DhcpHost, DnsHost, PortGroup as XmlPortGroup};
use kvm_xml::value::{MacAddr as XmlMac, YesNo};

use crate::spec::BridgeName;
use crate::text::{choices, refused, words};

choices! {
    /// How guests on a network reach the outside.
    NetworkMode: "mode" {
        /// Through the host, which puts its own address in place of theirs.
        Nat = "nat",
        /// Through the host, with their own addresses.
        Route = "route",
        /// As `route`, without libvirt's rules in the host's packet filter.
        Open = "open",
        /// They do not: only each other and the host.
        Isolated = "isolated",
        /// They are plugged into a bridge that the host has.
        Bridge = "bridge",
        /// They are plugged into a bridge of Open vSwitch.
        Ovs = "ovs",
        /// They share a network card of the host.
        Macvtap = "macvtap",
        /// Each gets a virtual function of a network card.
        Sriov = "sriov",
    }

    /// What guests that share a network card can reach.
    MacvtapMode: "macvtap-mode" {
        /// Each other and the outside.
        Bridge = "bridge",
        /// The outside alone.
        Private = "private",
        /// Each other by way of a switch outside.
        Vepa = "vepa",
        /// The outside; one guest has the card for itself.
        Passthrough = "passthrough",
    }
}

words! {
    /// Name of a class of devices on a network.
    PortGroupName: "portgroup", 64;
}

/// What a new network is to be like. What does not suit its mode is refused when the document is
/// [made](Self::document).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name; free on the host.
    pub name: NetworkName,
    /// How guests reach the outside.
    pub mode: NetworkMode,
    /// Addresses, at most one network of each family.
    pub subnets: Vec<Subnet>,
    /// What guests get by DHCP.
    pub dhcp: DhcpChoice,
    /// Its bridge: a new one, or of `bridge` and `ovs` the host's own.
    pub bridge: Option<BridgeName>,
    /// The host's network card that traffic leaves by.
    pub uplink: Option<BridgeName>,
    /// For `macvtap`; `bridge` if left out.
    pub macvtap: Option<MacvtapMode>,
    /// The DNS domain of guests.
    pub domain: Option<DnsName>,
    /// Names that its name server knows.
    pub dns: Vec<DnsEntry>,
    /// Addresses that devices always get.
    pub leases: Vec<StaticLease>,
    /// The largest packet.
    pub mtu: Option<MtuSize>,
    /// VLANs of devices that are in no port group.
    pub vlans: Vec<VlanId>,
    /// Classes of devices.
    pub port_groups: Vec<PortGroup>,
}

impl NetworkSpec {
    /// A network with address translation, without anything else.
    #[must_use]
    pub fn new(name: NetworkName) -> Self {
        Self {
            name,
            mode: NetworkMode::Nat,
            subnets: Vec::new(),
            dhcp: DhcpChoice::All,
            bridge: None,
            uplink: None,
            macvtap: None,
            domain: None,
            dns: Vec::new(),
            leases: Vec::new(),
            mtu: None,
            vlans: Vec::new(),
            port_groups: Vec::new(),
        }
    }
}

/// Which addresses a network's DHCP server gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhcpChoice {
    /// Of IPv4 all but the host's. IPv6 guests find theirs by themselves.
    All,
    /// None.
    None,
    /// These.
    Ranges(Vec<AddressRange>),
}

/// The address that a network device always gets.
///
/// ```
/// let lease: kvm_vm::StaticLease = "52:54:00:12:34:56=10.20.0.5,web".parse()?;
/// assert_eq!(lease.to_string(), "52:54:00:12:34:56=10.20.0.5,web");
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticLease {
    /// Of the device.
    pub mac: MacAddr,
    /// What it gets.
    pub address: Ipv4Addr,
    /// The name that it gets.
    pub name: Option<DnsName>,
}

impl StaticLease {
    /// The entry of a network's document.
    #[must_use]
    pub fn entry(&self) -> NetworkEntry {
        NetworkEntry::Lease(Box::new(DhcpHost {
            mac: Some(XmlMac(self.mac.octets())),
            ip: Some(self.address.into()),
            name: self.name.as_ref().map(|name| name.as_str().to_owned()),
            ..DhcpHost::default()
        }))
    }
}

impl FromStr for StaticLease {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || refused("lease", text, "is not one such as 52:54:00:12:34:56=10.20.0.5,web");
        let (mac, rest) = text.split_once('=').ok_or_else(refuse)?;
        let (address, name) = rest.split_once(',').map_or((rest, None), |(address, name)| (address, Some(name)));
        Ok(Self {
            mac: MacAddr::parse(mac)?,
            address: address.parse().map_err(|_| refuse())?,
            name: name.map(DnsName::parse).transpose()?,
        })
    }
}

impl fmt::Display for StaticLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.mac, self.address)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ",{name}"))
    }
}

/// Names that a network's name server knows, written `ADDRESS=NAME,NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsEntry {
    /// What they stand for.
    pub address: IpAddr,
    /// One at least.
    pub names: Vec<DnsName>,
}

impl DnsEntry {
    /// The entry of a network's document.
    #[must_use]
    pub fn entry(&self) -> NetworkEntry {
        let hostname = self.names.iter().map(|name| name.as_str().to_owned()).collect();
        NetworkEntry::DnsHost(Box::new(DnsHost { ip: Some(self.address), hostname, ..DnsHost::default() }))
    }
}

impl FromStr for DnsEntry {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('=').and_then(|(address, names)| Some((address.parse().ok()?, names)));
        let (address, names) = parsed.ok_or_else(|| refused("dns", text, "is not one such as 10.20.0.5=web,www"))?;
        Ok(Self { address, names: names.split(',').map(DnsName::parse).collect::<Result<_>>()? })
    }
}

/// A class of devices on a network, written `NAME[,vlan=TAG…][,default=yes]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortGroup {
    /// What devices call it.
    pub name: PortGroupName,
    /// One tag, or several that form a trunk.
    pub vlans: Vec<VlanId>,
    /// Whether devices that name no group are in it.
    pub is_default: bool,
}

impl PortGroup {
    /// The entry of a network's document.
    #[must_use]
    pub fn entry(&self) -> NetworkEntry {
        NetworkEntry::PortGroup(Box::new(XmlPortGroup {
            name: Some(self.name.as_str().to_owned()),
            default: self.is_default.then_some(YesNo::Yes),
            vlan: vlan(&self.vlans),
            ..XmlPortGroup::default()
        }))
    }
}

impl FromStr for PortGroup {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(',');
        let name = PortGroupName::parse(parts.next().unwrap_or_default())?;
        let mut group = Self { name, vlans: Vec::new(), is_default: false };
        for part in parts {
            match part.split_once('=') {
                Some(("vlan", tag)) => group.vlans.push(VlanId::parse(tag)?),
                Some(("default", "yes")) => group.is_default = true,
                Some(("default", "no")) => group.is_default = false,
                _ => return Err(refused("portgroup", text, "has something else than vlan=TAG and default=yes")),
            }
        }
        Ok(group)
    }
}

/// The tag of a VLAN: 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// Reads a plain decimal number.
    pub fn parse(text: &str) -> Result<Self> {
        number(text)
            .filter(|tag| (1..=4094).contains(tag))
            .map(Self)
            .ok_or_else(|| refused("vlan", text, "is not a plain number from 1 to 4094"))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for VlanId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The largest packet of a network: 576 to 65535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MtuSize(u16);

impl MtuSize {
    /// Reads a plain decimal number of bytes.
    pub fn parse(text: &str) -> Result<Self> {
        number(text)
            .filter(|size| *size >= 576)
            .map(Self)
            .ok_or_else(|| refused("mtu", text, "is not a plain number from 576 to 65535"))
    }

    /// The number of bytes.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for MtuSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

fn number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

/// The element for tags: one, or a trunk of several.
pub(crate) fn vlan(tags: &[VlanId]) -> Option<Vlan> {
    let tag = |tag: &VlanId| VlanTag { id: Some(tag.get().into()), ..VlanTag::default() };
    (!tags.is_empty()).then(|| Vlan {
        trunk: (tags.len() > 1).then_some(YesNo::Yes),
        tag: tags.iter().map(tag).collect(),
        ..Vlan::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_are_written() {
        let group: PortGroup = "dmz,vlan=10,vlan=20,default=yes".parse().unwrap();
        assert_eq!((group.name.as_str(), group.vlans.len(), group.is_default), ("dmz", 2, true));
        let dns: DnsEntry = "fd00::5=web,www.lab".parse().unwrap();
        assert_eq!(dns.names.iter().map(DnsName::as_str).collect::<Vec<_>>(), ["web", "www.lab"]);
        assert_eq!(MtuSize::parse("9000").unwrap().get(), 9000);
    }

    #[test]
    fn hostile_parts_are_refused() {
        for text in
            ["", "52:54:00:12:34:56", "52:54:00:12:34:56=10.0.0.1,", "52:54:00:12:34:56=10.0.0.1,a b", "x=1.2.3.4"]
        {
            assert!(text.parse::<StaticLease>().is_err(), "{text}");
        }
        for text in ["", "10.0.0.1", "10.0.0.1=", "10.0.0.1=a,", "10.0.0.1=a\nb", "web=10.0.0.1"] {
            assert!(text.parse::<DnsEntry>().is_err(), "{text}");
        }
        for text in ["", "a b", "a,vlan=0", "a,vlan=4095", "a,vlan=+1", "a,vlan=01", "a,x=1", "a,", "-a", "a/b"] {
            assert!(text.parse::<PortGroup>().is_err(), "{text}");
        }
        for text in ["", "575", "65536", "-1", "1e3", " 1500"] {
            assert!(MtuSize::parse(text).is_err(), "{text}");
        }
    }
}
