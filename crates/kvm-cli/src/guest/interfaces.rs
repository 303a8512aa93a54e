//! `kvmctl guest interfaces`.

use kvm_core::Result;
use kvm_vm::guest::{GuestInterface, InterfaceAddress};
use serde::Serialize;

use super::agent;
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vms::One;

const COLUMNS: [Column; 3] =
    [Column::left("name", "NAME"), Column::left("mac", "MAC"), Column::left("addresses", "ADDRESSES")];

/// Arguments of `guest interfaces`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest interfaces web\n  kvmctl guest interfaces web -o json",
    after_long_help = "Columns: name, mac, addresses.\n\nLibrary: kvm_vm::guest::Agent::interfaces"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    all: Vec<GuestInterface>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let (agent, _) = agent(&args.vm, session).await?;
    Ok(List { all: agent.interfaces().await?, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let address = |address: &InterfaceAddress| match address.prefix {
            Some(prefix) => format!("{}/{prefix}", address.address),
            None => address.address.to_string(),
        };
        let mut table = Table::new(&self.columns);
        for interface in &self.all {
            let cell = |column: &Column| match column.key {
                "name" => Cell::new(&interface.name),
                "mac" => Cell::maybe(interface.mac),
                _ => Cell::new(interface.addresses.iter().map(address).collect::<Vec<_>>().join(" ")),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
