//! Who is plugged into what: machines, networks, bridges and network cards of a host as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use futures_util::FutureExt as _;
use kvm_core::text::printable;
use kvm_core::{
    ErrorKind, Host, MacAddr, NetworkInfo, NetworkName, Result, Subnet, View, VmFilter, VmId, VmName, VmState,
    VmSummary,
};
use kvm_xml::Network;
use kvm_xml::domain::{Interface, InterfaceType, Link as LinkState};
use serde::Serialize;

use crate::network::{Link, links};
use crate::parallel;

/// What is plugged into what on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// Machines, sorted by name, with their network devices.
    pub vms: Vec<TopologyVm>,
    /// Virtual networks, sorted by name.
    pub networks: Vec<TopologyNetwork>,
    /// Bridges that a network or a device names, and those that the host tells of; sorted by name.
    pub bridges: Vec<TopologyBridge>,
    /// Interfaces of the host that traffic leaves by; sorted.
    pub uplinks: BTreeSet<String>,
    /// Whether the host's interfaces could be seen. Without them, what is plugged into a bridge from outside is not known.
    pub sees_interfaces: bool,
}

/// A machine in a [`Topology`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopologyVm {
    /// Its name.
    pub name: VmName,
    /// Its uuid.
    pub id: VmId,
    /// Its power state.
    pub state: VmState,
    /// Its network devices: of what runs, or of the configuration.
    pub nics: Vec<TopologyNic>,
}

/// A network device in a [`Topology`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopologyNic {
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// What the guest sees.
    pub model: Option<String>,
    /// Its other end on the host, while the machine runs.
    pub device: Option<String>,
    /// Whether the cable is plugged in.
    pub connected: bool,
    /// What it is plugged into.
    pub plug: Plug,
    /// Its class on the network.
    pub portgroup: Option<String>,
    /// Tags of its VLANs.
    pub vlans: Vec<u32>,
    /// The filter that it is behind.
    pub filter: Option<String>,
}

/// What a network device is plugged into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum Plug {
    /// A virtual network.
    Network(String),
    /// A bridge of the host.
    Bridge(String),
    /// A network card of the host, by macvtap.
    Interface(String),
    /// The hypervisor's own user-mode network.
    User,
    /// Something else.
    Other,
}

/// A virtual network in a [`Topology`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopologyNetwork {
    /// Its name.
    pub name: NetworkName,
    /// Whether guests can use it now.
    pub active: bool,
    /// As in [`NetworkInfo`].
    pub forward: String,
    /// The bridge that guests are plugged into.
    pub bridge: Option<String>,
    /// Interfaces of the host that its traffic leaves by, where it names them.
    pub uplinks: Vec<String>,
    /// The host's addresses on it.
    pub addresses: Vec<String>,
}

/// A bridge in a [`Topology`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TopologyBridge {
    /// Its name.
    pub name: String,
    /// Interfaces of the host that are plugged into it, without the ends of machines' devices.
    pub uplinks: Vec<String>,
}

