//! Which forwards there are, and what stands in the way of another.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kvm_core::{ErrorKind, Host, MacAddr, NetworkInfo, NetworkName, Result, View, VmFilter, VmName};
use kvm_xml::Domain;
use serde::Serialize;

use super::rule::{PortForward, PortProtocol};

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(10);

/// A forward, where it is, and whom it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForwardInfo {
    /// The network whose configuration has it.
    pub network: NetworkName,
    /// Whether the network is active, so that packets go this way.
    pub active: bool,
    /// The machine that has the network device; `None` when there is none any more.
    pub vm: Option<VmName>,
    /// The rule.
    #[serde(flatten)]
    pub forward: PortForward,
}

/// Lists the forwards of one network, or of all of a host. `NotFound` when there is no such network.
pub async fn port_forwards(host: &Host, network: Option<&NetworkName>) -> Result<Vec<ForwardInfo>> {
    let networks = match network {
        Some(network) => vec![host.networks.find(network).await?],
        None => host.networks.list().await?,
    };
    let mut forwards = Vec::new();
    for network in networks {
        let rules = rules(host, &network).await?;
        forwards.extend(rules.into_iter().map(|rule| (network.clone(), rule)));
    }
    let owners = if forwards.is_empty() { BTreeMap::new() } else { owners(host).await? };
    let info = |(network, forward): (NetworkInfo, PortForward)| ForwardInfo {
        vm: owners.get(&forward.mac).cloned(),
        active: network.active,
        network: network.name,
        forward,
    };
    Ok(forwards.into_iter().map(info).collect())
}

/// The rules of one network; none of one that is transient, or gone meanwhile.
async fn rules(host: &Host, network: &NetworkInfo) -> Result<Vec<PortForward>> {
    if !network.persistent {
        return Ok(Vec::new());
    }
    match host.networks.configuration(&network.name).await {
        Ok(document) => Ok(PortForward::of(&document)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The machines of a host by the addresses of their network devices.
async fn owners(host: &Host) -> Result<BTreeMap<MacAddr, VmName>> {
    let mut owners = BTreeMap::new();
    for vm in host.hypervisor.list(&VmFilter::all()).await? {
        let view = if vm.persistent { View::CONFIG } else { View::LIVE };
        match host.hypervisor.definition(&vm.id, view).await {
            Ok(document) => owners.extend(macs(&document).map(|mac| (mac, vm.name.clone()))),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(owners)
}

fn macs(document: &Domain) -> impl Iterator<Item = MacAddr> {
    let nics = document.devices.iter().flat_map(|devices| &devices.interface);
    nics.filter_map(|nic| MacAddr::from_octets(nic.mac.as_ref()?.address?.0).ok())
}

/// The address at which a program of the host itself takes what the forward would take; `None` also when the host cannot
/// be asked.
pub(super) async fn listener(host: &Host, forward: &PortForward) -> Option<String> {
    let family = match forward.protocol {
        PortProtocol::Tcp => "--tcp",
        PortProtocol::Udp => "--udp",
    };
    let output = host.transport.run(&["ss", "--no-header", "--numeric", "--listening", family], LOOK).await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut local = text.lines().filter_map(|line| line.split_whitespace().nth(3));
    local.find(|local| takes(local, forward)).map(ToOwned::to_owned)
}

/// Whether a program that listens at this address takes what the forward would take.
fn takes(local: &str, forward: &PortForward) -> bool {
    let Some((address, port)) = local.rsplit_once(':') else { return false };
    let address = address.split('%').next().unwrap_or_default().trim_matches(['[', ']']);
    let takes_address = match address.parse::<IpAddr>() {
        _ if address == "*" => true,
        Ok(IpAddr::V4(address)) if address.is_loopback() => false,
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => true,
        Ok(IpAddr::V4(address)) => forward.address.is_none_or(|ours| ours == address),
        Ok(IpAddr::V6(address)) => address.is_unspecified(),
        Err(_) => false,
    };
    takes_address && port.parse() == Ok(forward.port.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_takes_what_reaches_its_address() {
        let rule = |text: &str| format!("{text} 192.168.122.50 80 52:54:00:12:34:56").parse::<PortForward>().unwrap();
        for (local, forward, expected) in [
            ("0.0.0.0:22", "tcp * 22", true),
            ("*:22", "tcp 10.0.0.1 22", true),
            ("[::]:22", "tcp * 22", true),
            ("[::1]:22", "tcp * 22", false),
            ("127.0.0.1:22", "tcp * 22", false),
            ("127.0.0.53%lo:22", "tcp * 22", false),
            ("10.0.0.1:22", "tcp * 22", true),
            ("10.0.0.2%eth0:22", "tcp 10.0.0.1 22", false),
            ("0.0.0.0:2222", "tcp * 22", false),
            ("nonsense", "tcp * 22", false),
        ] {
            assert_eq!(takes(local, &rule(forward)), expected, "{local} {forward}");
        }
    }
}
