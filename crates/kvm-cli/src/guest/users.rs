//! `kvmctl guest users`.

use kvm_core::Result;
use kvm_vm::guest::LoggedIn;
use serde::Serialize;

use super::agent;
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vms::One;

const COLUMNS: [Column; 3] =
    [Column::left("user", "USER"), Column::left("domain", "DOMAIN"), Column::left("since", "SINCE")];

/// Arguments of `guest users`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest users web\n  kvmctl guest users web -o json",
    after_long_help = "Columns: user, domain (in Windows), since.\n\nLibrary: kvm_vm::guest::Agent::users"
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
    users: Vec<LoggedIn>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let (agent, _) = agent(&args.vm, session).await?;
    Ok(List { users: agent.users().await?, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for user in &self.users {
            let cell = |column: &Column| match column.key {
                "user" => Cell::new(&user.user),
                "domain" => Cell::maybe(user.domain.as_deref()),
                _ => Cell::maybe(user.since),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
