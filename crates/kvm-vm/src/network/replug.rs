//! Guests that are unplugged when their network stops, and plugged in again when it starts.
//!
//! A hypervisor takes a network's bridge away when the network stops and makes a new one when it starts. libvirt leaves the
//! devices of guests that ran all the while without a bridge then, and nothing that it can be asked for changes that.

use std::time::Duration;

use futures_util::FutureExt as _;
use kvm_core::text::printable_within;
use kvm_core::{ErrorKind, Host, MacAddr, NetworkInfo, NetworkName, Result, View, VmFilter, VmName, VmSummary};
use kvm_xml::domain::Interface;
use serde::Serialize;

use super::{Link, links};
use crate::parallel;
use crate::spec::BridgeName;

/// What the host's program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of what it complains about is repeated.
const SHOWN: usize = 120;

/// A network device of a running machine that lost its link when its network stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unplugged {
    /// The machine.
    pub vm: VmName,
    /// Its end of the cable on the host.
    pub device: String,
    /// Its address.
    pub mac: MacAddr,
    /// Why it still has no link; `None` when it is plugged in again.
    pub trouble: Option<String>,
}

/// A device before anybody looked after it.
struct Loose {
    vm: VmName,
    device: String,
    mac: MacAddr,
    /// Whether its port of the bridge has settings of its own.
    is_special: bool,
}

/// Starts a network, and plugs the guests in again that ran on while it was stopped.
///
/// What cannot be plugged in is named with the reason: the network is active all the same. Errors are those of
/// [`Networks::start`](kvm_core::Networks::start), and come before anything has changed.
pub async fn start_network(host: &Host, network: &NetworkName) -> Result<Vec<Unplugged>> {
    let info = host.networks.find(network).await?;
    let loose = loose(host, &info).await?;
    host.networks.start(network).await?;
    let links = if loose.is_empty() { None } else { links(host).await };
    let mut unplugged = Vec::with_capacity(loose.len());
    for Loose { vm, device, mac, is_special } in loose {
        let trouble = match (info.bridge.as_deref(), links.as_deref()) {
            _ if is_special => Err("its port has settings of its own, which only a start of the VM makes".to_owned()),
            (Some(bridge), Some(links)) => plug(host, links, bridge, &device, mac).await,
            _ => Err("the host's own network devices are not reached from here".to_owned()),
        };
        unplugged.push(Unplugged { vm, device, mac, trouble: trouble.err() });
    }
    Ok(unplugged)
}

/// The devices of running machines on this network, if it is one whose bridge comes and goes with it.
async fn loose(host: &Host, network: &NetworkInfo) -> Result<Vec<Loose>> {
    if network.active || !matches!(network.forward.as_str(), "nat" | "route" | "open" | "isolated") {
        return Ok(Vec::new());
    }
    let vms = host.hypervisor.list(&VmFilter::active()).await?;
    let mut loose = Vec::new();
    for devices in parallel::for_each(&vms, |vm| of(host, vm, &network.name).boxed()).await {
        loose.extend(devices?);
    }
    Ok(loose)
}

async fn of(host: &Host, vm: &VmSummary, network: &NetworkName) -> Result<Vec<Loose>> {
    let document = match host.hypervisor.definition(&vm.id, View::LIVE).await {
        // It ended in the meantime.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidState) => return Ok(Vec::new()),
        document => document?,
    };
    let is_on =
        |nic: &&Interface| nic.source.as_ref().and_then(|source| source.network.as_deref()) == Some(network.as_str());
    let read = |nic: &Interface| {
        let device = nic.target.as_ref()?.dev.clone()?;
        let mac = MacAddr::from_octets(nic.mac.as_ref()?.address?.0).ok()?;
        let is_special = nic.port.is_some() || nic.vlan.is_some();
        Some(Loose { vm: vm.name.clone(), device, mac, is_special })
    };
    let nics = document.devices.iter().flat_map(|devices| &devices.interface);
    Ok(nics.filter(is_on).filter_map(read).collect())
}

/// Plugs a device into a bridge, once both have been seen at the other end of the transport.
async fn plug(host: &Host, links: &[Link], bridge: &str, device: &str, mac: MacAddr) -> Result<(), String> {
    // Of another host with devices of the same names the address would be another.
    let is_its_end = |link: &Link| link.name == device && link.mac.as_deref().is_some_and(|end| is_end_of(end, mac));
    let end = links.iter().find(|link| is_its_end(link));
    let Some(end) = end.filter(|_| links.iter().any(|link| link.name == bridge)) else {
        return Err("the host that is reached from here has no such devices".to_owned());
    };
    if end.master.as_deref() == Some(bridge) {
        return Ok(());
    }
    for name in [device, bridge] {
        BridgeName::parse(name).map_err(|e| e.message().to_owned())?;
    }
    let argv = ["ip", "link", "set", "dev", device, "master", bridge];
    match host.transport.run(&argv, PATIENCE).await {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => Err(printable_within(String::from_utf8_lossy(&output.stderr).trim(), SHOWN).to_string()),
        Err(e) => Err(e.message().to_owned()),
    }
}

/// Whether this is the address of the host's end of a guest's cable: the guest's own but for its first byte.
fn is_end_of(end: &str, guest: MacAddr) -> bool {
    end.parse::<MacAddr>().is_ok_and(|end| end.octets()[1..] == guest.octets()[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_cable_are_recognised_by_their_addresses() {
        let guest: MacAddr = "52:54:00:12:34:56".parse().unwrap();
        assert!(is_end_of("fe:54:00:12:34:56", guest));
        assert!(!is_end_of("fe:54:00:12:34:57", guest));
        assert!(!is_end_of("", guest));
    }
}
