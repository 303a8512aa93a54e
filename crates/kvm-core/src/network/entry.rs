//! Entries of a network's document that come and go while the network is active.

use std::fmt;
use std::net::IpAddr;

use kvm_xml::Document as _;
use kvm_xml::network::{DhcpHost, DhcpRange, DnsHost, Network, PortGroup};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Subnet};

/// A change of one entry.
#[derive(Clone, Debug)]
pub enum NetworkUpdate {
    /// Adds it behind the others of its kind.
    Add(NetworkEntry),
    /// Takes out the one with the same [key](NetworkEntry::check).
    Remove(NetworkEntry),
}

/// An entry of a network's document that can change while the network is active.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
#[non_exhaustive]
pub enum NetworkEntry {
    /// The address that a device always gets by DHCP. Its key is the MAC address.
    Lease(Box<DhcpHost>),
    /// A range of addresses for everybody else. Its key is the range.
    DhcpRange(Box<DhcpRange>),
    /// Names of an address. Its key is the address.
    DnsHost(Box<DnsHost>),
    /// A class of devices. Its key is the name.
    PortGroup(Box<PortGroup>),
}

impl NetworkUpdate {
    /// What is added or taken out.
    #[must_use]
    pub fn entry(&self) -> &NetworkEntry {
        match self {
            Self::Add(entry) | Self::Remove(entry) => entry,
        }
    }
}

impl NetworkEntry {
    /// `InvalidInput` when the document lacks what tells it apart from others of its kind.
    pub fn check(&self) -> Result<()> {
        let (is_complete, field) = match self {
            Self::Lease(lease) => (lease.mac.is_some(), "mac"),
            Self::DhcpRange(range) => (range.start.is_some() && range.end.is_some(), "range"),
            Self::DnsHost(host) => (host.ip.is_some(), "ip"),
            Self::PortGroup(group) => (group.name.is_some(), "portgroup"),
        };
        if is_complete { Ok(()) } else { Err(Error::invalid(field, format!("the entry's document has no {field}"))) }
    }

    /// The position of the `ip` element that has, or is to have, the entry; `None` for entries that stand elsewhere, and
    /// when no element is for them.
    #[must_use]
    pub fn place(&self, document: &Network) -> Option<usize> {
        let holder = document.ip.iter().position(|ip| match (self, &ip.dhcp) {
            (Self::Lease(lease), Some(dhcp)) => dhcp.host.iter().any(|other| other.mac == lease.mac),
            (Self::DhcpRange(range), Some(dhcp)) => dhcp.range.iter().any(|other| is_same_range(other, range)),
            _ => false,
        });
        let address = match self {
            Self::Lease(lease) => lease.ip,
            Self::DhcpRange(range) => range.start,
            Self::DnsHost(_) | Self::PortGroup(_) => None,
        };
        let holds = |address: IpAddr| {
            document.ip.iter().position(|ip| Subnet::of(ip).is_some_and(|subnet| subnet.contains(address)))
        };
        holder.or_else(|| holds(address?))
    }

    /// Whether the entry needs an `ip` element around it.
    #[must_use]
    pub fn is_of_address(&self) -> bool {
        matches!(self, Self::Lease(_) | Self::DhcpRange(_))
    }

    /// Whether the document has an entry with the same key.
    #[must_use]
    pub fn is_in(&self, document: &Network) -> bool {
        match self {
            Self::Lease(lease) => leases(document).any(|other| other.mac == lease.mac),
            Self::DhcpRange(range) => {
                let dhcp = document.ip.iter().filter_map(|ip| ip.dhcp.as_ref());
                dhcp.flat_map(|dhcp| &dhcp.range).any(|other| is_same_range(other, range))
            }
            Self::DnsHost(host) => dns_hosts(document).any(|other| other.ip == host.ip),
            Self::PortGroup(group) => document.portgroup.iter().any(|other| other.name == group.name),
        }
    }

    /// Whether the document has an entry that leaves no room for this one: with the same key, or with an address or a name
    /// that only one may have.
    #[must_use]
    pub fn clashes_in(&self, document: &Network) -> bool {
        let shares = match self {
            Self::Lease(lease) => leases(document).any(|other| {
                (lease.ip.is_some() && other.ip == lease.ip) || (lease.name.is_some() && other.name == lease.name)
            }),
            Self::DnsHost(host) => {
                dns_hosts(document).any(|other| other.hostname.iter().any(|name| host.hostname.contains(name)))
            }
            Self::DhcpRange(_) | Self::PortGroup(_) => false,
        };
        shares || self.is_in(document)
    }

