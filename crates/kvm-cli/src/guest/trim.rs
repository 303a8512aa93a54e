//! `kvmctl guest trim`.

use kvm_core::Result;
use kvm_vm::guest::Trimmed;
use serde::Serialize;

use super::agent;
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vms::One;

const COLUMNS: [Column; 3] = [
    Column::left("mount_point", "MOUNTED ON"),
    Column::right("trimmed", "GIVEN BACK"),
    Column::left("error", "PROBLEM"),
];

/// Arguments of `guest trim`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest trim web\n  kvmctl guest trim web -o json",
    after_long_help = "An image becomes smaller where its disk passes discards on (vm create does that), and the file system below can \
        hold holes.\n\nLibrary: kvm_vm::guest::Agent::trim"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List(Vec<Trimmed>);

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let (agent, _) = agent(&args.vm, session).await?;
    agent.trim().await.map(List)
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&COLUMNS);
        for Trimmed { mount_point, trimmed, error } in &self.0 {
            table.row(vec![Cell::new(mount_point), Cell::maybe(*trimmed), Cell::new(error.as_deref().unwrap_or(""))]);
        }
        page.table(&table);
    }
}
