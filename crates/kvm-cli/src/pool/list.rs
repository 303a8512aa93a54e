//! `kvmctl pool list`.

use kvm_core::{PoolInfo, Result};
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const COLUMNS: [Column; 8] = [
    Column::left("name", "NAME"),
    Column::left("state", "STATE"),
    Column::left("type", "TYPE"),
    Column::right("capacity", "CAPACITY"),
    Column::right("used", "USED"),
    Column::right("free", "FREE"),
    Column::left("autostart", "AUTOSTART"),
    Column::wide("target", "TARGET"),
];

/// Arguments of `pool list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl pool list\n  kvmctl pool list --columns name,free",
    after_long_help = "Columns: name, state, type, capacity, used, free, autostart, target.\n\nLibrary: kvm_core::Storage::pools"
)]
pub struct Args {
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    pools: Vec<PoolInfo>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let pools = session.host().await?.host.storage.pools().await?;
    Ok(List { pools, columns, args: args.list })
}

pub(super) fn state(active: bool) -> &'static str {
    if active { "active" } else { "inactive" }
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for pool in &self.pools {
            let cell = |column: &Column| match column.key {
                "name" => Cell::new(pool.name.as_str()),
                "state" => Cell::new(state(pool.active)),
                "type" => Cell::new(&pool.kind),
                "capacity" => Cell::maybe(pool.capacity),
                "used" => Cell::maybe(pool.allocation),
                "free" => Cell::maybe(pool.available),
                "autostart" => Cell::new(if pool.autostart { "yes" } else { "no" }),
                _ => Cell::maybe(pool.target.as_ref().map(|t| t.as_str())),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
