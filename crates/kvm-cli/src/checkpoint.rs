//! `kvmctl checkpoint`: moments from which on the images of VMs remember what is written.

use clap::Subcommand;
use kvm_core::{ErrorKind, Result, SnapshotName, VmId};
use serde::Serialize;

use crate::op;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

mod create;
mod delete;
mod list;

/// Verbs for checkpoints.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl checkpoint create web monday
  kvmctl checkpoint list web
  kvmctl checkpoint delete web monday")]
pub enum Command {
    /// Have the images of a running VM remember what is written from now on.
    Create(create::Args),
    /// List the checkpoints of a VM, and how much was written since each.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Delete a checkpoint; the VM's data stays.
    Delete(delete::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Create(args) => printer.show(&create::run(args, session).await?),
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Delete(args) => delete::run(args, session, printer).await,
    }
}

/// What became of a checkpoint.
#[derive(Debug, Serialize)]
struct Changed {
    vm: String,
    id: VmId,
    checkpoint: SnapshotName,
    action: &'static str,
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("checkpoint {} of {} {}", self.checkpoint.as_str(), self.vm, self.action));
    }
}
