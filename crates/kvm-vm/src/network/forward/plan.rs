//! Forwards that come and go.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{
    Capabilities, Error, ErrorKind, Host, Impact, MacAddr, NetworkEntry, NetworkInfo, NetworkName, Port, Resource,
    Result, View, VmSummary,
};
use kvm_xml::Network;
use kvm_xml::network::ForwardMode;

use super::hook::Hook;
use super::look::{listener, port_forwards};
use super::rule::{PortForward, PortProtocol};
use crate::network::links::{Link, links};
use crate::network::{StaticLease, error};
use crate::step::{AddNetworkEntry, InstallHook, SetForwards};

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(10);

/// A forward that a network is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAdd {
    /// What it speaks.
    pub protocol: PortProtocol,
    /// The host's address; all of them if left out.
    pub address: Option<Ipv4Addr>,
    /// The host's port.
    pub port: Port,
    /// The guest's port; the host's if left out.
    pub guest_port: Option<Port>,
    /// The guest's network device; its only one on the network if left out.
    pub mac: Option<MacAddr>,
}

/// Which forward a network is to lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardRemove {
    /// What it speaks.
    pub protocol: PortProtocol,
    /// The host's address, where the forward has one.
    pub address: Option<Ipv4Addr>,
    /// The host's port.
    pub port: Port,
}

/// A forward that could come or go.
#[derive(Debug)]
pub struct ForwardPlan {
    /// What would happen; its `Display` is the dry run.
    pub plan: Plan,
    /// The forward.
    pub forward: PortForward,
}

/// Plans a forward to a guest: the hook on the host where it is not there yet, a fixed address for the guest where it has
/// none, and the rule. It works at once, and again whenever the network starts.
///
/// Everything that can be checked is checked before anything is written: that the network translates addresses and is
/// active, that the machine has a device on it with an address, that neither another forward nor a program of the host
/// takes the port, that the host's address is one, and that the host's files and programs are those of the hypervisor.
///
/// `AlreadyExists` when the port is taken, `NotFound`, `InvalidState` and `InvalidInput` name what is missing, not ready or
/// wrong; `Unsupported` for a host without iptables, and for one whose libvirt writes rules for nftables.
pub async fn plan_forward_add(
    host: &Host,
    network: &NetworkName,
    vm: &VmSummary,
    wanted: &ForwardAdd,
) -> Result<ForwardPlan> {
    let host_info = host.hypervisor.capabilities().await?;
    let info = host.networks.find(network).await?;
    let document = translating(host, &info).await?;
    let links = own_links(host, &info, &document).await?;
    check_filter(host).await?;
    if let Some(address) = wanted.address
        && !links.iter().any(|link| link.has(address.into()))
    {
        return Err(Error::invalid("address", format!("the host does not have the address {address}")));
    }
    let mac = device(host, network, vm, wanted.mac).await?;
    let (guest, is_fixed) = address(host, network, vm, mac, &document).await?;
    let guest_port = wanted.guest_port.unwrap_or(wanted.port);
    let (protocol, port) = (wanted.protocol, wanted.port);
    let forward = PortForward { protocol, address: wanted.address, port, guest, guest_port, mac };
    check_port(host, &forward).await?;

    let (mut lines, mut steps) = (Vec::new(), Vec::new());
    install_hook(host, &mut lines, &mut steps).await?;
    if !is_fixed {
        lines.push(PlanLine::new("reserve", "address", guest.to_string()).note(format!("MAC {mac}")));
        let entry = StaticLease { mac, address: guest, name: None }.entry();
        steps.push(Box::new(AddNetworkEntry { network: network.clone(), entry, impact: Impact::Both }));
    }
    lines.push(PlanLine::new("forward", "port", forward.entrance()).note(format!("{}, {guest}:{guest_port}", vm.name)));
    let before = PortForward::of(&document);
    let after = before.iter().cloned().chain([forward.clone()]).collect();
    steps.push(Box::new(SetForwards { network: network.clone(), before, after }));
    let title = format!("forward {} to {} on {}", forward.entrance(), vm.name, host_info.target);
    Ok(ForwardPlan { plan: plan("net.forward", title, &host_info, network, lines, steps), forward })
}

