//! From what a person asked for to a network's document.

use kvm_core::{Error, Result, Subnet};
use kvm_xml::Network;
use kvm_xml::common::{Mtu, VirtualPort, VirtualPortType};
use kvm_xml::network::{
    Bridge, Dhcp, DhcpRange, Forward, ForwardInterface, ForwardMode, ForwardPf, NetworkDomain, NetworkIp,
};
use kvm_xml::value::YesNo;

use super::spec::{DhcpChoice, MacvtapMode, NetworkMode as Mode, NetworkSpec, vlan};

impl NetworkSpec {
    /// The document. `InvalidInput` names what the mode needs, what does not suit it, and addresses that lie outside.
    pub fn document(&self) -> Result<Network> {
        self.check_mode()?;
        self.check_addresses()?;
        let mut document = Network {
            name: Some(self.name.as_str().to_owned()),
            forward: self.forward(),
            bridge: self.bridge.as_ref().map(|name| Bridge { name: Some(name.to_string()), ..Bridge::default() }),
            domain: self
                .domain
                .as_ref()
                .map(|name| NetworkDomain { name: Some(name.to_string()), ..NetworkDomain::default() }),
            mtu: self.mtu.map(|size| Mtu { size: Some(size.get()), ..Mtu::default() }),
            vlan: vlan(&self.vlans),
            virtualport: (self.mode == Mode::Ovs)
                .then(|| VirtualPort { r#type: Some(VirtualPortType::Openvswitch), ..VirtualPort::default() }),
            ip: self.subnets.iter().map(|subnet| self.ip(*subnet)).collect(),
            ..Network::default()
        };
        let leases = self.leases.iter().map(|lease| lease.entry());
        let dns = self.dns.iter().map(|host| host.entry());
        for entry in leases.chain(dns).chain(self.port_groups.iter().map(|group| group.entry())) {
            if entry.clashes_in(&document) {
                return Err(Error::invalid("network", format!("{entry}, or its address or name, is there twice")));
            }
            entry.put_into(&mut document)?;
        }
        Ok(document)
    }

    /// Refuses what is missing for the mode, and what has no meaning in it.
    fn check_mode(&self) -> Result<()> {
        let mode = self.mode;
        let has_addresses = matches!(mode, Mode::Nat | Mode::Route | Mode::Open | Mode::Isolated);
        let on_bridge = matches!(mode, Mode::Bridge | Mode::Ovs);
        let on_card = matches!(mode, Mode::Macvtap | Mode::Sriov);
        let needs = [
            (
                "cidr",
                matches!(mode, Mode::Nat | Mode::Route | Mode::Open) && self.subnets.is_empty(),
                "addresses, such as 192.168.100.0/24",
            ),
            ("bridge", on_bridge && self.bridge.is_none(), "the name of a bridge that the host has"),
            ("uplink", on_card && self.uplink.is_none(), "the name of a network card of the host"),
        ];
        if let Some((field, _, what)) = needs.into_iter().find(|(_, is_missing, _)| *is_missing) {
            let message = format!("a network of mode {mode} needs {what}");
            return Err(Error::invalid(field, message).during("complete-network"));
        }
        let wrong = [
            ("cidr", !has_addresses && !self.subnets.is_empty()),
            ("dhcp", !has_addresses && matches!(self.dhcp, DhcpChoice::Ranges(_))),
            ("domain", !has_addresses && self.domain.is_some()),
            ("dns-host", !has_addresses && !self.dns.is_empty()),
            ("lease", !has_addresses && !self.leases.is_empty()),
            ("mtu", !has_addresses && self.mtu.is_some()),
            ("bridge", on_card && self.bridge.is_some()),
            ("uplink", !(on_card || matches!(mode, Mode::Nat | Mode::Route)) && self.uplink.is_some()),
            ("macvtap-mode", mode != Mode::Macvtap && self.macvtap.is_some()),
            ("vlan", !matches!(mode, Mode::Ovs | Mode::Sriov | Mode::Bridge) && !self.vlans.is_empty()),
        ];
        match wrong.into_iter().find(|(_, is_wrong)| *is_wrong) {
            Some((field, _)) => {
                Err(Error::invalid(field, format!("{field} has no meaning for a network of mode {mode}; leave it out")))
            }
            None => Ok(()),
        }
    }

    fn check_addresses(&self) -> Result<()> {
        let families: Vec<_> = self.subnets.iter().map(|subnet| subnet.host().is_ipv4()).collect();
        if families.iter().filter(|is_v4| **is_v4).count() > 1 || families.iter().filter(|is_v4| !**is_v4).count() > 1 {
            return Err(Error::invalid("cidr", "there are two networks of one address family; give one"));
        }
        let networks = || self.subnets.iter().map(|subnet| format!("{subnet}, the host {}", subnet.host()));
        let known = || format!("the network is {}", networks().collect::<Vec<_>>().join(" and "));
        if let DhcpChoice::Ranges(ranges) = &self.dhcp {
            for (i, range) in ranges.iter().enumerate() {
                if !self.subnets.iter().any(|subnet| subnet.holds(*range)) {
                    let message = format!("the DHCP range {range} is not among the addresses of guests");
                    return Err(Error::invalid("dhcp", message).with_detail(known()));
                }
                if ranges.iter().take(i).any(|other| other.overlaps(*range)) {
                    return Err(Error::invalid("dhcp", format!("the DHCP range {range} overlaps another; join them")));
                }
            }
        }
        let strange = |lease: &&super::StaticLease| !self.subnets.iter().any(|s| s.is_for_guest(lease.address.into()));
        match self.leases.iter().find(strange) {
            Some(lease) => {
                let message = format!("{} is not among the addresses of guests", lease.address);
                Err(Error::invalid("lease", message).with_detail(known()))
            }
            None => Ok(()),
        }
    }

    fn forward(&self) -> Option<Forward> {
        let uplink = self.uplink.as_ref().map(ToString::to_string);
        let by = |mode, uplink| Forward { mode: Some(mode), dev: uplink, ..Forward::default() };
        Some(match self.mode {
            Mode::Isolated => return None,
            Mode::Nat => by(ForwardMode::Nat, uplink),
            Mode::Route => by(ForwardMode::Route, uplink),
            Mode::Open => by(ForwardMode::Open, None),
            Mode::Bridge | Mode::Ovs => by(ForwardMode::Bridge, None),
            Mode::Macvtap => Forward {
                mode: Some(match self.macvtap.unwrap_or(MacvtapMode::Bridge) {
                    MacvtapMode::Bridge => ForwardMode::Bridge,
                    MacvtapMode::Private => ForwardMode::Private,
                    MacvtapMode::Vepa => ForwardMode::Vepa,
                    MacvtapMode::Passthrough => ForwardMode::Passthrough,
                }),
                interface: vec![ForwardInterface { dev: uplink, ..ForwardInterface::default() }],
                ..Forward::default()
            },
            Mode::Sriov => Forward {
                mode: Some(ForwardMode::Hostdev),
                managed: Some(YesNo::Yes),
                pf: Some(ForwardPf { dev: uplink, ..ForwardPf::default() }),
                ..Forward::default()
            },
        })
    }

    fn ip(&self, subnet: Subnet) -> NetworkIp {
        let is_v4 = subnet.host().is_ipv4();
        let ranges = match &self.dhcp {
            DhcpChoice::All if is_v4 => vec![subnet.guests()],
            DhcpChoice::All | DhcpChoice::None => Vec::new(),
            DhcpChoice::Ranges(ranges) => ranges.iter().copied().filter(|range| subnet.holds(*range)).collect(),
        };
        let range = ranges.iter().map(|range| DhcpRange {
            start: Some(range.first()),
            end: Some(range.last()),
            ..DhcpRange::default()
        });
        NetworkIp {
            family: (!is_v4).then_some(kvm_xml::domain::IpFamily::Ipv6),
            address: Some(subnet.host()),
            prefix: Some(u32::from(subnet.prefix())),
            dhcp: (!ranges.is_empty()).then(|| Dhcp { range: range.collect(), ..Dhcp::default() }),
            ..NetworkIp::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use kvm_core::NetworkName;
    use kvm_xml::Document as _;

    use super::*;
    use crate::spec::BridgeName;

    fn spec(mode: Mode) -> NetworkSpec {
        NetworkSpec { mode, ..NetworkSpec::new(NetworkName::parse("n").unwrap()) }
    }

    fn name(text: &str) -> Option<BridgeName> {
        Some(BridgeName::parse(text).unwrap())
    }

    #[test]
    fn each_mode_has_its_document() {
        let subnets = vec!["10.20.0.0/24".parse().unwrap()];
        let cases = [
            (
                NetworkSpec { uplink: name("eth0"), subnets: subnets.clone(), ..spec(Mode::Route) },
                "<forward dev='eth0' mode='route'/>",
            ),
            (NetworkSpec { subnets: subnets.clone(), ..spec(Mode::Open) }, "<forward mode='open'/>"),
            (
                NetworkSpec { bridge: name("br0"), ..spec(Mode::Bridge) },
                "<forward mode='bridge'/>\n  <bridge name='br0'/>",
            ),
            (
                NetworkSpec {
                    bridge: name("ovs0"),
                    vlans: vec!["7".parse().unwrap()],
                    port_groups: vec!["dmz,vlan=10,vlan=20".parse().unwrap()],
                    ..spec(Mode::Ovs)
                },
                "<virtualport type='openvswitch'/>",
            ),
            (
                NetworkSpec { uplink: name("eth0"), macvtap: Some(MacvtapMode::Vepa), ..spec(Mode::Macvtap) },
                "<forward mode='vepa'>\n    <interface dev='eth0'/>",
            ),
            (
                NetworkSpec { uplink: name("eth0"), ..spec(Mode::Sriov) },
                "<forward mode='hostdev' managed='yes'>\n    <pf dev='eth0'/>",
            ),
        ];
        for (spec, part) in cases {
            let document = spec.document().unwrap();
            assert!(document.to_xml().contains(part), "{}", document.to_xml());
            assert_eq!(document.validate(), []);
        }
        let isolated = spec(Mode::Isolated).document().unwrap();
        assert_eq!((isolated.forward.is_none(), isolated.ip.len()), (true, 0));
    }

    #[test]
    fn all_parts_stand_in_the_document() {
        let spec = NetworkSpec {
            subnets: vec!["10.20.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
            dhcp: DhcpChoice::Ranges(vec!["10.20.0.100-10.20.0.199".parse().unwrap()]),
            domain: Some("lab".parse().unwrap()),
            dns: vec!["10.20.0.1=gate".parse().unwrap()],
            leases: vec!["52:54:00:00:00:01=10.20.0.5,web".parse().unwrap()],
            mtu: Some("9000".parse().unwrap()),
            ..spec(Mode::Nat)
        };
        let xml = spec.document().unwrap().to_xml();
        for part in [
            "<mtu size='9000'/>",
            "<domain name='lab'/>",
            "<hostname>gate</hostname>",
            "<range start='10.20.0.100' end='10.20.0.199'/>",
            "<host mac='52:54:00:00:00:01' name='web' ip='10.20.0.5'/>",
            "<ip family='ipv6' address='fd00::1' prefix='64'/>",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }

    #[test]
    fn what_does_not_suit_is_named() {
        let subnets = vec!["10.20.0.0/24".parse().unwrap()];
        let ranges = |texts: &[&str]| DhcpChoice::Ranges(texts.iter().map(|text| text.parse().unwrap()).collect());
        for (spec, field) in [
            (spec(Mode::Nat), "cidr"),
            (spec(Mode::Bridge), "bridge"),
            (spec(Mode::Macvtap), "uplink"),
            (NetworkSpec { bridge: name("br0"), subnets: subnets.clone(), ..spec(Mode::Bridge) }, "cidr"),
            (NetworkSpec { uplink: name("eth0"), bridge: name("br0"), ..spec(Mode::Sriov) }, "bridge"),
            (NetworkSpec { uplink: name("eth0"), ..spec(Mode::Isolated) }, "uplink"),
            (NetworkSpec { subnets: subnets.clone(), vlans: vec!["1".parse().unwrap()], ..spec(Mode::Nat) }, "vlan"),
            (
                NetworkSpec { subnets: subnets.clone(), dhcp: ranges(&["10.20.0.1-10.20.0.5"]), ..spec(Mode::Nat) },
                "dhcp",
            ),
            (
                NetworkSpec {
                    subnets: subnets.clone(),
                    dhcp: ranges(&["10.20.0.5-10.20.0.9", "10.20.0.9-10.20.0.20"]),
                    ..spec(Mode::Nat)
                },
                "dhcp",
            ),
            (
                NetworkSpec {
                    subnets: subnets.clone(),
                    leases: vec!["52:54:00:00:00:01=10.21.0.5".parse().unwrap()],
                    ..spec(Mode::Nat)
                },
                "lease",
            ),
            (
                NetworkSpec {
                    subnets: subnets.clone(),
                    leases: vec![
                        "52:54:00:00:00:01=10.20.0.5".parse().unwrap(),
                        "52:54:00:00:00:02=10.20.0.5".parse().unwrap(),
                    ],
                    ..spec(Mode::Nat)
                },
                "network",
            ),
            (NetworkSpec { subnets: [subnets.clone(), subnets].concat(), ..spec(Mode::Nat) }, "cidr"),
        ] {
            let e = spec.document().unwrap_err();
            assert_eq!(e.resource(), Some(&kvm_core::Resource::Field(field.into())), "{e}");
        }
    }
}
