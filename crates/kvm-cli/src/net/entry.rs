//! What the verbs for entries of a network have in common.

use kvm_core::{Host, Impact, NetworkName, NetworkUpdate, Result, Which};
use kvm_xml::Network;
use serde::Serialize;

use super::One;
use crate::device::{Reach, presence, when};
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
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

/// What a list shows of one entry.
pub(super) trait Row: PartialEq + Serialize {
    /// All there are, the last for the documents that an entry is in.
    const COLUMNS: &[Column];

    /// The entries of a document.
    fn all(document: &Network) -> Vec<Self>
    where
        Self: Sized;

    /// What stands in this column; `None` for the documents.
    fn cell(&self, key: &str) -> Option<Cell>;
}

#[derive(Debug, Serialize)]
struct Placed<R> {
    #[serde(flatten)]
    row: R,
    documents: &'static str,
}

/// The entries of a network, each with the documents that it is in.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Listed<R> {
    rows: Vec<Placed<R>>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

/// Lists the entries of one kind that a network has.
pub(super) async fn list<R: Row>(one: &One, args: ListArgs, session: &Session) -> Result<Listed<R>> {
    let columns = columns(R::COLUMNS, &args)?;
    let connection = session.host().await?;
    let mut found: Vec<(R, Vec<Which>)> = Vec::new();
    for (which, document) in documents(&connection.host, &one.network).await? {
        for row in R::all(&document) {
            match found.iter_mut().find(|(other, _)| *other == row) {
                Some((_, there)) => there.push(which),
                None => found.push((row, vec![which])),
            }
        }
    }
    let rows = found.into_iter().map(|(row, there)| Placed { row, documents: presence(&there) }).collect();
    Ok(Listed { rows, columns, args })
}

impl<R: Row> Outcome for Listed<R> {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for Placed { row, documents } in &self.rows {
            let cell = |column: &Column| row.cell(column.key).unwrap_or_else(|| Cell::new(documents));
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
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
