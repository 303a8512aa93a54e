//! Virtual networks that change while they are active.

use std::net::IpAddr;

use kvm_core::{ErrorKind, Impact, NetworkEntry, NetworkName, NetworkUpdate, Result, Subnet};
use kvm_xml::Network;
use kvm_xml::network::{DhcpHost, DhcpRange, DnsHost, NetworkDomain, PortGroup};
use kvm_xml::value::MacAddr;

use crate::case::{Failure, Outcome, cases, holds, refused, same};
use crate::cx::Cx;

const MAC: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x0d, 0xe5, 0x02]);

cases! { CASES in "networks" on Cx;
    /// An entry that is added to an active network alone is in what runs, and not in its configuration.
    async fn an_entry_is_added_live(cx) {
        let name = active(cx).await?;
        for entry in entries(cx, &name).await? {
            add(cx, &name, &entry, Impact::Live).await?;
            there(cx, &name, &entry, (true, false)).await?;
            remove(cx, &name, &entry, Impact::Live).await?;
            there(cx, &name, &entry, (false, false)).await?;
        }
        Ok(())
    }

    /// An entry that is added to the configuration leaves an active network alone, and is there at its next start.
    async fn an_entry_of_the_configuration_waits_for_the_next_start(cx) {
        let name = active(cx).await?;
        let entries = entries(cx, &name).await?;
        for entry in &entries {
            add(cx, &name, entry, Impact::Config).await?;
            there(cx, &name, entry, (false, true)).await?;
        }
        cx.networks().stop(&name).await?;
        cx.networks().start(&name).await?;
        for entry in &entries {
            there(cx, &name, entry, (true, true)).await?;
        }
        Ok(())
    }

    /// Adding to both changes both documents, and so does taking out.
    async fn an_entry_is_added_to_both(cx) {
        let name = active(cx).await?;
        for entry in entries(cx, &name).await? {
            add(cx, &name, &entry, Impact::Both).await?;
            there(cx, &name, &entry, (true, true)).await?;
            remove(cx, &name, &entry, Impact::Both).await?;
            there(cx, &name, &entry, (false, false)).await?;
        }
        Ok(())
    }

    /// The configuration of a network that is not active changes.
    async fn an_entry_is_added_to_a_network_that_is_not_active(cx) {
        let name = defined(cx, "a").await?;
        for entry in entries(cx, &name).await? {
            add(cx, &name, &entry, Impact::Config).await?;
            there(cx, &name, &entry, (true, true)).await?;
            remove(cx, &name, &entry, Impact::Config).await?;
            there(cx, &name, &entry, (false, false)).await?;
        }
        Ok(())
    }

    /// What is not active cannot be changed live.
    async fn what_is_not_active_is_not_changed_live(cx) {
        let name = defined(cx, "a").await?;
        for entry in entries(cx, &name).await? {
            for impact in [Impact::Live, Impact::Both] {
                refused(add(cx, &name, &entry, impact).await, ErrorKind::InvalidState)?;
                refused(remove(cx, &name, &entry, impact).await, ErrorKind::InvalidState)?;
            }
            there(cx, &name, &entry, (false, false)).await?;
        }
        Ok(())
    }

    /// An entry that one of the documents has already is refused, and neither changes.
    async fn a_second_entry_of_the_same_is_refused(cx) {
        let name = active(cx).await?;
        for entry in entries(cx, &name).await? {
            add(cx, &name, &entry, Impact::Config).await?;
            refused(add(cx, &name, &entry, Impact::Both).await, ErrorKind::AlreadyExists)?;
            there(cx, &name, &entry, (false, true)).await?;
        }
        Ok(())
    }

    /// An address that another device has cannot be reserved.
    async fn an_address_is_reserved_once(cx) {
        let name = defined(cx, "a").await?;
        let first = lease(cx, &name).await?;
        add(cx, &name, &first, Impact::Config).await?;
        let NetworkEntry::Lease(mut second) = first else { return Err(Failure::new("no lease")) };
        second.mac = Some(MacAddr([0x52, 0x54, 0x00, 0x0d, 0xe5, 0x03]));
        second.name = None;
        refused(add(cx, &name, &NetworkEntry::Lease(second), Impact::Config).await, ErrorKind::AlreadyExists)
    }

    /// An entry that one of the documents does not have is not found, and neither changes.
    async fn an_absent_entry_is_not_found(cx) {
        let name = active(cx).await?;
        for entry in entries(cx, &name).await? {
            refused(remove(cx, &name, &entry, Impact::Config).await, ErrorKind::NotFound)?;
            add(cx, &name, &entry, Impact::Live).await?;
            refused(remove(cx, &name, &entry, Impact::Both).await, ErrorKind::NotFound)?;
            there(cx, &name, &entry, (true, false)).await?;
        }
        Ok(())
    }

    /// An address that is none of the network's cannot be reserved.
    async fn a_strange_address_is_not_reserved(cx) {
        let name = defined(cx, "a").await?;
        let strange = IpAddr::from([198, 51, 100, 7]);
        let entry = DhcpHost { mac: Some(MAC), ip: Some(strange), ..DhcpHost::default() };
        let entry = NetworkEntry::Lease(Box::new(entry));
        refused(add(cx, &name, &entry, Impact::Config).await, ErrorKind::InvalidInput)?;
        there(cx, &name, &entry, (false, false)).await
    }

    /// An entry whose document does not say what tells it apart is refused.
    async fn an_entry_without_a_key_is_refused(cx) {
        let name = defined(cx, "a").await?;
        refused(add(cx, &name, &NetworkEntry::Lease(Box::default()), Impact::Config).await, ErrorKind::InvalidInput)
    }

    /// Redefining a network changes its configuration; what runs stays until its next start.
    async fn redefining_leaves_an_active_network_alone(cx) {
        let name = active(cx).await?;
        let mut document = cx.networks().configuration(&name).await?;
        document.domain = Some(NetworkDomain { name: Some("lab".into()), ..NetworkDomain::default() });
        cx.networks().redefine(&document).await?;
        let domain = |document: Network| document.domain.and_then(|domain| domain.name);
        same("stored domain", domain(cx.networks().configuration(&name).await?), Some("lab".into()))?;
        same("domain of what runs", domain(cx.networks().definition(&name).await?), None)?;
        holds("it is active", cx.networks().find(&name).await?.active)?;
        cx.networks().stop(&name).await?;
        cx.networks().start(&name).await?;
        same("domain after a start", domain(cx.networks().definition(&name).await?), Some("lab".into()))
    }

    /// A network keeps its uuid, and only what is there is redefined.
    async fn redefining_is_for_the_same_network(cx) {
        let name = defined(cx, "a").await?;
        let mut document = cx.networks().configuration(&name).await?;
        document.uuid = Some(cx.id("another").into());
        refused(cx.networks().redefine(&document).await, ErrorKind::InvalidInput)?;
        let absent = cx.bench().network(&cx.network_name("absent")?);
        refused(cx.networks().redefine(&absent).await, ErrorKind::NotFound)?;
        let absent = cx.network_name("absent")?;
        refused(cx.networks().configuration(&absent).await, ErrorKind::NotFound)?;
        let group = NetworkEntry::PortGroup(Box::new(group()));
        refused(add(cx, &absent, &group, Impact::Config).await, ErrorKind::NotFound)
    }
}

