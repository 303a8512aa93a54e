//! Making networks.

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{Autostart, Error, ErrorKind, Host, NetworkName, Resource, Result, Subnet};
use kvm_xml::network::ForwardMode;
use kvm_xml::{Document as _, Network, Severity};

use super::error;
use super::function::check_physical;
use super::links::{Link, links};
use crate::policy::PlanContext;
use crate::step::{AutostartNetwork, DefineNetwork, StartNetwork};

/// A network that could be made.
#[derive(Debug)]
pub struct NetworkPlan {
    /// What would happen; its `Display` is the dry run.
    pub plan: Plan,
    /// The network's name.
    pub name: NetworkName,
    /// Its document.
    pub document: Network,
}

/// Plans a new network: its definition, its start, and whether it starts with its host.
///
/// Everything that can be checked is checked before anything is written: that the name may be chosen and is free, that
/// the document makes sense, that no other network has the bridge, and that no address belongs to another network, or to
/// an interface of the host as far as its operating system can be asked. Undoing takes back what the operation made.
///
/// `InvalidInput` names what is wrong with the document; `AlreadyExists` what is taken, and by whom.
pub async fn plan_network_create(
    host: &Host,
    document: &Network,
    autostart: Autostart,
    cx: &PlanContext<'_>,
) -> Result<NetworkPlan> {
    // What is new has a name that a person may choose, wherever it comes from.
    let name = NetworkName::parse(document.name.as_deref().unwrap_or_default())?;
    if let Some(problem) = document.validate().into_iter().find(|problem| problem.severity == Severity::Error) {
        return Err(Error::invalid(problem.path.clone(), problem.to_string()));
    }
    let host_info = host.hypervisor.capabilities().await?;
    check_networks(host, &name, document).await?;
    let links = links(host).await;
    check_host(document, links.as_deref().unwrap_or_default())?;
    check_physical(host, document).await?;

    let mut document = document.clone();
    let uuid = *document.uuid.get_or_insert_with(|| cx.entropy.uuid());
    let mut lines = vec![PlanLine::new("define", "network", name.as_str()).note(describe(&document))];
    if let Some(outside) = outside(&document) {
        let is_absent = links.is_some_and(|links| !links.iter().any(|link| link.name == outside));
        let line = PlanLine::new("use", "interface", outside);
        lines.push(if is_absent { line.note("the host does not have it now") } else { line });
    }
    let mut steps: Vec<Box<dyn Step>> =
        vec![Box::new(DefineNetwork { name: name.clone(), uuid, document: document.to_xml() })];
    if autostart == Autostart::On {
        lines.push(PlanLine::new("enable", "autostart", name.as_str()));
        steps.push(Box::new(AutostartNetwork { name: name.clone() }));
    }
    lines.push(PlanLine::new("start", "network", name.as_str()));
    steps.push(Box::new(StartNetwork { name: name.clone() }));
    let plan = Plan {
        kind: "net.create",
        title: format!("create network {name} on {}", host_info.target),
        target: host_info.target.clone(),
        locks: vec![LockKey::network(host_info.host_key(), &name)],
        lines,
        // A network that has started may have guests: it is not taken away again.
        reversible: steps.len() - 1,
        steps,
    };
    Ok(NetworkPlan { plan, name, document })
}

/// Refuses what another network of the host has.
async fn check_networks(host: &Host, name: &NetworkName, document: &Network) -> Result<()> {
    let all = host.networks.list().await?;
    if all.iter().any(|other| other.name == *name) {
        return Err(error(ErrorKind::AlreadyExists, name, format!("there is a network named {name} already")));
    }
    let own_bridge = owns_bridge(document).then_some(document.bridge.as_ref()).flatten();
    for other in all {
        let taken = match host.networks.definition(&other.name).await {
            Ok(taken) => taken,
            // It went away while we looked.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let theirs: Vec<_> = taken.ip.iter().filter_map(Subnet::of).collect();
        for ours in document.ip.iter().filter_map(Subnet::of) {
            if theirs.iter().any(|theirs| theirs.overlaps(ours)) {
                let (network, prefix) = (ours.network(), ours.prefix());
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("addresses of {network}/{prefix} are those of network {}", other.name),
                )
                .on(Resource::Field("cidr".into())));
            }
        }
        if let Some(bridge) = own_bridge.and_then(|bridge| bridge.name.as_deref())
            && other.bridge.as_deref() == Some(bridge)
        {
            let message = format!("bridge {bridge} is that of network {}", other.name);
            return Err(Error::new(ErrorKind::AlreadyExists, message).on(Resource::Field("bridge".into())));
        }
    }
    Ok(())
}

/// Refuses what an interface of the host has. Bridges of other networks were looked at before.
fn check_host(document: &Network, links: &[Link]) -> Result<()> {
    let taken = |field: &str, message: String| {
        Err(Error::new(ErrorKind::AlreadyExists, message).on(Resource::Field(field.into())))
    };
    for ours in document.ip.iter().filter_map(Subnet::of) {
        let owner = links.iter().find_map(|link| Some((link, link.subnets().find(|theirs| theirs.overlaps(ours))?)));
        if let Some((link, theirs)) = owner {
            let message = format!(
                "addresses of {}/{} are those of the host's interface {}",
                ours.network(),
                ours.prefix(),
                link.name
            );
            return taken("cidr", message).map_err(|e: Error| e.with_detail(format!("it has {theirs}")));
        }
    }
    let bridge = document.bridge.as_ref().and_then(|bridge| bridge.name.as_deref());
    match bridge.filter(|bridge| owns_bridge(document) && links.iter().any(|link| link.name == *bridge)) {
        Some(bridge) => taken("bridge", format!("the host has an interface named {bridge} already")),
        None => Ok(()),
    }
}

/// Whether libvirt makes the network's bridge.
pub(super) fn owns_bridge(document: &Network) -> bool {
    let mode = document.forward.as_ref().map(|forward| forward.mode.unwrap_or(ForwardMode::Nat));
    matches!(mode, None | Some(ForwardMode::Nat | ForwardMode::Route | ForwardMode::Open))
}

/// The interface of the host that the network needs and does not make.
fn outside(document: &Network) -> Option<&str> {
    let forward = document.forward.as_ref()?;
    let card = forward.pf.as_ref().and_then(|pf| pf.dev.as_deref());
    let shared = forward.interface.first().and_then(|interface| interface.dev.as_deref());
    let bridge = document.bridge.as_ref().and_then(|bridge| bridge.name.as_deref());
    card.or(shared).or(forward.dev.as_deref()).or(bridge.filter(|_| !owns_bridge(document)))
}

/// How a plan tells of a network: its mode, and its addresses.
fn describe(document: &Network) -> String {
    let mode = match &document.forward {
        None => "isolated",
        Some(forward) => forward.mode.unwrap_or(ForwardMode::Nat).as_str(),
    };
    let subnets = document.ip.iter().filter_map(Subnet::of).map(|subnet| subnet.to_string());
    std::iter::once(mode.to_owned()).chain(subnets).collect::<Vec<_>>().join(", ")
}
