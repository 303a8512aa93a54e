//! `kvmctl vol`: volumes in storage pools.

use clap::Subcommand;
use kvm_core::{ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

mod create;
mod delete;
mod list;
mod show;

/// Verbs for volumes.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl vol list default
  kvmctl vol create default/data.qcow2 20G
  kvmctl vol delete default/data.qcow2")]
pub enum Command {
    /// Make an empty volume.
    Create(create::Args),
    /// List the volumes of a pool.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show all that is known of a volume.
    Show(show::Args),
    /// Delete a volume and its data.
    Delete(delete::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Create(args) => printer.show(&create::run(args, session).await?),
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Show(args) => op::answer(&show::run(args, session).await?, session, printer).await,
        Command::Delete(args) => delete::run(args, session, printer).await,
    }
}
