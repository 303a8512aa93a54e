//! `kvmctl secret list`.

use kvm_core::Result;
use kvm_vm::SecretUse;
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    Column::left("id", "ID"),
    Column::left("type", "TYPE"),
    Column::left("usage", "USAGE"),
    Column::left("needed-by", "NEEDED BY"),
    Column::wide("private", "PRIVATE"),
    Column::wide("description", "DESCRIPTION"),
];

/// Arguments of `secret list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl secret list\n  kvmctl secret list -w\n  kvmctl secret list -o json",
    after_long_help = "Columns: id, type, usage, needed-by, private, description. NEEDED BY is empty when there is no volume at the path that \
        a secret is for, and no VM and no pool names it. Values are never shown: nobody can read them back.\n\nLibrary: kvm_vm::secrets"
)]
pub struct Args {
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    secrets: Vec<SecretUse>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let connection = session.host().await?;
    Ok(List { secrets: kvm_vm::secrets(&connection.host).await?, columns, args: args.list })
}

/// Whoever needs it: `volume default/safe.qcow2, VM db`.
fn needed_by(secret: &SecretUse) -> String {
    let volume = secret.volume.iter().map(|volume| format!("volume {volume}"));
    let vms = secret.vms.iter().map(|vm| format!("VM {vm}"));
    let pools = secret.pools.iter().map(|pool| format!("pool {pool}"));
    volume.chain(vms).chain(pools).collect::<Vec<_>>().join(", ")
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for secret in &self.secrets {
            let info = &secret.info;
            let cell = |column: &Column| match column.key {
                "id" => Cell::new(info.id.to_string()),
                "type" => Cell::new(info.kind.as_deref().unwrap_or_default()),
                "usage" => Cell::new(info.usage.as_deref().unwrap_or_default()),
                "needed-by" => Cell::new(needed_by(secret)),
                "private" => Cell::new(if info.private { "yes" } else { "no" }),
                _ => Cell::new(info.description.as_deref().unwrap_or_default()),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
