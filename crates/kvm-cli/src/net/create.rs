//! `kvmctl net create`.

use std::path::PathBuf;

use kvm_core::{AddressRange, Autostart, DnsName, Error, ErrorKind, NetworkName, Result, Subnet};
use kvm_vm::{
    BridgeName, DhcpChoice, DnsEntry, MacvtapMode, MtuSize, NetworkMode, NetworkSpec, PortGroup, StaticLease, VlanId,
};
use kvm_xml::{Document as _, Network};

use super::Deed;
use crate::args::one_of;
use crate::printer::Printer;
use crate::session::Session;
use crate::text;

/// Arguments of `net create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net create default --cidr 192.168.122.0/24 --autostart\n  \
        kvmctl net create lab --mode isolated --cidr 10.20.0.1/24 --dhcp 10.20.0.100-10.20.0.199 --domain lab\n  \
        kvmctl net create dmz --mode ovs --bridge ovsbr0 --portgroup web,vlan=10 --portgroup db,vlan=20",
    after_long_help = "Modes: nat (the default) and route lead out through the host, open as well but without rules in its packet filter, isolated not \
        at all. bridge and ovs plug guests into a bridge that the host has, macvtap and sriov into its network card --uplink.\n\n\
        Library: kvm_vm::NetworkSpec, kvm_vm::plan_network_create, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// Name of the network.
    #[arg(value_name = "NETWORK", required_unless_present = "from_xml")]
    network: Option<NetworkName>,
    #[command(flatten)]
    flags: Flags,
    /// libvirt's XML instead of flags; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "Flags")]
    from_xml: Option<PathBuf>,
    /// Take everything that the XML says, also options of the host's DHCP server.
    #[arg(long, requires = "from_xml", conflicts_with = "Flags")]
    trust: bool,
    /// Start it when its host boots.
    #[arg(long)]
    autostart: bool,
    /// Print the XML that would be defined and do nothing.
    #[arg(long)]
    print_xml: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What the network is to be like.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "Flags", multiple = true)]
struct Flags {
    /// How guests reach the outside [default: nat].
    #[arg(long, value_parser = one_of!(NetworkMode))]
    mode: Option<NetworkMode>,
    /// Addresses of the network; the host gets the one that is named, or else the first. Once for IPv4, once for IPv6.
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    cidr: Vec<Subnet>,
    /// Addresses that guests get by DHCP; of IPv4 all but the host's if left out; may be repeated.
    #[arg(long, value_name = "FIRST-LAST")]
    dhcp: Vec<AddressRange>,
    /// Give out no addresses.
    #[arg(long, conflicts_with = "dhcp")]
    no_dhcp: bool,
    /// Name of its bridge on the host; a free one if left out. For bridge and ovs the one that the host has.
    #[arg(long, value_name = "BRIDGE")]
    bridge: Option<BridgeName>,
    /// Network card of the host that traffic leaves by.
    #[arg(long, value_name = "INTERFACE")]
    uplink: Option<BridgeName>,
    /// What guests on a macvtap network can reach [default: bridge].
    #[arg(long, value_parser = one_of!(MacvtapMode))]
    macvtap_mode: Option<MacvtapMode>,
    /// DNS domain of guests.
    #[arg(long, value_name = "NAME")]
    domain: Option<DnsName>,
    /// Names that its name server knows; may be repeated.
    #[arg(long, value_name = "ADDRESS=NAME,…")]
    dns_host: Vec<DnsEntry>,
    /// Address that a network device always gets; may be repeated.
    #[arg(long, value_name = "MAC=ADDRESS[,NAME]")]
    lease: Vec<StaticLease>,
    /// Largest packet, in bytes.
    #[arg(long, value_name = "BYTES")]
    mtu: Option<MtuSize>,
    /// VLAN of guests that are in no port group; several make a trunk.
    #[arg(long, value_name = "TAG")]
    vlan: Vec<VlanId>,
    /// Class of network devices; may be repeated.
    #[arg(long, value_name = "NAME[,vlan=TAG…][,default=yes]")]
    portgroup: Vec<PortGroup>,
}

impl Flags {
    fn spec(self, name: NetworkName) -> NetworkSpec {
        NetworkSpec {
            mode: self.mode.unwrap_or(NetworkMode::Nat),
            subnets: self.cidr,
            dhcp: match (self.no_dhcp, self.dhcp.is_empty()) {
                (true, _) => DhcpChoice::None,
                (false, true) => DhcpChoice::All,
                (false, false) => DhcpChoice::Ranges(self.dhcp),
            },
            bridge: self.bridge,
            uplink: self.uplink,
            macvtap: self.macvtap_mode,
            domain: self.domain,
            dns: self.dns_host,
            leases: self.lease,
            mtu: self.mtu,
            vlans: self.vlan,
            port_groups: self.portgroup,
            ..NetworkSpec::new(name)
        }
    }
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let document = match (args.from_xml, args.network) {
        (Some(path), name) => {
            let document = read(&text::read_user_file(&path).await?, args.trust)?;
            match name {
                Some(name) => Network { name: Some(name.into()), ..document },
                None => document,
            }
        }
        (None, Some(name)) => args.flags.spec(name).document()?,
        (None, None) => return Err(Error::invalid("network", "a network needs a name")),
    };
    if args.print_xml {
        NetworkName::parse(document.name.as_deref().unwrap_or_default())?;
        return printer.raw(document.to_xml().as_bytes()).map(|()| None);
    }
    let connection = session.host().await?;
    let autostart = if args.autostart { Autostart::On } else { Autostart::Off };
    let create = kvm_vm::plan_network_create(&connection.host, &document, autostart, &session.plan_context()).await?;
    let deed =
        Deed { connection: &connection, network: create.name, action: "created and started", dry_run: args.dry_run };
    deed.carry_out(create.plan, session, printer).await
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

#[cfg(test)]
mod tests {
    use super::*;

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
