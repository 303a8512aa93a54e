//! Networks that change in place: `virNetworkUpdate`.

use kvm_core::{ErrorKind, Impact, NetworkEntry, NetworkUpdate, Which};
use virt::network::Network;
use virt::sys;

use crate::document::{self, looked_again};
use crate::error::LibvirtError;
use crate::task::{Failure, Task};

/// The document that the next start uses; `InvalidState` for a transient network.
pub(super) fn stored(task: &Task<'_>, network: &Network) -> Result<kvm_xml::Network, Failure> {
    if !network.is_persistent()? {
        return Err(task.invalid_state("is transient and has no configuration").into());
    }
    document::read(task, &network.xml_desc(sys::VIR_NETWORK_XML_INACTIVE)?)
}

pub(super) fn apply(task: &Task<'_>, network: &Network, update: &NetworkUpdate, impact: Impact) -> Result<(), Failure> {
    let check = || place(task, network, update, impact);
    let place = check()?;
    let entry = update.entry();
    let (command, xml) = match update {
        NetworkUpdate::Add(_) => (sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, entry.to_xml()),
        NetworkUpdate::Remove(_) => (sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, entry.key_xml()),
    };
    let updated = network.update(command, section(task, entry)?, place, &xml, flags(impact));
    updated.map_err(|e| looked_again(e, || check().map(drop), |e| refused(task, e)))
}

/// Which `ip` element of the documents has the entry, or is to have it; -1 for entries that stand elsewhere.
fn place(task: &Task<'_>, network: &Network, update: &NetworkUpdate, impact: Impact) -> Result<i32, Failure> {
    let entry = update.entry();
    let mut place = None;
    for document in documents(task, network, impact)? {
        match update {
            NetworkUpdate::Add(_) if entry.clashes_in(&document) => {
                let message = format!("{} has {entry} already, or one of the same address or name", task.resource());
                return Err(task.error(ErrorKind::AlreadyExists, message).into());
            }
            NetworkUpdate::Remove(_) if !entry.is_in(&document) => {
                let message = format!("{} has not {entry}", task.resource());
                return Err(task.error(ErrorKind::NotFound, message).into());
            }
            _ => {}
        }
        if !entry.is_of_address() {
            continue;
        }
        let here = entry.place(&document).ok_or_else(|| entry.no_place())?;
        if place.replace(here).is_some_and(|other| other != here) {
            let message = "has its addresses in another order than its configuration; change one of them at a time";
            return Err(task.invalid_state(message).into());
        }
    }
    Ok(place.and_then(|place| i32::try_from(place).ok()).unwrap_or(-1))
}

/// The documents that a change is to reach; `InvalidState` when one is not there.
fn documents(task: &Task<'_>, network: &Network, impact: Impact) -> Result<Vec<kvm_xml::Network>, Failure> {
    let read = |which: &Which| match which {
        Which::Config => stored(task, network),
        Which::Live if network.is_active()? => document::read(task, &network.xml_desc(0)?),
        Which::Live => Err(task.invalid_state("is not active").into()),
    };
    impact.documents().iter().map(read).collect()
}

fn section(task: &Task<'_>, entry: &NetworkEntry) -> Result<sys::virNetworkUpdateSection, Failure> {
    Ok(match entry {
        NetworkEntry::Lease(_) => sys::VIR_NETWORK_SECTION_IP_DHCP_HOST,
        NetworkEntry::DhcpRange(_) => sys::VIR_NETWORK_SECTION_IP_DHCP_RANGE,
        NetworkEntry::DnsHost(_) => sys::VIR_NETWORK_SECTION_DNS_HOST,
        NetworkEntry::PortGroup(_) => sys::VIR_NETWORK_SECTION_PORTGROUP,
        _ => return Err(task.error(ErrorKind::Unsupported, "this version knows no such entry").into()),
    })
}

fn flags(impact: Impact) -> sys::virNetworkUpdateFlags {
    match impact {
        Impact::Live => sys::VIR_NETWORK_UPDATE_AFFECT_LIVE,
        Impact::Config => sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG,
        Impact::Both => sys::VIR_NETWORK_UPDATE_AFFECT_LIVE | sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG,
    }
}

/// What it means that libvirt did not do it, after looking again found no other reason.
fn refused(task: &Task<'_>, e: LibvirtError) -> Failure {
    match e.kind() {
        Some(ErrorKind::Unsupported) => {
            task.error(ErrorKind::Unsupported, "this host changes no networks in place").with_source(e).into()
        }
        _ => document::refused(task, e),
    }
}