    /// Adds the entry to a document. `InvalidInput` when no address of the network has a place for it.
    pub fn put_into(&self, document: &mut Network) -> Result<()> {
        let place = self.place(document);
        let dhcp = match place.and_then(|place| document.ip.get_mut(place)) {
            Some(ip) => Some(ip.dhcp.get_or_insert_default()),
            None => None,
        };
        match (self, dhcp) {
            (Self::Lease(lease), Some(dhcp)) => dhcp.host.push((**lease).clone()),
            (Self::DhcpRange(range), Some(dhcp)) => dhcp.range.push((**range).clone()),
            (Self::Lease(_) | Self::DhcpRange(_), None) => return Err(self.no_place()),
            (Self::DnsHost(host), _) => document.dns.get_or_insert_default().host.push((**host).clone()),
            (Self::PortGroup(group), _) => document.portgroup.push((**group).clone()),
        }
        Ok(())
    }

    /// Takes the entry with the same key out of a document.
    pub fn take_out(&self, document: &mut Network) {
        let dhcp = document.ip.iter_mut().filter_map(|ip| ip.dhcp.as_mut());
        match self {
            Self::Lease(lease) => dhcp.for_each(|dhcp| dhcp.host.retain(|other| other.mac != lease.mac)),
            Self::DhcpRange(range) => {
                dhcp.for_each(|dhcp| dhcp.range.retain(|other| !is_same_range(other, range)));
            }
            Self::DnsHost(host) => {
                document.dns.iter_mut().for_each(|dns| dns.host.retain(|other| other.ip != host.ip));
            }
            Self::PortGroup(group) => document.portgroup.retain(|other| other.name != group.name),
        }
    }

    /// The error for an entry that no address of a network has a place for.
    #[must_use]
    pub fn no_place(&self) -> Error {
        Error::invalid("address", format!("no address of the network has a place for {self}"))
    }

    /// The entry's document as the hypervisor reads it.
    #[must_use]
    pub fn to_xml(&self) -> String {
        match self {
            Self::Lease(lease) => lease.to_xml(),
            Self::DhcpRange(range) => range.to_xml(),
            Self::DnsHost(host) => host.to_xml(),
            Self::PortGroup(group) => group.to_xml(),
        }
    }

    /// As much of the document as tells the entry apart.
    #[must_use]
    pub fn key_xml(&self) -> String {
        match self {
            Self::Lease(lease) => DhcpHost { mac: lease.mac, ..DhcpHost::default() }.to_xml(),
            Self::DhcpRange(range) => DhcpRange { start: range.start, end: range.end, ..DhcpRange::default() }.to_xml(),
            Self::DnsHost(host) => DnsHost { ip: host.ip, ..DnsHost::default() }.to_xml(),
            Self::PortGroup(group) => PortGroup { name: group.name.clone(), ..PortGroup::default() }.to_xml(),
        }
    }
}

impl fmt::Display for NetworkEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
        match self {
            Self::Lease(lease) => match lease.mac {
                Some(mac) => write!(f, "a fixed address of {mac}"),
                None => f.write_str("a fixed address"),
            },
            Self::DhcpRange(range) => write!(f, "the DHCP range {}-{}", shown(range.start), shown(range.end)),
            Self::DnsHost(host) => write!(f, "names of {}", shown(host.ip)),
            Self::PortGroup(group) => {
                write!(f, "port group {}", crate::text::printable(group.name.as_deref().unwrap_or_default()))
            }
        }
    }
}

fn is_same_range(one: &DhcpRange, other: &DhcpRange) -> bool {
    (one.start, one.end) == (other.start, other.end)
}

fn leases(document: &Network) -> impl Iterator<Item = &DhcpHost> {
    document.ip.iter().filter_map(|ip| ip.dhcp.as_ref()).flat_map(|dhcp| &dhcp.host)
}

fn dns_hosts(document: &Network) -> impl Iterator<Item = &DnsHost> {
    document.dns.iter().flat_map(|dns| &dns.host)
}

/// A [`NetworkEntry`] in journals.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Lease(String),
    DhcpRange(String),
    DnsHost(String),
    PortGroup(String),
}

impl From<NetworkEntry> for Form {
    fn from(entry: NetworkEntry) -> Self {
        let xml = entry.to_xml();
        match entry {
            NetworkEntry::Lease(_) => Self::Lease(xml),
            NetworkEntry::DhcpRange(_) => Self::DhcpRange(xml),
            NetworkEntry::DnsHost(_) => Self::DnsHost(xml),
            NetworkEntry::PortGroup(_) => Self::PortGroup(xml),
        }
    }
}

