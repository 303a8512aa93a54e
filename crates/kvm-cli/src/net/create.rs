//! `kvmctl net create`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use kvm_core::{Autostart, Error, ErrorKind, NetworkName, Networks, NetworksExt as _, Result};
use kvm_vm::BridgeName;
use kvm_xml::network::{Bridge, Dhcp, DhcpRange, Forward, ForwardMode, NetworkIp};
use kvm_xml::{Document as _, Network};

use super::Changed;
use crate::printer::Printer;
use crate::session::Session;
use crate::text;

/// Arguments of `net create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net create default --cidr 192.168.122.0/24 --autostart\n  \
        kvmctl net create lab --cidr 10.20.0.1/24 --bridge virbr7 --dhcp 10.20.0.100-10.20.0.199\n  \
        kvmctl net create --from-xml routed.xml --print-xml",
    after_long_help = "With --cidr the host is the gateway and translates addresses (NAT); any other network is made from libvirt's XML.\n\n\
        Library: kvm_core::NetworksExt::create"
)]
pub struct Args {
    /// Name of the network.
    #[arg(value_name = "NETWORK", required_unless_present = "from_xml")]
    network: Option<NetworkName>,
    /// Addresses of the network; the host gets the one that is named, or else the first.
    #[arg(long, value_name = "ADDRESS/PREFIX", required_unless_present = "from_xml")]
    cidr: Option<Cidr>,
    /// Name of its bridge on the host; a free one if left out.
    #[arg(long, value_name = "BRIDGE")]
    bridge: Option<BridgeName>,
    /// Addresses that guests get by DHCP; all but the host's if left out.
    #[arg(long, value_name = "FIRST-LAST", value_parser = range)]
    dhcp: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Give out no addresses.
    #[arg(long, conflicts_with = "dhcp")]
    no_dhcp: bool,
    /// libvirt's XML instead of flags; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cidr", "bridge", "dhcp", "no_dhcp"])]
    from_xml: Option<PathBuf>,
    /// Take everything that the XML says, also options of the host's DHCP server.
    #[arg(long, requires = "from_xml")]
    trust: bool,
    /// Start it when its host boots.
    #[arg(long)]
    autostart: bool,
    /// Print the XML that would be defined and do nothing.
    #[arg(long)]
    print_xml: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let mut document = match &args.from_xml {
        Some(path) => read(&text::read_user_file(path).await?, args.trust)?,
        None => described(&args)?,
    };
    if let Some(name) = &args.network {
        document.name = Some(name.as_str().to_owned());
    }
    // What is new has a name that a person may choose, wherever it comes from.
    let network = NetworkName::parse(document.name.as_deref().unwrap_or_default())?;
    if args.print_xml {
        return printer.raw(document.to_xml().as_bytes()).map(|()| None);
    }
    let connection = session.host().await?;
    let networks = &*connection.host.networks;
    check_free(networks, &document).await?;
    let autostart = if args.autostart { Autostart::On } else { Autostart::Off };
    networks.create(&document, autostart).await?;
    printer.show(&Changed { network, action: "created and started" })
}

/// Refuses addresses that another network of the host has: libvirt would not start this one.
async fn check_free(networks: &dyn Networks, document: &Network) -> Result<()> {
    for other in
        networks.list().await?.into_iter().filter(|other| Some(other.name.as_str()) != document.name.as_deref())
    {
        let taken = networks.definition(&other.name).await?;
        let is_taken = |ours: &Cidr| taken.ip.iter().filter_map(Cidr::of).any(|theirs| theirs.overlaps(*ours));
        if let Some(ours) = document.ip.iter().filter_map(Cidr::of).find(is_taken) {
            let network = Ipv4Addr::from_bits(ours.first());
            let message = format!("addresses of {network}/{} are those of network {}", ours.prefix, other.name);
            return Err(Error::invalid("cidr", message));
        }
    }
    Ok(())
}

/// Reads a document. Unless it is trusted, it has nothing that this program does not know, and no lines for the
/// configuration of dnsmasq, which runs programs that it is told to.
fn read(xml: &str, trust: bool) -> Result<Network> {
    let document = if trust { Network::from_xml(xml) } else { Network::from_xml_strict(xml) };
    let document = document.map_err(|e| Error::invalid("from-xml", e.to_string()))?;
    if !trust && document.dnsmasq_options.is_some() {
        let message = "the document has options for dnsmasq, which can run programs on the host";
        return Err(Error::invalid("from-xml", message).with_detail("--trust takes them"));
    }
    Ok(document)
}

/// The document of a network with address translation.
fn described(args: &Args) -> Result<Network> {
    let Some(cidr) = args.cidr else { return Err(Error::invalid("cidr", "a network needs addresses")) };
    let host = cidr.host();
    let range = match (args.no_dhcp, args.dhcp) {
        (true, _) => None,
        (false, Some(range)) => Some(cidr.holds_guests(range)?),
        (false, None) => Some(cidr.guests()),
    };
    let dhcp = range.map(|(start, end)| {
        let range = DhcpRange { start: Some(start.into()), end: Some(end.into()), ..DhcpRange::default() };
        Dhcp { range: vec![range], ..Dhcp::default() }
    });
    Ok(Network {
        forward: Some(Forward { mode: Some(ForwardMode::Nat), ..Forward::default() }),
        bridge: args.bridge.as_ref().map(|name| Bridge { name: Some(name.to_string()), ..Bridge::default() }),
        ip: vec![NetworkIp {
            address: Some(IpAddr::V4(host)),
            prefix: Some(u32::from(cidr.prefix)),
            dhcp,
            ..NetworkIp::default()
        }],
        ..Network::default()
    })
}

