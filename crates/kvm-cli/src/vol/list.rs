//! `kvmctl vol list`.

use kvm_core::{PoolName, Result, VolumeInfo};
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Printer, Table};
use crate::session::Session;

const COLUMNS: [Column; 7] = [
    Column::wide("pool", "POOL"),
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
    before_help = "Examples:\n  kvmctl vol list default\n  kvmctl vol list default --columns name,allocation\n  kvmctl vol list --orphans",
    after_long_help = "Columns: pool, name, format, capacity, allocation, path, backing. Orphans are volumes that no machine uses, running or \
        not, and that no other volume lies upon; media are none. A volume that is reached over the network has no path: PATH \
        shows what the host calls it.\n\nLibrary: kvm_core::Storage::volumes, kvm_vm::orphans"
)]
pub struct Args {
    /// Name of the pool; with --orphans all active pools if left out.
    #[arg(value_name = "POOL", value_parser = PoolName::adopt, required_unless_present = "orphans")]
    pool: Option<PoolName>,
    /// Only volumes that nothing on the host refers to.
    #[arg(long)]
    orphans: bool,
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

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let connection = session.host().await?;
    let volumes = match (args.orphans, &args.pool) {
        (false, Some(pool)) => connection.host.storage.volumes(pool).await?,
        (_, pool) => {
            let orphans = kvm_vm::orphans(&connection.host, pool.as_ref()).await?;
            for pool in &orphans.unknown {
                let name = &pool.name;
                printer.note(&format!("pool {name} is not active: what in it lies upon one of these is not known"));
            }
            orphans.volumes
        }
    };
    Ok(List { volumes, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for volume in &self.volumes {
            let cell = |column: &Column| match column.key {
                "pool" => Cell::new(volume.pool.as_str()),
                "name" => Cell::new(volume.name.as_str()),
                "format" => Cell::maybe(volume.format.as_deref()),
                "capacity" => Cell::new(volume.capacity),
                "allocation" => Cell::new(volume.allocation),
                "path" => Cell::maybe(volume.place()),
                _ => Cell::new(volume.backing.as_ref().map_or("", |b| b.as_str())),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
