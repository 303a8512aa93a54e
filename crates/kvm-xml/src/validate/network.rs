//! Networks: addresses, DHCP, port groups.

use super::ProblemKind::{Conflict, Duplicate, OutOfRange};
use super::Problems;
use super::look::Owners;
use super::system::name;
use crate::diff::label;
use crate::domain::IpFamily;
use crate::element::Item;
use crate::network::{DhcpHost, DhcpRange, ForwardMode, Network, NetworkIp};
use crate::value::YesNo;
use std::net::IpAddr;

pub(super) fn check(network: &Network, problems: &mut Problems) {
    name(network.name.as_deref(), "network", problems);
    forward(network, problems);
    let (mut with_dhcp, mut subnets) = (Owners::new(), Vec::new());
    let mut hosts = Hosts { macs: Owners::new(), addresses: Owners::new(), names: Owners::new() };
    for (position, ip) in network.ip.iter().enumerate() {
        let path = format!("ip[{}]", ip.address.map_or_else(|| position.to_string(), |address| address.to_string()));
        let subnet = subnet(ip, &path, problems);
        subnets.extend(subnet);
        let Some(dhcp) = &ip.dhcp else { continue };
        let is_v6 = ip.address.is_some_and(|address| address.is_ipv6());
        if with_dhcp.take(is_v6, &path).is_some() {
            problems.error(
                format!("{path}.dhcp"),
                Duplicate,
                "another address has DHCP; give it to one of each family",
            );
        }
        let mut ranges = Vec::new();
        for range in &dhcp.range {
            let at = format!("{path}.dhcp.range[{}]", shown(range.start));
            ranges.extend(check_range(range, subnet, ip.address, &at, problems).map(|(start, end)| (start, end, at)));
        }
        ranges.sort_unstable();
        for ((_, end, owner), (start, _, at)) in ranges.iter().zip(ranges.iter().skip(1)) {
            if start <= end {
                problems.warning(at, Duplicate, format!("{owner} has the same addresses; join them, or move one"));
            }
        }
        for (position, host) in dhcp.host.iter().enumerate() {
            let label = host.mac.map(|mac| mac.to_string()).or_else(|| host.name.clone());
            let at = format!("{path}.dhcp.host[{}]", label.unwrap_or_else(|| position.to_string()));
            hosts.check(host, subnet, ip.address, &at, problems);
        }
    }
    // An address without a mask may reach anything.
    let are_all = subnets.len() == network.ip.len();
    for (position, route) in network.route.iter().enumerate() {
        let path = format!("route[{}]", label(Item::Element(route), position));
        match route.gateway {
            None => problems.missing(format!("{path}.gateway"), "it has to be said who takes the packets"),
            Some(gateway) if are_all && !subnets.iter().any(|subnet| subnet.contains(gateway)) => {
                let message = "no address of the network reaches it; choose one that is in its subnet";
                problems.error(format!("{path}.gateway"), OutOfRange, message);
            }
            Some(_) => {}
        }
    }
}

fn forward(network: &Network, problems: &mut Problems) {
    let mode = network.forward.as_ref().map(|forward| forward.mode.unwrap_or(ForwardMode::Nat));
    let on_the_host =
        [ForwardMode::Bridge, ForwardMode::Private, ForwardMode::Vepa, ForwardMode::Passthrough, ForwardMode::Hostdev];
    if let Some(mode) = mode.filter(|mode| on_the_host.contains(mode))
        && !network.ip.is_empty()
    {
        let message = format!("a network of mode {mode} has no addresses of its own; take them out");
        problems.error("ip", Conflict, message);
    }
    if mode == Some(ForwardMode::Nat) && network.ip.iter().all(|ip| ip.address.is_none()) {
        problems.missing("ip", "a network with NAT has an address; add one");
    }
    let forward = network.forward.as_ref();
    let leads_out = forward.is_some_and(|forward| forward.dev.is_some() || !forward.interface.is_empty());
    let bridge = network.bridge.as_ref().and_then(|bridge| bridge.name.as_ref());
    if mode == Some(ForwardMode::Bridge) && bridge.is_some() && leads_out {
        problems.error("bridge.name", Conflict, "the network forwards to a device too; keep one of them");
    }
    if let Some(nat) = forward.and_then(|forward| forward.nat.as_ref()) {
        if nat.address.as_ref().is_some_and(|range| range.start > range.end && range.end.is_some()) {
            problems.error("forward.nat.address", OutOfRange, "it ends before it starts; swap start and end");
        }
        if nat.port.as_ref().is_some_and(|range| range.start > range.end && range.end.is_some()) {
            problems.error("forward.nat.port", OutOfRange, "it ends before it starts; swap start and end");
        }
    }
    let mut interfaces = Owners::new();
    for dev in network.forward.iter().flat_map(|forward| &forward.interface).filter_map(|dev| dev.dev.as_deref()) {
        let path = format!("forward.interface[{dev}]");
        if interfaces.take(dev, &path).is_some() {
            problems.error(path, Duplicate, "it is there twice; keep one");
        }
    }
    let mut groups = Owners::new();
    let mut default = None;
    for group in &network.portgroup {
        let path = format!("portgroup[{}]", group.name.as_deref().unwrap_or_default());
        if groups.take(group.name.as_deref(), &path).is_some() {
            problems.error(&path, Duplicate, "another port group has this name; choose another");
        }
        if group.default.is_some_and(YesNo::is_yes)
            && let Some(owner) = default.replace(path.clone())
        {
            problems.error(format!("{path}.default"), Duplicate, format!("{owner} is the default; keep one"));
        }
    }
}

