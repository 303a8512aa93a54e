//! Networks by their addresses, and ranges in them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::text::{refused, text_serde};
use crate::{Error, Result};

/// The addresses of a network, with the one that the host has in it.
///
/// ```
/// use kvm_core::Subnet;
/// let subnet = Subnet::parse("192.168.122.0/24")?;
/// assert_eq!(subnet.host().to_string(), "192.168.122.1");
/// assert_eq!(subnet.guests().to_string(), "192.168.122.2-192.168.122.254");
/// assert!(Subnet::parse("192.168.122.255/24").is_err());
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// A stretch of addresses of one family, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

const FIELD: &str = "cidr";

impl Subnet {
    /// Takes `ADDRESS/PREFIX` with room for the host and a guest. The host gets the address that is named, or else the
    /// first. `InvalidInput` for what is not a network of machines.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| refused(FIELD, "network", text, why);
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let is_plain = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
            Some((address.parse().ok()?, prefix.parse().ok().filter(|_| is_plain)?))
        });
        let Some((address, prefix)) = parsed else {
            return Err(refuse("is not a network such as 192.168.100.0/24"));
        };
        let subnet = Self { address, prefix };
        let longest = subnet.bits() - 2;
        if !(8..=longest).contains(&prefix) {
            return Err(refuse(&format!(
                "has a prefix that is not 8 to {longest}, which leave room for the host and a guest"
            )));
        }
        if address.is_ipv4() && number(address) == subnet.last() {
            return Err(refuse("is the network's broadcast address"));
        }
        let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        if address.is_loopback() || address.is_multicast() || address.is_unspecified() || is_link_local {
            return Err(refuse("has addresses that are not for a network of machines"));
        }
        Ok(subnet)
    }

    /// Takes an address with its prefix as somebody else set it. `None` when the prefix is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let subnet = Self { address, prefix };
        (prefix <= subnet.bits()).then_some(subnet)
    }

    /// What an element of a network's document says; `None` where it says no network.
    #[must_use]
    pub fn of(ip: &kvm_xml::network::NetworkIp) -> Option<Self> {
        let prefix = ip.prefix.or(ip.netmask.map(|mask| mask.to_bits().leading_ones()))?;
        Self::new(ip.address?, u8::try_from(prefix).ok()?)
    }

    /// Length of the network's part, in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The host's address.
    #[must_use]
    pub fn host(self) -> IpAddr {
        if number(self.address) == self.first() { self.address_at(self.first() + 1) } else { self.address }
    }

    /// The network's own address.
    #[must_use]
    pub fn network(self) -> IpAddr {
        self.address_at(self.first())
    }

    /// Whether an address belongs to it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && (self.first()..=self.last()).contains(&number(address))
    }

    /// Whether a guest can have the address: it belongs to the network, and is neither the host's nor means all or none.
    #[must_use]
    pub fn is_for_guest(self, address: IpAddr) -> bool {
        let all_or_none = [self.first(), self.last()].contains(&number(address)) && address.is_ipv4();
        self.contains(address) && !all_or_none && address != self.host() && number(address) != self.first()
    }

    /// Whether an address belongs to both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.first() <= other.last()
            && other.first() <= self.last()
    }

    /// The longer of the stretches before and behind the host's address.
    #[must_use]
    pub fn guests(self) -> AddressRange {
        let host = number(self.host());
        let end = if self.address.is_ipv4() { self.last() - 1 } else { self.last() };
        let (before, behind) = ((self.first() + 1, host - 1), (host + 1, end));
        let length = |(start, end): (u128, u128)| (end + 1).saturating_sub(start);
        let (first, last) = if length(behind) >= length(before) { behind } else { before };
        AddressRange { first: self.address_at(first), last: self.address_at(last) }
    }

    /// Whether guests of this network can have all addresses of a range.
    #[must_use]
    pub fn holds(self, range: AddressRange) -> bool {
        let host = number(self.host());
        let holds_host = self.contains(range.first) && (number(range.first)..=number(range.last)).contains(&host);
        self.is_for_guest(range.first) && self.is_for_guest(range.last) && !holds_host
    }

    fn bits(self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    fn first(self) -> u128 {
        number(self.address) & !self.hosts()
    }

    fn last(self) -> u128 {
        self.first() | self.hosts()
    }

    /// The bits that tell machines apart.
    fn hosts(self) -> u128 {
        1_u128.checked_shl((self.bits() - self.prefix).into()).map_or(u128::MAX, |size| size - 1)
    }

    fn address_at(self, number: u128) -> IpAddr {
        match self.address {
            // Numbers within the network fit.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

impl AddressRange {
    /// Takes `FIRST-LAST`. `InvalidInput` when it is not a range of one family.
    pub fn parse(text: &str) -> Result<Self> {
        let parsed = text.split_once('-').and_then(|(first, last)| Self::new(first.parse().ok()?, last.parse().ok()?));
        parsed.ok_or_else(|| {
            refused("dhcp", "range", text, "is not one such as 192.168.100.10-192.168.100.99, first to last")
        })
    }

    /// From the first to the last address; `None` when they are not in order, or of two families.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// The first address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The last address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        self.last
    }

    /// Whether an address belongs to both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4() && self.first <= other.last && other.first <= self.last
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.address, self.prefix))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.first, self.last))
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl FromStr for AddressRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(Subnet, "a network", Subnet::parse, |subnet| &subnet.to_string());
text_serde!(AddressRange, "a range of addresses", AddressRange::parse, |range| &range.to_string());

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(cidr: &str) -> String {
        let subnet = Subnet::parse(cidr).unwrap();
        format!("{} {}", subnet.host(), subnet.guests())
    }

    #[test]
    fn the_host_has_the_first_address_or_the_one_that_is_named() {
        assert_eq!(guests("192.168.122.0/24"), "192.168.122.1 192.168.122.2-192.168.122.254");
        assert_eq!(guests("10.20.0.254/24"), "10.20.0.254 10.20.0.1-10.20.0.253");
        assert_eq!(guests("10.20.0.0/30"), "10.20.0.1 10.20.0.2-10.20.0.2");
        assert_eq!(guests("10.20.0.2/30"), "10.20.0.2 10.20.0.1-10.20.0.1");
        assert_eq!(guests("fd00:1::/64"), "fd00:1::1 fd00:1::2-fd00:1::ffff:ffff:ffff:ffff");
    }

    #[test]
    fn what_is_no_network_for_guests_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/33",
            "10.0.0.0/31",
            "10.0.0.255/24",
            "10.0.0.0/24/24",
            "127.0.0.0/8",
            "224.0.0.0/8",
            "0.0.0.0/8",
            "fd00::/127",
            "fe80::/64",
            "ff02::/16",
            "::1/64",
            "fd00::%eth0/64",
        ] {
            assert!(Subnet::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_held_when_guests_can_have_all_of_it() {
        let subnet = Subnet::parse("10.20.0.0/24").unwrap();
        let holds = |text: &str| subnet.holds(AddressRange::parse(text).unwrap());
        assert!(holds("10.20.0.2-10.20.0.254") && holds("10.20.0.9-10.20.0.9"));
        for text in ["10.20.0.1-10.20.0.9", "10.20.0.0-10.20.0.9", "10.20.0.9-10.20.0.255", "10.21.0.2-10.21.0.9"] {
            assert!(!holds(text), "{text}");
        }
        assert!(!subnet.holds(AddressRange::parse("fd00::2-fd00::9").unwrap()));
        for text in ["10.20.0.9-10.20.0.2", "10.20.0.9", "10.20.0.9-fd00::1", "-", ""] {
            assert!(AddressRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_of_one_family_overlap_when_they_share_an_address() {
        let overlaps = |a: &str, b: &str| Subnet::parse(a).unwrap().overlaps(Subnet::parse(b).unwrap());
        assert!(overlaps("10.20.0.0/16", "10.20.7.1/24") && overlaps("10.20.7.1/24", "10.20.0.0/16"));
        assert!(!overlaps("10.20.0.0/24", "10.20.1.0/24") && !overlaps("10.0.0.0/8", "fd00::/64"));
        assert!(overlaps("fd00::/48", "fd00:0:0:7::/64"));
    }
}
