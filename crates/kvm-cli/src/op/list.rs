//! `kvmctl op list`.

use kvm_core::Result;
use kvm_core::op::{OpView, Store as _};
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    Column::left("operation", "OPERATION"),
    Column::left("status", "STATUS"),
    Column::left("started", "STARTED"),
    Column::left("user", "USER"),
    Column::left("kind", "KIND"),
    Column::wide("title", "TITLE"),
];

/// Arguments of `op list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl op list\n  kvmctl op list --open\n  kvmctl op list -o json",
    after_long_help = "Columns: operation, status, started, user, kind, title.\n\nLibrary: kvm_core::op::Store::unfinished, ::finished"
)]
pub struct Args {
    /// Only those that run, were interrupted or need attention.
    #[arg(long)]
    open: bool,
    /// At most this many finished ones, the latest.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    operations: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

/// What a list says of an operation.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    operation: String,
    kind: String,
    title: String,
    target: String,
    status: kvm_core::op::OpStatus,
    user: String,
    started: String,
    updated: String,
}

impl From<OpView> for Row {
    fn from(view: OpView) -> Self {
        Self {
            operation: view.header.id.to_string(),
            kind: view.header.kind,
            title: view.header.title,
            target: view.header.target,
            status: view.status,
            user: view.header.owner.user,
            started: format!("{:.0}", view.started),
            updated: format!("{:.0}", view.updated),
        }
    }
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let operations = rows((!args.open).then_some(args.last), |_| true, session).await?;
    Ok(List { operations, columns, args: args.list })
}

/// Those that are open, and the latest of those that ended, unless `None` of them.
pub(super) async fn rows(
    ended: Option<usize>,
    wanted: impl Fn(&OpView) -> bool,
    session: &Session,
) -> Result<Vec<Row>> {
    let mut operations = Vec::new();
    if let Some(store) = session.existing_store()? {
        operations.extend(store.unfinished().await?.into_iter().filter(&wanted).map(Row::from));
        if let Some(last) = ended {
            let finished = store.finished().await?.into_iter().rev();
            operations.extend(finished.filter(&wanted).take(last).map(Row::from));
        }
    }
    Ok(operations)
}

impl List {
    /// With all columns.
    pub(super) fn of(operations: Vec<Row>) -> Self {
        Self { operations, columns: COLUMNS.to_vec(), args: ListArgs::default() }
    }
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        if self.operations.is_empty() {
            return page.line("no operations");
        }
        let mut table = Table::new(&self.columns);
        for row in &self.operations {
            let cell = |column: &Column| match column.key {
                "operation" => Cell::new(&row.operation),
                "status" => Cell::new(row.status.as_str()),
                "started" => Cell::new(&row.started),
                "user" => Cell::new(&row.user),
                "kind" => Cell::new(&row.kind),
                _ => Cell::new(&row.title),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
