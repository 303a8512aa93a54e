//! `kvmctl net list`.

use kvm_core::{NetworkInfo, Result};
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const COLUMNS: [Column; 5] = [
    Column::left("name", "NAME"),
    Column::left("state", "STATE"),
    Column::left("forward", "FORWARD"),
    Column::left("bridge", "BRIDGE"),
    Column::left("autostart", "AUTOSTART"),
];

/// Arguments of `net list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net list\n  kvmctl net list -o json",
    after_long_help = "Columns: name, state, forward, bridge, autostart.\n\nLibrary: kvm_core::Networks::list"
)]
pub struct Args {
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    networks: Vec<NetworkInfo>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let networks = session.host().await?.host.networks.list().await?;
    Ok(List { networks, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for network in &self.networks {
            let cell = |column: &Column| match column.key {
                "name" => Cell::new(network.name.as_str()),
                "state" => Cell::new(if network.active { "active" } else { "inactive" }),
                "forward" => Cell::new(&network.forward),
                "bridge" => Cell::maybe(network.bridge.as_deref()),
                _ => Cell::new(if network.autostart { "yes" } else { "no" }),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
