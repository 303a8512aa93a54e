//! `kvmctl nic`: network devices of VMs.

use clap::Subcommand;
use kvm_core::{ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

mod attach;
mod detach;
mod link;
mod list;

/// Verbs for network devices.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl nic list web
  kvmctl nic attach web default
  kvmctl nic link web 52:54:00:12:34:56 down")]
pub enum Command {
    /// Give a VM a network device.
    Attach(attach::Args),
    /// Take a network device out of a VM.
    Detach(detach::Args),
    /// Plug the cable of a network device in, or pull it.
    Link(link::Args),
    /// List the network devices of a VM.
    #[command(visible_alias = "ls")]
    List(list::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Attach(args) => attach::run(args, session, printer).await,
        Command::Detach(args) => detach::run(args, session, printer).await,
        Command::Link(args) => printer.show(&link::run(args, session).await?),
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
    }
}
