//! `kvmctl snap list`.

use kvm_core::{Result, SnapshotName};
use serde::Serialize;

use super::{Snapshot, time};
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vms::One;

const COLUMNS: [Column; 7] = [
    Column::left("name", "NAME"),
    Column::left("current", "CURRENT"),
    Column::left("kind", "KIND"),
    Column::left("state", "STATE"),
    Column::left("created", "CREATED"),
    Column::left("parent", "PARENT"),
    Column::wide("description", "DESCRIPTION"),
];

/// Arguments of `snap list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl snap list web\n  kvmctl snap list web --tree\n  kvmctl snap list web -o json",
    after_long_help = "Columns: name, current, kind, state, created, parent, description. STATE is what the VM is after a revert; CURRENT \
        says which one it was last put to.\n\nLibrary: kvm_core::Snapshots::list"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Show which goes on from which, and where the VM is now.
    #[arg(long)]
    tree: bool,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    snapshots: Vec<Snapshot>,
    #[serde(skip)]
    tree: bool,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let (connection, vm) = args.vm.find(session).await?;
    let snapshots = kvm_vm::snapshots(&connection.host)?.list(&vm.id).await?;
    let snapshots = snapshots.into_iter().map(Snapshot::from).collect();
    Ok(List { snapshots, tree: args.tree, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        if self.tree {
            return tree(&self.snapshots).into_iter().for_each(|line| page.line(line));
        }
        let mut table = Table::new(&self.columns);
        for Snapshot { info, kind } in &self.snapshots {
            let cell = |column: &Column| match column.key {
                "name" => Cell::new(info.name.as_str()),
                "current" => Cell::new(if info.current { "yes" } else { "" }),
                "kind" => Cell::new(kind),
                "state" => Cell::state(info.state),
                "created" => Cell::maybe(time(info.created)),
                "parent" => Cell::new(info.parent.as_ref().map_or("", |parent| parent.as_str())),
                _ => Cell::new(info.description.as_deref().unwrap_or_default()),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}

/// Each below its parent, two blanks further; the VM below the one that it was last put to.
fn tree(all: &[Snapshot]) -> Vec<String> {
    let mut lines = Vec::new();
    // One whose parent is not there begins a tree of its own.
    let is_known = |name: &SnapshotName| all.iter().any(|other| other.info.name == *name);
    let roots = all.iter().filter(|snapshot| !snapshot.info.parent.as_ref().is_some_and(is_known));
    for root in roots {
        branch(root, all, 0, &mut lines);
    }
    if !all.iter().any(|snapshot| snapshot.info.current) {
        lines.push("(now)".to_owned());
    }
    lines
}

fn branch(at: &Snapshot, all: &[Snapshot], depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let made = time(at.info.created).map(|at| format!(", {at}")).unwrap_or_default();
    lines.push(format!("{indent}{}  ({}{made})", at.info.name.as_str(), at.kind));
    for child in all.iter().filter(|other| other.info.parent.as_ref() == Some(&at.info.name)) {
        branch(child, all, depth + 1, lines);
    }
    if at.info.current {
        lines.push(format!("{indent}  (now)"));
    }
}