impl TryFrom<Form> for NetworkEntry {
    type Error = kvm_xml::XmlError;

    fn try_from(form: Form) -> Result<Self, Self::Error> {
        Ok(match form {
            Form::Lease(xml) => Self::Lease(Box::new(DhcpHost::from_xml(&xml)?)),
            Form::DhcpRange(xml) => Self::DhcpRange(Box::new(DhcpRange::from_xml(&xml)?)),
            Form::DnsHost(xml) => Self::DnsHost(Box::new(DnsHost::from_xml(&xml)?)),
            Form::PortGroup(xml) => Self::PortGroup(Box::new(PortGroup::from_xml(&xml)?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        let xml = "<network><dns><host ip='10.0.0.1'><hostname>gate</hostname></host></dns>\
                   <ip address='10.0.0.1' prefix='24'><dhcp><range start='10.0.0.9' end='10.0.0.99'/>\
                   <host mac='52:54:00:00:00:01' name='a' ip='10.0.0.5'/></dhcp></ip>\
                   <ip address='10.1.0.1' prefix='24'/><portgroup name='lan'/></network>";
        Network::from_xml(xml).unwrap()
    }

    fn lease(xml: &str) -> NetworkEntry {
        NetworkEntry::Lease(Box::new(DhcpHost::from_xml(xml).unwrap()))
    }

    fn entries() -> [NetworkEntry; 4] {
        let range = "<range start='10.1.0.9' end='10.1.0.99'/>";
        let host = "<host ip='10.0.0.7'><hostname>seven</hostname></host>";
        [
            lease("<host mac='52:54:00:00:00:07' ip='10.0.0.7'/>"),
            NetworkEntry::DhcpRange(Box::new(DhcpRange::from_xml(range).unwrap())),
            NetworkEntry::DnsHost(Box::new(DnsHost::from_xml(host).unwrap())),
            NetworkEntry::PortGroup(Box::new(PortGroup::from_xml("<portgroup name='dmz'/>").unwrap())),
        ]
    }

    #[test]
    fn what_was_put_in_is_there_until_it_is_taken_out() {
        for entry in entries() {
            let (before, mut document) = (network(), network());
            assert!(!entry.is_in(&document) && !entry.clashes_in(&document), "{entry}");
            entry.put_into(&mut document).unwrap();
            assert!(entry.is_in(&document) && entry.clashes_in(&document), "{entry}");
            entry.take_out(&mut document);
            assert!(!entry.is_in(&document), "{entry}");
            assert_eq!(document.portgroup.len() + leases(&document).count(), 2);
            assert_eq!(dns_hosts(&document).count(), dns_hosts(&before).count());
        }
    }

    #[test]
    fn a_lease_clashes_by_its_device_its_address_and_its_name() {
        for (xml, clashes) in [
            ("<host mac='52:54:00:00:00:01' ip='10.0.0.6'/>", true),
            ("<host mac='52:54:00:00:00:02' ip='10.0.0.5'/>", true),
            ("<host mac='52:54:00:00:00:02' name='a' ip='10.0.0.6'/>", true),
            ("<host mac='52:54:00:00:00:02' name='b' ip='10.0.0.6'/>", false),
        ] {
            assert_eq!(lease(xml).clashes_in(&network()), clashes, "{xml}");
        }
    }

    #[test]
    fn an_entry_goes_where_its_address_belongs() {
        let place = |xml: &str| lease(xml).place(&network());
        assert_eq!(place("<host mac='52:54:00:00:00:09' ip='10.0.0.9'/>"), Some(0));
        assert_eq!(place("<host mac='52:54:00:00:00:09' ip='10.1.0.9'/>"), Some(1));
        assert_eq!(place("<host mac='52:54:00:00:00:01'/>"), Some(0));
        assert_eq!(place("<host mac='52:54:00:00:00:09' ip='10.2.0.9'/>"), None);
        let stranger = lease("<host mac='52:54:00:00:00:09' ip='10.2.0.9'/>");
        assert_eq!(stranger.put_into(&mut network()).unwrap_err().kind(), crate::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_entry_survives_a_journal() {
        for entry in entries() {
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<NetworkEntry>(&text).unwrap().to_xml(), entry.to_xml());
            assert!(entry.check().is_ok());
        }
        assert!(lease("<host name='a' ip='10.0.0.9'/>").check().is_err());
    }
}