/// Plans to take a forward away. `NotFound` when the network has none like it.
pub async fn plan_forward_remove(host: &Host, network: &NetworkName, wanted: &ForwardRemove) -> Result<ForwardPlan> {
    let host_info = host.hypervisor.capabilities().await?;
    let info = host.networks.find(network).await?;
    let document = host.networks.configuration(network).await?;
    let before = PortForward::of(&document);
    let is_meant = |forward: &&PortForward| {
        (forward.protocol, forward.address, forward.port) == (wanted.protocol, wanted.address, wanted.port)
    };
    let Some(forward) = before.iter().find(is_meant).cloned() else {
        let message = format!("network {network} has no forward of {} {}", wanted.protocol, wanted.port);
        let known: Vec<_> = before.iter().map(PortForward::entrance).collect();
        let detail = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        return Err(error(ErrorKind::NotFound, network, message).with_detail(detail));
    };
    let after = before.iter().filter(|other| **other != forward).cloned().collect();
    let note = format!("{}:{}", forward.guest, forward.guest_port);
    let (mut lines, mut steps) = (Vec::new(), Vec::new());
    if info.active {
        own_links(host, &info, &document).await?;
        install_hook(host, &mut lines, &mut steps).await?;
    }
    lines.push(PlanLine::new("remove", "forward", forward.entrance()).note(note));
    steps.push(Box::new(SetForwards { network: network.clone(), before, after }));
    let title = format!("stop forwarding {} on {}", forward.entrance(), host_info.target);
    Ok(ForwardPlan { plan: plan("net.forward-remove", title, &host_info, network, lines, steps), forward })
}

/// Plans the hook where it is not there yet, or of another version.
async fn install_hook(host: &Host, lines: &mut Vec<PlanLine>, steps: &mut Vec<Box<dyn Step>>) -> Result<()> {
    let hook = Hook::read(host).await?;
    if !Hook::is_current(hook.as_deref()) {
        lines.push(PlanLine::new("install", "hook", Hook::PATH).note("libvirt reads its configuration again"));
        steps.push(Box::new(InstallHook { before: hook }));
    }
    Ok(())
}

fn plan(
    kind: &'static str,
    title: String,
    host: &Capabilities,
    network: &NetworkName,
    lines: Vec<PlanLine>,
    steps: Vec<Box<dyn Step>>,
) -> Plan {
    let (target, locks) = (host.target.clone(), vec![LockKey::network(host.host_key(), network)]);
    Plan { kind, title, target, locks, lines, reversible: steps.len(), steps }
}

/// The configuration of a network that is active and translates addresses.
async fn translating(host: &Host, info: &NetworkInfo) -> Result<Network> {
    let network = &info.name;
    if info.forward != "nat" {
        let message = format!("network {network} is of mode {}; only networks with NAT forward ports", info.forward);
        return Err(Error::invalid("network", message));
    }
    if !info.active {
        return Err(error(ErrorKind::InvalidState, network, format!("network {network} is not active")));
    }
    let document = host.networks.configuration(network).await?;
    let mode = document.forward.as_ref().map(|forward| forward.mode.unwrap_or(ForwardMode::Nat));
    match mode {
        Some(ForwardMode::Nat) => Ok(document),
        _ => {
            Err(error(ErrorKind::InvalidState, network, format!("network {network} has no NAT from its next start on")))
        }
    }
}

/// The host's interfaces, with proof that they are of the hypervisor's host: the network's bridge is among them. A
/// connection may reach the one without the other.
async fn own_links(host: &Host, info: &NetworkInfo, document: &Network) -> Result<Vec<Link>> {
    // Asked for its own error: why the operating system cannot be reached.
    host.transport.run(&["ip", "-Version"], LOOK).await?;
    let links = links(host).await.unwrap_or_default();
    let mac = document.mac.as_ref().and_then(|mac| mac.address).map(|mac| mac.to_string());
    let is_bridge = |link: &&Link| Some(&link.name) == info.bridge.as_ref() && (mac.is_none() || link.mac == mac);
    match links.iter().any(|link| is_bridge(&link)) {
        true => Ok(links),
        false => {
            let bridge = info.bridge.as_deref().unwrap_or("none");
            Err(error(ErrorKind::InvalidState, &info.name, "the network's bridge is not on the host that was reached")
                .with_detail(format!("bridge {bridge}; the connection leads to the programs of another system")))
        }
    }
}

