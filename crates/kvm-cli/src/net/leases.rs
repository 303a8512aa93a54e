//! `kvmctl net leases`.

use kvm_core::{Lease, Result};
use serde::Serialize;

use super::One;
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const COLUMNS: [Column; 4] = [
    Column::left("address", "ADDRESS"),
    Column::left("mac", "MAC"),
    Column::left("hostname", "HOSTNAME"),
    Column::left("expires", "EXPIRES"),
];

/// Arguments of `net leases`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl net leases default",
    after_long_help = "Columns: address, mac, hostname, expires.\n\nLibrary: kvm_core::Networks::leases"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Leases {
    leases: Vec<Lease>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Leases> {
    let columns = columns(&COLUMNS, &args.list)?;
    let leases = session.host().await?.host.networks.leases(&args.one.network).await?;
    Ok(Leases { leases, columns, args: args.list })
}

impl Outcome for Leases {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for lease in &self.leases {
            let cell = |column: &Column| match column.key {
                "address" => Cell::new(format_args!("{}/{}", lease.address, lease.prefix)),
                "mac" => Cell::new(lease.mac),
                "hostname" => Cell::maybe(lease.hostname.as_deref()),
                _ => Cell::new(lease.expires.map_or("never".to_owned(), |at| at.to_string())),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
