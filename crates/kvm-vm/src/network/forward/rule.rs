//! A rule, and the form that it has in a network's document.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use kvm_core::{Error, ErrorKind, METADATA_NAMESPACE, MacAddr, Port, Result};
use kvm_xml::{Fragment, Metadata, Network};
use serde::{Deserialize, Serialize};

use crate::text::choices;

/// The attribute of our element in a network's metadata that holds the rules. The hook reads it, too.
const ATTRIBUTE: &str = "forwards";

choices! {
    /// What a forwarded port speaks.
    PortProtocol: "protocol" {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

/// A port of the host that leads to a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForward {
    /// What it speaks.
    pub protocol: PortProtocol,
    /// The host's address; all of them if `None`.
    pub address: Option<Ipv4Addr>,
    /// The host's port.
    pub port: Port,
    /// The guest's address.
    pub guest: Ipv4Addr,
    /// The guest's port.
    pub guest_port: Port,
    /// The guest's network device.
    pub mac: MacAddr,
}

impl PortForward {
    /// Whether a packet could be meant by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let same_address = self.address.is_none() || other.address.is_none() || self.address == other.address;
        self.protocol == other.protocol && self.port == other.port && same_address
    }

    /// The rules of a network's document. What is no rule is left out.
    #[must_use]
    pub fn of(document: &Network) -> Vec<Self> {
        let element = document.metadata.as_ref().and_then(|metadata| metadata.get(METADATA_NAMESPACE));
        let rules = element.and_then(|element| element.attribute(ATTRIBUTE)).unwrap_or_default();
        rules.split(',').filter_map(|rule| rule.parse().ok()).collect()
    }

    /// Writes the rules into a network's document, in place of those that it has. All else of the metadata stays.
    pub(crate) fn write(rules: &[Self], document: &mut Network) -> Result<()> {
        let no_form = |e| Error::internal("the port forwards have no XML form").with_source(e);
        let text = rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let value = Some(text.as_str()).filter(|text| !text.is_empty());
        let before = document.metadata.as_ref().and_then(|metadata| metadata.get(METADATA_NAMESPACE)).cloned();
        let element = match before {
            Some(element) => element,
            None => {
                let empty = format!("<{0}:network xmlns:{0}=\"{METADATA_NAMESPACE}\"/>", Metadata::PREFIX);
                Fragment::parse(&empty).map_err(no_form)?
            }
        };
        let element = element.with_attribute(ATTRIBUTE, value);
        if element.is_empty_element() {
            if let Some(metadata) = &mut document.metadata {
                metadata.remove(METADATA_NAMESPACE);
            }
            if document.metadata.as_ref().is_some_and(|metadata| metadata._extra.nodes().is_empty()) {
                document.metadata = None;
            }
            return Ok(());
        }
        let metadata = document.metadata.get_or_insert_default();
        metadata.set(METADATA_NAMESPACE, element.as_str()).map_err(no_form)
    }

    /// The host's side: `tcp 8080`, `udp 203.0.113.7:53`.
    #[must_use]
    pub fn entrance(&self) -> String {
        match self.address {
            None => format!("{} {}", self.protocol, self.port),
            Some(address) => format!("{} {address}:{}", self.protocol, self.port),
        }
    }
}

/// The form in documents: `tcp * 8080 192.168.122.50 80 52:54:00:12:34:56`.
impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, address, port, guest, guest_port, mac } = self;
        match address {
            None => write!(f, "{protocol} * {port} {guest} {guest_port} {mac}"),
            Some(address) => write!(f, "{protocol} {address} {port} {guest} {guest_port} {mac}"),
        }
    }
}

impl FromStr for PortForward {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || Error::new(ErrorKind::Corrupt, "a port forward in the network's metadata cannot be read");
        let fields: Vec<_> = text.split(' ').collect();
        let [protocol, address, port, guest, guest_port, mac] = fields.as_slice() else { return Err(refuse()) };
        Ok(Self {
            protocol: protocol.parse()?,
            address: match *address {
                "*" => None,
                address => Some(address.parse().map_err(|_| refuse())?),
            },
            port: Port::parse(port)?,
            guest: guest.parse().map_err(|_| refuse())?,
            guest_port: Port::parse(guest_port)?,
            mac: MacAddr::parse(mac)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use kvm_xml::Document as _;

    use super::*;

    const RULES: [&str; 2] =
        ["tcp * 8080 192.168.122.50 80 52:54:00:12:34:56", "udp 203.0.113.7 53 192.168.122.51 5353 52:54:00:12:34:57"];

    #[test]
    fn rules_are_read_back_from_the_written_document() {
        let xml = "<network><name>a</name><metadata><x:y xmlns:x='urn:x'>kept</x:y></metadata></network>";
        let mut document = Network::from_xml(xml).unwrap();
        let before = document.clone();
        let rules: Vec<PortForward> = RULES.iter().map(|rule| rule.parse().unwrap()).collect();
        PortForward::write(&rules, &mut document).unwrap();
        let again = Network::from_xml(&document.to_xml()).unwrap();
        assert_eq!(PortForward::of(&again), rules);
        assert!(again.to_xml().contains("kept"));
        PortForward::write(&[], &mut document).unwrap();
        assert_eq!(document, before);
        let mut plain = Network::from_xml("<network><name>a</name></network>").unwrap();
        PortForward::write(&rules, &mut plain).unwrap();
        PortForward::write(&[], &mut plain).unwrap();
        assert!(plain.metadata.is_none());
    }

    #[test]
    fn what_is_no_rule_is_left_out() {
        let element = |rules: &str| {
            let xml = format!(
                "<network><name>a</name><metadata><kvmm:network xmlns:kvmm='urn:kvm-manager:metadata:1' \
                 forwards='{rules}'/></metadata></network>"
            );
            PortForward::of(&Network::from_xml(&xml).unwrap()).len()
        };
        assert_eq!(element(&RULES.join(",")), 2);
        for rule in [
            "",
            "tcp * 0 192.168.122.50 80 52:54:00:12:34:56",
            "tcp * 080 192.168.122.50 80 52:54:00:12:34:56",
            "tcp * 80;id 192.168.122.50 80 52:54:00:12:34:56",
            "icmp * 80 192.168.122.50 80 52:54:00:12:34:56",
            "tcp * 80 192.168.122.500 80 52:54:00:12:34:56",
            "tcp * 80 192.168.122.50 80 52:54:00:12:34:56 more",
        ] {
            assert_eq!(element(rule), 0, "{rule}");
        }
    }

    #[test]
    fn rules_overlap_when_a_packet_could_be_meant_by_both() {
        let rule = |text: &str| format!("{text} 192.168.122.50 80 52:54:00:12:34:56").parse::<PortForward>().unwrap();
        let overlaps = |one: &str, other: &str| rule(one).overlaps(&rule(other));
        assert!(overlaps("tcp * 80", "tcp 10.0.0.1 80") && overlaps("tcp 10.0.0.1 80", "tcp 10.0.0.1 80"));
        assert!(!overlaps("tcp * 80", "udp * 80") && !overlaps("tcp * 80", "tcp * 81"));
        assert!(!overlaps("tcp 10.0.0.1 80", "tcp 10.0.0.2 80"));
    }
}
