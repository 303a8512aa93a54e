//! `kvmctl nic list`.

use kvm_core::{Result, Which};
use serde::Serialize;

use crate::device::{documents, note, presence};
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vm::show_devices::Nic;
use crate::vms::One;

const COLUMNS: [Column; 6] = [
    Column::left("mac", "MAC"),
    Column::left("kind", "KIND"),
    Column::left("source", "SOURCE"),
    Column::left("model", "MODEL"),
    Column::left("device", "DEVICE"),
    Column::left("documents", "WHERE"),
];

/// Arguments of `nic list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl nic list web\n  kvmctl nic list web -o json",
    after_long_help = "Columns: mac, kind, source, model, device (its name on the host), documents. WHERE says whether a device is in \
        the running VM (live), in its configuration (config), or in both.\n\nLibrary: kvm_core::Hypervisor::definition"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    nic: Nic,
    documents: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    nics: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let (connection, vm) = args.vm.find(session).await?;
    let mut nics: Vec<(Vec<Which>, Nic)> = Vec::new();
    for (which, document) in documents(&connection.host, &vm).await? {
        for nic in Nic::of(&document) {
            note(&mut nics, which, nic, |other, nic| other.mac == nic.mac);
        }
    }
    let nics = nics.into_iter().map(|(there, nic)| Row { nic, documents: presence(&there) }).collect();
    Ok(List { nics, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for Row { nic, documents } in &self.nics {
            let cell = |column: &Column| match column.key {
                "mac" => Cell::maybe(nic.mac.as_deref()),
                "kind" => Cell::maybe(nic.kind),
                "source" => Cell::maybe(nic.source.as_deref()),
                "model" => Cell::maybe(nic.model.as_deref()),
                "device" => Cell::maybe(nic.device.as_deref()),
                _ => Cell::new(documents),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
