//! `kvmctl checkpoint list`.

use kvm_core::{Bytes, CheckpointInfo, DiskChange, Result};
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vms::One;

const COLUMNS: [Column; 6] = [
    Column::left("name", "NAME"),
    Column::left("disks", "DISKS"),
    Column::right("changed", "CHANGED"),
    Column::left("created", "CREATED"),
    Column::left("parent", "PARENT"),
    Column::wide("description", "DESCRIPTION"),
];

/// Arguments of `checkpoint list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl checkpoint list web\n  kvmctl checkpoint list web --columns name,changed\n  \
        kvmctl checkpoint list web -o json",
    after_long_help = "Columns: name, disks, changed, created, parent, description. CHANGED is about how much was written since, which only \
        a running VM can say.\n\nLibrary: kvm_core::Checkpoints::list, ::changes"
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
    info: CheckpointInfo,
    changes: Option<Vec<DiskChange>>,
}

impl Row {
    fn changed(&self) -> Option<Bytes> {
        let sum = |sum: Bytes, change: &DiskChange| sum.saturating_add(change.changed);
        self.changes.as_ref().map(|changes| changes.iter().fold(Bytes::default(), sum))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    checkpoints: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let (connection, vm) = args.vm.find(session).await?;
    let facet = kvm_vm::checkpoints(&connection.host)?;
    let mut checkpoints = Vec::new();
    for info in facet.list(&vm.id).await? {
        // A record whose bitmaps are broken, or a VM that goes off in this moment, is no reason to show nothing.
        let changes = if vm.state.is_active() { facet.changes(&vm.id, &info.name).await.ok() } else { None };
        checkpoints.push(Row { info, changes });
    }
    Ok(List { checkpoints, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for row in &self.checkpoints {
            let info = &row.info;
            let cell = |column: &Column| match column.key {
                "name" => Cell::new(info.name.as_str()),
                "disks" => Cell::new(info.disks.join(",")),
                "changed" => Cell::maybe(row.changed()),
                "created" => Cell::maybe(info.created.map(|at| format!("{at:.0}"))),
                "parent" => Cell::new(info.parent.as_ref().map_or("", |parent| parent.as_str())),
                _ => Cell::new(info.description.as_deref().unwrap_or_default()),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
