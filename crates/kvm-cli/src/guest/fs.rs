//! `kvmctl guest fs`.

use kvm_core::Result;
use kvm_vm::guest::FileSystem;
use serde::Serialize;

use super::agent;
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vms::One;

const COLUMNS: [Column; 6] = [
    Column::left("mount_point", "MOUNTED ON"),
    Column::left("kind", "KIND"),
    Column::right("used", "USED"),
    Column::right("total", "TOTAL"),
    Column::left("name", "NAME"),
    Column::left("disks", "DISKS"),
];

/// Arguments of `guest fs`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest fs web\n  kvmctl guest fs web --columns mount_point,used\n  \
        kvmctl guest fs web -o json",
    after_long_help = "Columns: mount_point, kind, used, total, name, disks.\n\n\
        Library: kvm_vm::guest::Agent::file_systems"
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
    all: Vec<FileSystem>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let (agent, _) = agent(&args.vm, session).await?;
    Ok(List { all: agent.file_systems().await?, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for file_system in &self.all {
            let cell = |column: &Column| match column.key {
                "mount_point" => Cell::new(&file_system.mount_point),
                "kind" => Cell::new(&file_system.kind),
                "used" => Cell::maybe(file_system.used),
                "total" => Cell::maybe(file_system.total),
                "name" => Cell::new(&file_system.name),
                _ => Cell::new(file_system.disks.join(" ")),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
