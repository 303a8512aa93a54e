//! `kvmctl vol list`.

use kvm_core::{PoolName, Result, VolumeInfo};
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    Column::left("name", "NAME"),
    Column::left("format", "FORMAT"),
    Column::right("capacity", "CAPACITY"),
    Column::right("allocation", "ON DISK"),
    Column::wide("path", "PATH"),
    Column::wide("backing", "BACKING FILE"),
];

/// Arguments of `vol list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol list default\n  kvmctl vol list default --columns name,allocation",
    after_long_help = "Columns: name, format, capacity, allocation, path, backing.\n\nLibrary: kvm_core::Storage::volumes"
)]
pub struct Args {
    /// Name of the pool.
    #[arg(value_name = "POOL", value_parser = PoolName::adopt)]
    pool: PoolName,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    volumes: Vec<VolumeInfo>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let volumes = session.host().await?.host.storage.volumes(&args.pool).await?;
    Ok(List { volumes, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for volume in &self.volumes {
            let cell = |column: &Column| match column.key {
                "name" => Cell::new(volume.name.as_str()),
                "format" => Cell::maybe(volume.format.as_deref()),
                "capacity" => Cell::new(volume.capacity),
                "allocation" => Cell::new(volume.allocation),
                "path" => Cell::new(volume.path.as_str()),
                _ => Cell::new(volume.backing.as_ref().map_or("", |b| b.as_str())),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
