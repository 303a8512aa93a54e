//! Entries that come and go while a network is active.

use kvm_core::{
    AddressRange, Error, ErrorKind, Host, Impact, NetworkEntry, NetworkName, NetworkUpdate, Result, Subnet,
};
use kvm_xml::Network;

use super::error;

/// Adds an entry to a network, or takes one out; gives the documents that changed: those that there are, unless told
/// otherwise.
///
/// `InvalidInput` for an address that no guest of the network can have, and for a range that overlaps another;
/// `AlreadyExists`, `NotFound` and `InvalidState` as in [`Networks::update`](kvm_core::Networks::update).
pub async fn change_network(
    host: &Host,
    network: &NetworkName,
    update: &NetworkUpdate,
    impact: Option<Impact>,
) -> Result<Impact> {
    let info = host.networks.find(network).await?;
    let impact = impact.unwrap_or(match (info.active, info.persistent) {
        (true, true) => Impact::Both,
        (true, false) => Impact::Live,
        (false, _) => Impact::Config,
    });
    if let NetworkUpdate::Add(entry) = update {
        check(network, &host.networks.definition(network).await?, entry)?;
    }
    host.networks.update(network, update, impact).await?;
    Ok(impact)
}

/// Refuses what the hypervisor would take, and no guest could use.
fn check(network: &NetworkName, document: &Network, entry: &NetworkEntry) -> Result<()> {
    let subnets: Vec<_> = document.ip.iter().filter_map(Subnet::of).collect();
    let known = || match subnets.as_slice() {
        [] => format!("network {network} has no addresses"),
        some => {
            let shown: Vec<_> = some.iter().map(|subnet| format!("{subnet}, the host {}", subnet.host())).collect();
            format!("network {network} is {}", shown.join(" and "))
        }
    };
    match entry {
        NetworkEntry::Lease(lease) => {
            let Some(address) = lease.ip else { return Err(Error::invalid("ip", "a fixed address needs an address")) };
            match subnets.iter().any(|subnet| subnet.is_for_guest(address)) {
                true => Ok(()),
                false => {
                    let message = format!("{address} is not among the addresses of guests");
                    Err(Error::invalid("ip", message).with_detail(known()))
                }
            }
        }
        NetworkEntry::DhcpRange(range) => {
            let range = range.start.zip(range.end).and_then(|(first, last)| AddressRange::new(first, last));
            let Some(range) = range else { return Err(Error::invalid("dhcp", "the range ends before it starts")) };
            if !subnets.iter().any(|subnet| subnet.holds(range)) {
                let message = format!("the DHCP range {range} is not among the addresses of guests");
                return Err(Error::invalid("dhcp", message).with_detail(known()));
            }
            let ranges = document.ip.iter().filter_map(|ip| ip.dhcp.as_ref()).flat_map(|dhcp| &dhcp.range);
            let mut ranges = ranges.filter_map(|other| AddressRange::new(other.start?, other.end?));
            match ranges.find(|other| other.overlaps(range)) {
                Some(other) => {
                    let message = format!("the DHCP range {range} overlaps {other}");
                    Err(error(ErrorKind::AlreadyExists, network, message))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