/// An IPv4 network, and perhaps the host's address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let is_number = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
            Some(Self { address: address.parse().ok()?, prefix: prefix.parse().ok().filter(|_| is_number)? })
        });
        let Some(cidr) = parsed else {
            return Err(Error::invalid("cidr", "it is not an IPv4 network such as 192.168.100.0/24"));
        };
        if !(8..=30).contains(&cidr.prefix) {
            return Err(Error::invalid("cidr", "its prefix is not 8 to 30, which leave room for the host and a guest"));
        }
        if cidr.address.to_bits() == cidr.last() {
            return Err(Error::invalid("cidr", "it is the network's broadcast address"));
        }
        let range = cidr.address;
        if range.is_loopback() || range.is_multicast() || range.is_unspecified() || range.is_broadcast() {
            return Err(Error::invalid("cidr", "its addresses are not for a network of machines"));
        }
        Ok(cidr)
    }
}

impl Cidr {
    /// What an element of a document says, where that is about IPv4.
    fn of(ip: &NetworkIp) -> Option<Self> {
        let IpAddr::V4(address) = ip.address? else { return None };
        let prefix = ip.prefix.or(ip.netmask.map(|mask| mask.to_bits().leading_ones()))?;
        Some(Self { address, prefix: u8::try_from(prefix).ok().filter(|prefix| (1..=32).contains(prefix))? })
    }

    fn overlaps(self, other: Self) -> bool {
        self.first() <= other.last() && other.first() <= self.last()
    }

    fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }

    /// The network's own address.
    fn first(self) -> u32 {
        self.address.to_bits() & self.mask()
    }

    /// The broadcast address.
    fn last(self) -> u32 {
        self.first() | !self.mask()
    }

    fn host(self) -> Ipv4Addr {
        match self.address.to_bits() == self.first() {
            true => Ipv4Addr::from_bits(self.first() + 1),
            false => self.address,
        }
    }

    /// The longer of the stretches before and behind the host's address.
    fn guests(self) -> (Ipv4Addr, Ipv4Addr) {
        let host = self.host().to_bits();
        let (before, behind) = ((self.first() + 1, host - 1), (host + 1, self.last() - 1));
        let length = |(start, end): (u32, u32)| (end + 1).saturating_sub(start);
        let (start, end) = if length(behind) >= length(before) { behind } else { before };
        (Ipv4Addr::from_bits(start), Ipv4Addr::from_bits(end))
    }

    /// The same range, if guests of this network can have its addresses.
    fn holds_guests(self, range: (Ipv4Addr, Ipv4Addr)) -> Result<(Ipv4Addr, Ipv4Addr)> {
        let (start, end) = (range.0.to_bits(), range.1.to_bits());
        let inside = self.first() < start && end < self.last();
        match inside && !(start..=end).contains(&self.host().to_bits()) {
            true => Ok(range),
            false => {
                let message = format!("the DHCP range {}-{} is not among the addresses of guests", range.0, range.1);
                let first = Ipv4Addr::from_bits(self.first());
                Err(Error::invalid("dhcp", message).with_detail(format!(
                    "the network is {first}/{}, the host {}",
                    self.prefix,
                    self.host()
                )))
            }
        }
    }
}

fn range(text: &str) -> std::result::Result<(Ipv4Addr, Ipv4Addr), &'static str> {
    let parsed = text.split_once('-').and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
    parsed.filter(|(start, end)| start <= end).ok_or("it is not a range such as 192.168.100.10-192.168.100.99")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(cidr: &str) -> String {
        let cidr: Cidr = cidr.parse().unwrap();
        let (start, end) = cidr.guests();
        format!("{} {start}-{end}", cidr.host())
    }

    #[test]
    fn the_host_has_the_first_address_or_the_one_that_is_named() {
        assert_eq!(guests("192.168.122.0/24"), "192.168.122.1 192.168.122.2-192.168.122.254");
        assert_eq!(guests("10.20.0.254/24"), "10.20.0.254 10.20.0.1-10.20.0.253");
        assert_eq!(guests("10.20.0.0/30"), "10.20.0.1 10.20.0.2-10.20.0.2");
        assert_eq!(guests("10.20.0.2/30"), "10.20.0.2 10.20.0.1-10.20.0.1");
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
            "fd00::/64",
            "127.0.0.0/8",
            "224.0.0.0/8",
            "0.0.0.0/8",
            "10.0.0.0/24/24",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        let cidr: Cidr = "10.20.0.0/24".parse().unwrap();
        let holds = |text: &str| cidr.holds_guests(range(text).unwrap()).is_ok();
        assert!(holds("10.20.0.2-10.20.0.254"));
        for text in ["10.20.0.1-10.20.0.9", "10.20.0.0-10.20.0.9", "10.20.0.9-10.20.0.255", "10.21.0.2-10.21.0.9"] {
            assert!(!holds(text), "{text}");
        }
        assert!(range("10.20.0.9-10.20.0.2").is_err());
    }

    #[test]
    fn a_stranger_cannot_have_the_hosts_dhcp_server_run_a_program() {
        let option = "<dnsmasq:option value='dhcp-script=/bin/x'/>";
        let xml = format!(
            "<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'><name>a</name>\
             <dnsmasq:options>{option}</dnsmasq:options></network>"
        );
        assert_eq!(read(&xml, false).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(read(&xml, true).unwrap().to_xml().contains("dhcp-script"));
        assert!(read("<network><name>a</name><unheard-of/></network>", false).is_err());
    }
}