async fn defined(cx: &Cx, word: &str) -> Result<NetworkName> {
    let name = cx.network_name(word)?;
    cx.networks().define(&cx.bench().network(&name)).await?;
    Ok(name)
}

async fn active(cx: &Cx) -> Result<NetworkName> {
    let name = defined(cx, "a").await?;
    cx.networks().start(&name).await?;
    Ok(name)
}

/// One entry of each kind, none of which the network has.
async fn entries(cx: &Cx, name: &NetworkName) -> Result<[NetworkEntry; 4], Failure> {
    let address = address(cx, name).await?;
    let range = DhcpRange { start: Some(address), end: Some(address), ..DhcpRange::default() };
    let host = DnsHost { ip: Some(address), hostname: vec!["seven".into()], ..DnsHost::default() };
    Ok([
        lease(cx, name).await?,
        NetworkEntry::DhcpRange(Box::new(range)),
        NetworkEntry::DnsHost(Box::new(host)),
        NetworkEntry::PortGroup(Box::new(group())),
    ])
}

async fn lease(cx: &Cx, name: &NetworkName) -> Result<NetworkEntry, Failure> {
    let ip = Some(address(cx, name).await?);
    Ok(NetworkEntry::Lease(Box::new(DhcpHost {
        mac: Some(MAC),
        ip,
        name: Some("seven".into()),
        ..DhcpHost::default()
    })))
}

fn group() -> PortGroup {
    PortGroup { name: Some("dmz".into()), ..PortGroup::default() }
}

/// The last address that a guest of the network can have.
async fn address(cx: &Cx, name: &NetworkName) -> Result<IpAddr, Failure> {
    let document = cx.networks().configuration(name).await?;
    let subnet = document.ip.iter().find_map(Subnet::of);
    Ok(subnet.ok_or_else(|| Failure::new("the network has no addresses"))?.guests().last())
}

async fn add(cx: &Cx, name: &NetworkName, entry: &NetworkEntry, impact: Impact) -> Result<()> {
    cx.networks().update(name, &NetworkUpdate::Add(entry.clone()), impact).await
}

async fn remove(cx: &Cx, name: &NetworkName, entry: &NetworkEntry, impact: Impact) -> Result<()> {
    cx.networks().update(name, &NetworkUpdate::Remove(entry.clone()), impact).await
}

/// Passes when what runs, and the configuration, have the entry or not.
async fn there(cx: &Cx, name: &NetworkName, entry: &NetworkEntry, (live, config): (bool, bool)) -> Outcome {
    let is_live = entry.is_in(&cx.networks().definition(name).await?);
    same(&format!("{entry} in what is now"), is_live, live)?;
    let is_stored = entry.is_in(&cx.networks().configuration(name).await?);
    same(&format!("{entry} in the configuration"), is_stored, config)
}
