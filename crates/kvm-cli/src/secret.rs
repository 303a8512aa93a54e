//! `kvmctl secret`: what a host keeps to open encrypted volumes and to log in at storage.

use clap::Subcommand;
use kvm_core::{ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

mod delete;
mod list;

/// Verbs for secrets.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl secret list
  kvmctl secret list -o json | jq -r '.[] | select(.vms + .pools == [] and .volume == null) | .id'
  kvmctl secret delete 5d0c9a3e-5a1f-4a53-9f6a-0c9b3c8f5f10")]
pub enum Command {
    /// List the secrets of a host and what needs them; never their values.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Delete a secret that nothing needs any more.
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Delete(args) => delete::run(args, session, printer).await,
    }
}
