//! `kvmctl disk list`.

use kvm_core::{Result, Which};
use serde::Serialize;

use crate::device::{documents, note, presence};
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vm::show_devices::Disk;
use crate::vms::One;

const COLUMNS: [Column; 7] = [
    Column::left("target", "TARGET"),
    Column::left("device", "DEVICE"),
    Column::left("bus", "BUS"),
    Column::left("format", "FORMAT"),
    Column::right("capacity", "CAPACITY"),
    Column::left("documents", "WHERE"),
    Column::wide("source", "SOURCE"),
];

/// Arguments of `disk list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk list web\n  kvmctl disk list web -o json",
    after_long_help = "Columns: target, device, bus, format, capacity, documents, source. WHERE says whether a disk is in the running VM \
        (live), in its configuration (config), or in both.\n\nLibrary: kvm_core::Hypervisor::definition"
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
    disk: Disk,
    documents: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    disks: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let (connection, vm) = args.vm.find(session).await?;
    let mut disks: Vec<(Vec<Which>, Disk)> = Vec::new();
    for (which, document) in documents(&connection.host, &vm).await? {
        for disk in Disk::of(&connection.host, &document).await {
            note(&mut disks, which, disk, |other, disk| other.target == disk.target);
        }
    }
    let disks = disks.into_iter().map(|(there, disk)| Row { disk, documents: presence(&there) }).collect();
    Ok(List { disks, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for Row { disk, documents } in &self.disks {
            let cell = |column: &Column| match column.key {
                "target" => Cell::maybe(disk.target.as_deref()),
                "device" => Cell::new(disk.device),
                "bus" => Cell::maybe(disk.bus),
                "format" => Cell::maybe(disk.format),
                "capacity" => Cell::maybe(disk.capacity_bytes),
                "documents" => Cell::new(documents),
                _ => Cell::new(disk.source.as_deref().unwrap_or("(empty)")),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
