//! `kvmctl net topology`.

use std::fmt::Write as _;

use kvm_core::text::printable;
use kvm_core::{ErrorKind, Result};
use kvm_vm::{Plug, Topology, TopologyNic};
use serde::Serialize;

use crate::op;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `net topology`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net topology\n  kvmctl net topology --dot | dot -Tsvg > topology.svg\n  kvmctl net topology -o json",
    after_long_help = "What is plugged into a bridge from outside is known where the host's programs can be run.\n\n\
        Library: kvm_vm::topology, kvm_vm::Topology::dot"
)]
pub struct Args {
    /// As a graph for Graphviz.
    #[arg(long)]
    dot: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown(Topology);

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let topology = kvm_vm::topology(&session.host().await?.host).await?;
    match args.dot {
        true => printer.raw(topology.dot().as_bytes()).map(|()| None),
        false => op::answer(&Shown(topology), session, printer).await,
    }
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        page.block(text(&self.0));
    }
}

/// What machines are plugged into, and below it the machines.
fn text(topology: &Topology) -> String {
    let mut text = String::new();
    for network in &topology.networks {
        let mut notes = vec![network.forward.clone()];
        notes.extend(network.addresses.iter().cloned());
        notes.extend(network.bridge.iter().map(|bridge| format!("bridge {bridge}")));
        notes.extend(network.uplinks.iter().map(|uplink| format!("leaves by {uplink}")));
        notes.extend((!network.active).then(|| "inactive".to_owned()));
        let plug = Plug::Network(network.name.as_str().to_owned());
        group(&mut text, topology, &format!("network {}", network.name), &notes, &plug);
    }
    for bridge in &topology.bridges {
        let plug = Plug::Bridge(bridge.name.clone());
        let is_of_network = topology.networks.iter().any(|network| network.bridge.as_deref() == Some(&bridge.name));
        if !is_of_network || is_used(topology, &plug) {
            let notes: Vec<_> = bridge.uplinks.iter().map(|uplink| format!("leaves by {uplink}")).collect();
            group(&mut text, topology, &format!("bridge {}", printable(&bridge.name)), &notes, &plug);
        }
    }
    for uplink in &topology.uplinks {
        let plug = Plug::Interface(uplink.clone());
        if is_used(topology, &plug) {
            group(&mut text, topology, &format!("interface {}", printable(uplink)), &[], &plug);
        }
    }
    // A network that a machine names need not be there.
    let known = |name: &str| topology.networks.iter().any(|network| network.name == *name);
    let nics = topology.vms.iter().flat_map(|vm| &vm.nics);
    let absent = nics.filter_map(|nic| match &nic.plug {
        Plug::Network(name) if !known(name) => Some(name),
        _ => None,
    });
    for name in absent.collect::<std::collections::BTreeSet<_>>() {
        let notes = ["does not exist".to_owned()];
        group(&mut text, topology, &format!("network {}", printable(name)), &notes, &Plug::Network(name.clone()));
    }
    for (plug, title) in [(Plug::User, "user networking"), (Plug::Other, "something else")] {
        if is_used(topology, &plug) {
            group(&mut text, topology, title, &[], &plug);
        }
    }
    text.trim_end().to_owned()
}

fn is_used(topology: &Topology, plug: &Plug) -> bool {
    topology.vms.iter().flat_map(|vm| &vm.nics).any(|nic| nic.plug == *plug)
}

fn group(text: &mut String, topology: &Topology, title: &str, notes: &[String], plug: &Plug) {
    let notes = printable(&notes.join(", ")).to_string();
    let _ = writeln!(text, "{}", format!("{title}  {notes}").trim_end());
    let rows = topology.vms.iter().flat_map(|vm| vm.nics.iter().map(move |nic| (vm, nic)));
    let rows: Vec<_> = rows.filter(|(_, nic)| nic.plug == *plug).collect();
    let width = rows.iter().map(|(vm, _)| vm.name.to_string().chars().count()).max().unwrap_or_default();
    for (vm, nic) in rows {
        let _ = writeln!(text, "{}", format!("  {:width$}  {}", vm.name.to_string(), describe(nic)).trim_end());
    }
}

fn describe(nic: &TopologyNic) -> String {
    let mut parts = vec![nic.mac.map_or_else(|| "–".to_owned(), |mac| mac.to_string())];
    parts.extend(nic.model.iter().map(|model| printable(model).to_string()));
    parts.extend(nic.device.iter().map(|device| printable(device).to_string()));
    parts.extend(nic.portgroup.iter().map(|group| format!("port group {}", printable(group))));
    parts.extend(nic.vlans.iter().map(|tag| format!("VLAN {tag}")));
    parts.extend(nic.filter.iter().map(|filter| format!("filter {}", printable(filter))));
    parts.extend((!nic.connected).then(|| "link down".to_owned()));
    parts.join("  ")
}