/// Refuses hosts whose packet filter the hook cannot serve.
async fn check_filter(host: &Host) -> Result<()> {
    let unsupported = |message: &str, detail: &str| {
        Err(Error::new(ErrorKind::Unsupported, message).on(Resource::Host("packet filter".into())).with_detail(detail))
    };
    if !works(host, &["iptables", "--version"]).await? {
        return unsupported("the host has no iptables", "install it: libvirt's networks with NAT need it, too");
    }
    // What one table of nftables accepts, another still refuses: no rule of ours could let a packet through.
    if works(host, &["nft", "list", "table", "ip", "libvirt_network"]).await? {
        let detail = "firewall_backend = \"iptables\" in /etc/libvirt/network.conf lets it, after a restart of libvirt";
        return unsupported("the host's libvirt filters with nftables, which lets no forwards through", detail);
    }
    Ok(())
}

/// Whether a program is there, and succeeds.
async fn works(host: &Host, argv: &[&str]) -> Result<bool> {
    match host.transport.run(argv, LOOK).await {
        Ok(output) => Ok(output.success()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The machine's device on the network.
async fn device(host: &Host, network: &NetworkName, vm: &VmSummary, wanted: Option<MacAddr>) -> Result<MacAddr> {
    let view = if vm.state.is_active() { View::LIVE } else { View::CONFIG };
    let document = host.hypervisor.definition(&vm.id, view).await?;
    let nics = document.devices.iter().flat_map(|devices| &devices.interface);
    let here =
        nics.filter(|nic| nic.source.as_ref().and_then(|source| source.network.as_deref()) == Some(network.as_str()));
    let mut macs = here.filter_map(|nic| MacAddr::from_octets(nic.mac.as_ref()?.address?.0).ok());
    let found: Vec<_> = match wanted {
        Some(wanted) => macs.find(|mac| *mac == wanted).into_iter().collect(),
        None => macs.collect(),
    };
    match found.as_slice() {
        [mac] => Ok(*mac),
        [] => {
            let which = wanted.map(|mac| format!(" with the address {mac}")).unwrap_or_default();
            let message = format!("VM {} has no network device{which} on network {network}", vm.name);
            Err(Error::invalid("vm", message))
        }
        several => {
            let known: Vec<_> = several.iter().map(ToString::to_string).collect();
            let message = format!("VM {} has {} devices on network {network}; name one", vm.name, several.len());
            Err(Error::invalid("mac", message).with_detail(known.join(", ")))
        }
    }
}

/// The guest's address, and whether it always gets that.
async fn address(
    host: &Host,
    network: &NetworkName,
    vm: &VmSummary,
    mac: MacAddr,
    document: &Network,
) -> Result<(Ipv4Addr, bool)> {
    let v4 = |address: IpAddr| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    let hosts = document.ip.iter().filter_map(|ip| ip.dhcp.as_ref()).flat_map(|dhcp| &dhcp.host);
    let mut fixed = hosts.filter(|host| host.mac.is_some_and(|other| other.0 == mac.octets()));
    if let Some(address) = fixed.find_map(|host| host.ip.and_then(v4)) {
        return Ok((address, true));
    }
    let leases = host.networks.leases(network).await?;
    let lease = leases.iter().filter(|lease| lease.mac == mac).find_map(|lease| v4(lease.address));
    let taken = |address: &Ipv4Addr| {
        let entry: NetworkEntry = StaticLease { mac, address: *address, name: None }.entry();
        entry.clashes_in(document)
    };
    match lease {
        Some(address) if !taken(&address) => Ok((address, false)),
        _ => Err(Error::new(ErrorKind::InvalidState, format!("VM {} has no address on network {network}", vm.name))
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail("start it and wait until its system is up, or give it a fixed address first")),
    }
}

/// Refuses a port that somebody else has.
async fn check_port(host: &Host, forward: &PortForward) -> Result<()> {
    let taken = |message: String| Err(Error::new(ErrorKind::AlreadyExists, message).on(Resource::Field("port".into())));
    let others = port_forwards(host, None).await?;
    if let Some(other) = others.iter().find(|other| other.forward.overlaps(forward)) {
        let to = other.vm.as_ref().map_or_else(|| other.forward.guest.to_string(), ToString::to_string);
        return taken(format!("{} leads to {to} already, by network {}", other.forward.entrance(), other.network));
    }
    match listener(host, forward).await {
        Some(at) => taken(format!("{} {} is served by the host itself, at {at}", forward.protocol, forward.port)),
        None => Ok(()),
    }
}