/// Looks at every machine, network and, as far as its operating system can be asked, interface of a host.
pub async fn topology(host: &Host) -> Result<Topology> {
    let mut vms = Vec::new();
    let listed = host.hypervisor.list(&VmFilter::all()).await?;
    for vm in parallel::for_each(&listed, |vm| machine(host, vm).boxed()).await {
        vms.extend(vm?);
    }
    vms.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut networks = Vec::new();
    for info in host.networks.list().await? {
        match host.networks.definition(&info.name).await {
            Ok(document) => networks.push(network(info, &document)),
            // It went away while we looked.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    let links = links(host).await;
    let sees_interfaces = links.is_some();
    let bridges = bridges(&vms, &networks, &links.unwrap_or_default());
    let cards = vms.iter().flat_map(|vm| &vm.nics).filter_map(|nic| match &nic.plug {
        Plug::Interface(name) => Some(name.clone()),
        _ => None,
    });
    let named = networks.iter().flat_map(|network| &network.uplinks).cloned();
    let plugged = bridges.iter().flat_map(|bridge| &bridge.uplinks).cloned();
    let uplinks = cards.chain(named).chain(plugged).collect();
    Ok(Topology { vms, networks, bridges, uplinks, sees_interfaces })
}

async fn machine(host: &Host, vm: &VmSummary) -> Result<Option<TopologyVm>> {
    let view = if vm.state.is_active() { View::LIVE } else { View::CONFIG };
    let document = match host.hypervisor.definition(&vm.id, view).await {
        Ok(document) => document,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let nics = document.devices.iter().flat_map(|devices| &devices.interface).map(nic).collect();
    Ok(Some(TopologyVm { name: vm.name.clone(), id: vm.id, state: vm.state, nics }))
}

fn nic(interface: &Interface) -> TopologyNic {
    let source = interface.source.as_ref();
    let plug = match (interface.r#type, source) {
        (Some(InterfaceType::Network), Some(source)) => source.network.clone().map(Plug::Network),
        (Some(InterfaceType::Bridge), Some(source)) => source.bridge.clone().map(Plug::Bridge),
        (Some(InterfaceType::Direct), Some(source)) => source.dev.clone().map(Plug::Interface),
        (Some(InterfaceType::User), _) => Some(Plug::User),
        _ => None,
    };
    let vlans = interface.vlan.iter().flat_map(|vlan| &vlan.tag).filter_map(|tag| tag.id).collect();
    TopologyNic {
        mac: interface.mac.as_ref().and_then(|mac| MacAddr::from_octets(mac.address?.0).ok()),
        model: interface.model.as_ref().and_then(|model| model.r#type.clone()),
        device: interface.target.as_ref().and_then(|target| target.dev.clone()),
        connected: interface.link.as_ref().and_then(|link| link.state) != Some(LinkState::Down),
        plug: plug.unwrap_or(Plug::Other),
        portgroup: source.and_then(|source| source.portgroup.clone()),
        vlans,
        filter: interface.filterref.as_ref().and_then(|filter| filter.filter.clone()),
    }
}

fn network(info: NetworkInfo, document: &Network) -> TopologyNetwork {
    let forward = document.forward.as_ref();
    let cards = forward.into_iter().flat_map(|forward| &forward.interface).filter_map(|card| card.dev.clone());
    let pf = forward.and_then(|forward| forward.pf.as_ref()).and_then(|pf| pf.dev.clone());
    let mut uplinks: Vec<_> =
        forward.and_then(|forward| forward.dev.clone()).into_iter().chain(pf).chain(cards).collect();
    // libvirt repeats the first interface in the attribute.
    uplinks.dedup();
    let addresses = document.ip.iter().filter_map(Subnet::of).map(|subnet| subnet.to_string()).collect();
    TopologyNetwork {
        name: info.name,
        active: info.active,
        forward: info.forward,
        bridge: info.bridge,
        uplinks,
        addresses,
    }
}

fn bridges(vms: &[TopologyVm], networks: &[TopologyNetwork], links: &[Link]) -> Vec<TopologyBridge> {
    let mut bridges: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for bridge in networks.iter().filter_map(|network| network.bridge.as_deref()) {
        bridges.entry(bridge).or_default();
    }
    for nic in vms.iter().flat_map(|vm| &vm.nics) {
        if let Plug::Bridge(name) = &nic.plug {
            bridges.entry(name).or_default();
        }
    }
    let ends: BTreeSet<_> = vms.iter().flat_map(|vm| &vm.nics).filter_map(|nic| nic.device.as_deref()).collect();
    for link in links {
        let Some(bridge) = link.master.as_deref() else { continue };
        let ports = bridges.entry(bridge).or_default();
        if !ends.contains(link.name.as_str()) {
            ports.push(link.name.clone());
        }
    }
    let bridge = |(name, uplinks): (&str, Vec<String>)| TopologyBridge { name: name.to_owned(), uplinks };
    bridges.into_iter().map(bridge).collect()
}

impl Topology {
    /// The graph in the language of Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut dot = String::from("graph topology {\n  rankdir=LR;\n");
        let mut node = |kind: &str, name: &str, shape: &str, note: &str| {
            let label = if note.is_empty() { name.to_owned() } else { format!("{name}\n{note}") };
            let _ = writeln!(dot, "  {} [shape={shape}, label={}];", id(kind, name), quoted(&label));
        };
        for vm in &self.vms {
            node("vm", vm.name.as_str(), "box", vm.state.as_str());
        }
        for network in &self.networks {
            let note = [&[network.forward.clone()][..], network.addresses.as_slice()].concat().join("\n");
            node("network", network.name.as_str(), "ellipse", &note);
        }
        for bridge in &self.bridges {
            node("bridge", &bridge.name, "hexagon", "");
        }
        for uplink in &self.uplinks {
            node("interface", uplink, "cds", "");
        }
        let has_user = self.vms.iter().flat_map(|vm| &vm.nics).any(|nic| nic.plug == Plug::User);
        if has_user {
            node("user", "user networking", "ellipse", "");
        }
        let mut edge = |from: String, to: String, label: &str, is_up: bool| {
            let style = if is_up { "" } else { ", style=dashed" };
            let _ = writeln!(dot, "  {from} -- {to} [label={}{style}];", quoted(label));
        };
        for vm in &self.vms {
            for nic in &vm.nics {
                let to = match &nic.plug {
                    Plug::Network(name) => id("network", name),
                    Plug::Bridge(name) => id("bridge", name),
                    Plug::Interface(name) => id("interface", name),
                    Plug::User => id("user", "user networking"),
                    Plug::Other => continue,
                };
                let mac = nic.mac.map(|mac| mac.to_string()).unwrap_or_default();
                edge(id("vm", vm.name.as_str()), to, &mac, nic.connected);
            }
        }
        for network in &self.networks {
            let from = || id("network", network.name.as_str());
            if let Some(bridge) = &network.bridge {
                edge(from(), id("bridge", bridge), "", network.active);
            }
            for uplink in &network.uplinks {
                edge(from(), id("interface", uplink), "", network.active);
            }
        }
        for bridge in &self.bridges {
            for uplink in &bridge.uplinks {
                edge(id("bridge", &bridge.name), id("interface", uplink), "", true);
            }
        }
        dot.push_str("}\n");
        dot
    }
}

/// A node's name, which may be that of a node of another kind.
fn id(kind: &str, name: &str) -> String {
    quoted(&format!("{kind} {name}"))
}

/// A string of the language: quotes and backslashes are escaped, lines broken by `\n`.
fn quoted(text: &str) -> String {
    let lines = text.split('\n').map(|line| printable(line).to_string().replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", lines.collect::<Vec<_>>().join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_string() {
        assert_eq!(quoted("a\"];x\\\u{1b}"), "\"a\\\"];x\\\\\\\\u{1b}\"");
        assert_eq!(quoted("one\ntwo"), "\"one\\ntwo\"");
    }
}
