//! What the verbs for entries of a network have in common.

use kvm_core::{Host, Impact, NetworkName, NetworkUpdate, Result, Which};
use kvm_xml::Network;
use serde::Serialize;

use super::One;
use crate::device::{Reach, presence, when};
use crate::printer::{Outcome, Page};
use crate::session::Session;

/// An entry that came or went.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    network: NetworkName,
    entry: String,
    action: &'static str,
    documents: Impact,
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        let Self { network, entry, action, documents } = self;
        page.done(format_args!("{entry} {action} network {network}{}", when(*documents)));
    }
}

/// Adds an entry to a network, or takes one out.
pub(super) async fn change(one: One, update: NetworkUpdate, reach: Reach, session: &Session) -> Result<Changed> {
    let connection = session.host().await?;
    let documents = kvm_vm::change_network(&connection.host, &one.network, &update, reach.impact()).await?;
    let (NetworkUpdate::Add(entry) | NetworkUpdate::Remove(entry)) = &update;
    let action = if matches!(update, NetworkUpdate::Add(_)) { "added to" } else { "taken out of" };
    Ok(Changed { network: one.network, entry: entry.to_string(), action, documents })
}

/// The rows that a network's documents have, each with the documents that it is in.
pub(super) async fn rows<T: PartialEq>(
    one: &One,
    session: &Session,
    of: impl Fn(&Network) -> Vec<T>,
) -> Result<Vec<(T, &'static str)>> {
    let connection = session.host().await?;
    let mut rows: Vec<(T, Vec<Which>)> = Vec::new();
    for (which, document) in documents(&connection.host, &one.network).await? {
        for row in of(&document) {
            match rows.iter_mut().find(|(other, _)| *other == row) {
                Some((_, there)) => there.push(which),
                None => rows.push((row, vec![which])),
            }
        }
    }
    Ok(rows.into_iter().map(|(row, there)| (row, presence(&there))).collect())
}

/// The documents that a network has: what runs first, then what is configured.
async fn documents(host: &Host, network: &NetworkName) -> Result<Vec<(Which, Network)>> {
    let info = host.networks.find(network).await?;
    let mut documents = Vec::new();
    if info.active {
        documents.push((Which::Live, host.networks.definition(network).await?));
    }
    if info.persistent {
        documents.push((Which::Config, host.networks.configuration(network).await?));
    }
    Ok(documents)
}
