//! `kvmctl backup list`.

use kvm_clone::{PointId, PointSummary, VmDir, backups};
use kvm_core::{Bytes, Consistency, Result, VmId};
use serde::Serialize;

use super::Store;
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    Column::left("backup", "BACKUP"),
    Column::left("consistency", "CONSISTENCY"),
    Column::right("disks", "DISKS"),
    Column::right("size", "SIZE"),
    Column::wide("host", "HOST"),
    Column::wide("trouble", "TROUBLE"),
];

/// Arguments of `backup list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl backup list /srv/backup\n  kvmctl backup list lab2:/srv/backup web\n  \
        kvmctl backup list lab2:/srv/backup -o json",
    after_long_help = "Columns: backup, consistency, disks, size, host, trouble. SIZE is what the point's files take; blocks that points share are \
        in each of them. CONSISTENCY is off, application or crash. TROUBLE says why a manifest cannot be read. Points that are not whole, and \
        what is not ours, are not listed.\n\nLibrary: kvm_clone::backups"
)]
pub struct Args {
    #[command(flatten)]
    store: Store,
    /// Only those of this VM.
    #[arg(value_name = "VM")]
    vm: Option<VmDir>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
struct Row {
    backup: String,
    vm: Option<String>,
    uuid: Option<VmId>,
    host: Option<String>,
    consistency: Option<Consistency>,
    based_on: Option<PointId>,
    disks: Option<usize>,
    allocated_bytes: Option<Bytes>,
    trouble: Option<String>,
}

impl Row {
    fn of(point: PointSummary) -> Self {
        let allocated_bytes = point.allocated();
        let backup = format!("{}/{}", point.vm, point.point);
        let (manifest, trouble) = match point.manifest {
            Ok(manifest) => (Some(manifest), None),
            Err(e) => (None, Some(trouble(&e))),
        };
        Self {
            backup,
            vm: manifest.as_ref().map(|it| it.vm.as_str().to_owned()),
            uuid: manifest.as_ref().map(|it| it.uuid),
            host: manifest.as_ref().map(|it| it.host.clone()),
            consistency: manifest.as_ref().map(|it| it.consistency),
            based_on: manifest.as_ref().and_then(|it| it.based_on),
            disks: manifest.as_ref().map(|it| it.disks.len()),
            allocated_bytes,
            trouble,
        }
    }
}

/// What is wrong, with the field that it is wrong in.
fn trouble(error: &kvm_core::Error) -> String {
    match error.resource() {
        Some(resource) => format!("{resource}: {error}"),
        None => error.to_string(),
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    backups: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let store = args.store.host(session).await?;
    let points = backups(&store.host, args.store.directory(), args.vm.as_ref()).await?;
    Ok(List { backups: points.into_iter().map(Row::of).collect(), columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for row in &self.backups {
            let cell = |column: &Column| match column.key {
                "backup" => Cell::new(&row.backup),
                "consistency" => Cell::maybe(row.consistency),
                "disks" => Cell::maybe(row.disks),
                "size" => Cell::maybe(row.allocated_bytes),
                "host" => Cell::maybe(row.host.as_deref()),
                _ => Cell::new(row.trouble.as_deref().unwrap_or_default()),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
