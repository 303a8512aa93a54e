//! New network devices, with all that the specification left open.

use std::collections::BTreeSet;

use kvm_core::op::PlanLine;
use kvm_core::{Entropy, Error, ErrorKind, FilterName, Host, MacAddr, NetworkInfo, NetworkName, Resource, Result};

use crate::chain::DiskGraph;
use crate::network::PortGroupName;
use crate::place::known;
use crate::policy::PlanContext;
use crate::spec::{NicLink, NicModel, NicOptions, NicSpec, Start};

/// A network device of a new machine, or one that is plugged into a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nic {
    pub(crate) link: NicLink,
    pub(crate) model: Option<NicModel>,
    pub(crate) mac: MacAddr,
    pub(crate) options: NicOptions,
    /// Whether the network is there but not active.
    is_idle: bool,
}

impl Nic {
    /// How the plan tells of it.
    pub(crate) fn line(&self) -> PlanLine {
        let idle = if self.is_idle { ", not active" } else { "" };
        let note = format!("MAC {}{idle}", self.mac);
        match &self.link {
            NicLink::Network(name) => PlanLine::new("connect", "network", name.as_str()).note(note),
            NicLink::Bridge(name) => PlanLine::new("connect", "bridge", name.as_str()).note(note),
            NicLink::Ovs(name) => PlanLine::new("connect", "ovs bridge", name.as_str()).note(note),
            NicLink::Interface(name, _) => PlanLine::new("connect", "interface", name.as_str()).note(note),
            NicLink::User => PlanLine::new("connect", "network", "user networking").note(note),
        }
    }
}

/// Looks the networks up and gives each device a MAC address that nobody else has.
pub(crate) async fn resolve(
    host: &Host,
    wanted: Option<&[NicSpec]>,
    start: Start,
    usage: &DiskGraph,
    cx: &PlanContext<'_>,
) -> Result<Vec<Nic>> {
    if wanted.is_some_and(<[_]>::is_empty) {
        return Ok(Vec::new());
    }
    let networks = host.networks.list().await?;
    let default;
    let wanted = match wanted {
        Some(wanted) => wanted,
        None => {
            default = [default_nic(&networks, &cx.policy.default_network()?)];
            &default
        }
    };
    let mut macs = BTreeSet::new();
    // Those that were asked for first, so that no chosen one takes them.
    for mac in wanted.iter().filter_map(|nic| nic.mac) {
        if let Some(owner) = usage.owner_of(&mac) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("VM {owner} has the MAC address {mac} already"))
                .on(Resource::Field("mac".into()))
                .with_detail("leave the address out to get a new one"));
        }
        if !macs.insert(mac) {
            return Err(Error::invalid("mac", format!("two network devices have the MAC address {mac}")));
        }
    }
    let mut nics = Vec::with_capacity(wanted.len());
    for nic in wanted {
        let mac = nic.mac.unwrap_or_else(|| free_mac(cx.entropy, usage, &mut macs));
        let is_idle = match &nic.link {
            NicLink::Network(name) => check_network(&networks, name, start)?,
            NicLink::Bridge(_) | NicLink::Ovs(_) | NicLink::Interface(..) | NicLink::User => false,
        };
        if let (NicLink::Network(name), Some(group)) = (&nic.link, &nic.options.portgroup) {
            check_group(host, name, group).await?;
        }
        if let Some(filter) = &nic.options.filter {
            check_filter(host, filter).await?;
        }
        nics.push(Nic { link: nic.link.clone(), model: nic.model, mac, options: nic.options.clone(), is_idle });
    }
    Ok(nics)
}

fn default_nic(networks: &[NetworkInfo], default: &NetworkName) -> NicSpec {
    let is_there = networks.iter().any(|n| n.name == *default);
    NicSpec::new(if is_there { NicLink::Network(default.clone()) } else { NicLink::User })
}

/// Whether the network is idle. An idle one is an error only when the machine is to start at once.
fn check_network(networks: &[NetworkInfo], name: &NetworkName, start: Start) -> Result<bool> {
    let on = || Resource::Network(name.as_str().to_owned());
    let Some(network) = networks.iter().find(|n| n.name == *name) else {
        return Err(Error::new(ErrorKind::NotFound, format!("no network named {name}"))
            .on(on())
            .with_detail(known("networks", networks.iter().map(|n| n.name.to_string()))));
    };
    if !network.active && start.is_wanted() {
        return Err(Error::new(ErrorKind::InvalidState, format!("network {name} is not active")).on(on()));
    }
    Ok(!network.active)
}

/// `NotFound` when the network has no such class of devices.
async fn check_group(host: &Host, name: &NetworkName, group: &PortGroupName) -> Result<()> {
    let document = host.networks.definition(name).await?;
    let mut groups = document.portgroup.into_iter().filter_map(|group| group.name);
    if groups.any(|other| other == group.as_str()) {
        return Ok(());
    }
    let message = format!("network {name} has no port group {group}");
    Err(Error::new(ErrorKind::NotFound, message).on(Resource::Field("portgroup".into())))
}

/// `NotFound` when the host has no such filter; a machine behind it would not start.
async fn check_filter(host: &Host, name: &FilterName) -> Result<()> {
    let Some(filters) = host.networks.filters() else {
        return Err(Error::new(ErrorKind::Unsupported, "this host has no network filters"));
    };
    let all = filters.list().await?;
    if all.contains(name) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound, format!("no network filter named {name}"))
        .on(Resource::Field("filter".into()))
        .with_detail(known("network filters", all.iter().map(ToString::to_string))))
}

/// A new address in KVM's own range. Three random bytes collide seldom, but on a large host they do.
pub(crate) fn free_mac(entropy: &dyn Entropy, usage: &DiskGraph, taken: &mut BTreeSet<MacAddr>) -> MacAddr {
    unused_mac(entropy, &[usage], taken)
}

/// A new address in KVM's own range that no machine of these hosts has, and that was not given before; it is noted as given.
pub fn unused_mac(entropy: &dyn Entropy, hosts: &[&DiskGraph], taken: &mut BTreeSet<MacAddr>) -> MacAddr {
    loop {
        let random = entropy.uuid().into_bytes();
        let mac = MacAddr::kvm_oui([random[13], random[14], random[15]]);
        if hosts.iter().all(|host| host.owner_of(&mac).is_none()) && taken.insert(mac) {
            return mac;
        }
    }
}