/// A range of addresses as numbers, with its family.
#[derive(Clone, Copy)]
struct Subnet {
    is_v4: bool,
    first: u128,
    last: u128,
}

impl Subnet {
    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4 && (self.first..=self.last).contains(&value(address))
    }
}

fn value(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn shown(address: Option<IpAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// Checks an address with its mask; the subnet that they make.
fn subnet(ip: &NetworkIp, path: &str, problems: &mut Problems) -> Option<Subnet> {
    let address = ip.address?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    if ip.family.is_some_and(|family| (family == IpFamily::Ipv4) != address.is_ipv4()) {
        problems.error(format!("{path}.family"), Conflict, "the address is of the other family; leave the family out");
    }
    if address.is_ipv6() && ip.netmask.is_some() {
        problems.error(format!("{path}.netmask"), Conflict, "an IPv6 address has no netmask; give a prefix");
    }
    if ip.netmask.is_some() && ip.prefix.is_some() {
        problems.error(format!("{path}.prefix"), Conflict, "there is a netmask too; keep one");
    }
    let prefix = match (ip.prefix, ip.netmask) {
        (Some(prefix), _) => prefix,
        (None, Some(mask)) if mask.to_bits().count_ones() == mask.to_bits().leading_ones() => {
            mask.to_bits().leading_ones()
        }
        (None, Some(mask)) => {
            problems.warning(format!("{path}.netmask"), Conflict, format!("{mask} is no mask; give a prefix"));
            return None;
        }
        (None, None) => return None,
    };
    if prefix > bits {
        problems.error(format!("{path}.prefix"), OutOfRange, format!("an address has {bits} bits; lower it"));
        return None;
    }
    let hosts = 1_u128.checked_shl(bits - prefix).map_or(u128::MAX, |size| size - 1);
    let first = value(address) & !hosts;
    Some(Subnet { is_v4: address.is_ipv4(), first, last: first | hosts })
}

/// Checks a DHCP range; its first and last address when they make one.
fn check_range(
    range: &DhcpRange,
    subnet: Option<Subnet>,
    own: Option<IpAddr>,
    path: &str,
    problems: &mut Problems,
) -> Option<(u128, u128)> {
    let (Some(start), Some(end)) = (range.start, range.end) else {
        problems.missing(path, "a range has a start and an end; give both");
        return None;
    };
    if start.is_ipv4() != end.is_ipv4() || value(start) > value(end) {
        problems.error(path, OutOfRange, format!("it ends at {end}, before it starts; swap them"));
        return None;
    }
    let Some(subnet) = subnet else { return Some((value(start), value(end))) };
    if !subnet.contains(start) || !subnet.contains(end) {
        problems.error(path, OutOfRange, "it goes beyond the network's addresses; move it inside");
        return None;
    }
    if subnet.is_v4 && subnet.last - subnet.first > 1 {
        if value(start) == subnet.first {
            problems.error(path, OutOfRange, "the first address is the network's own; start one higher");
        } else if value(end) == subnet.last {
            problems.error(path, OutOfRange, "the last address is for broadcasts; end one lower");
        }
    }
    if own.is_some_and(|own| (value(start)..=value(end)).contains(&value(own))) {
        problems.warning(path, Conflict, "the host's own address is in it; start behind it");
    }
    Some((value(start), value(end)))
}

/// What the hosts of all addresses have.
struct Hosts<'a> {
    macs: Owners<[u8; 6]>,
    addresses: Owners<IpAddr>,
    names: Owners<&'a str>,
}

impl<'a> Hosts<'a> {
    fn check(
        &mut self,
        host: &'a DhcpHost,
        subnet: Option<Subnet>,
        own: Option<IpAddr>,
        path: &str,
        problems: &mut Problems,
    ) {
        if host.mac.is_none() && host.id.is_none() && host.name.is_none() {
            problems.missing(path, "a host is known by its mac, its id or its name; give one");
        }
        if host.mac.is_some_and(crate::value::MacAddr::is_multicast) {
            problems.error(format!("{path}.mac"), Conflict, "it is the address of a group; make the first byte even");
        }
        let mut twice = |field: &str, owner: Option<String>| {
            if let Some(owner) = owner {
                let owner = super::look::other(&owner, path, "host");
                problems.warning(format!("{path}.{field}"), Duplicate, format!("{owner} has the same; choose another"));
            }
        };
        twice("mac", host.mac.and_then(|mac| self.macs.take(mac.0, path)));
        twice("ip", host.ip.and_then(|ip| self.addresses.take(ip, path)));
        twice("name", host.name.as_deref().and_then(|name| self.names.take(name, path)));
        match host.ip {
            None => problems.missing(format!("{path}.ip"), "it has to be said which address the host gets"),
            Some(ip) if subnet.is_some_and(|subnet| !subnet.contains(ip)) => {
                let message = "it is none of the network's addresses; choose one of them";
                problems.warning(format!("{path}.ip"), OutOfRange, message);
            }
            Some(ip) if own == Some(ip) => {
                problems.warning(format!("{path}.ip"), Conflict, "it is the host's own address; choose another");
            }
            Some(_) => {}
        }
    }
}
