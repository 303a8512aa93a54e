//! `kvmctl device`: what of a VM is neither a disk, nor a network device, nor a screen.

use clap::Subcommand;
use kvm_core::{ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

mod attach;
mod detach;
mod list;

/// Verbs for other devices.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl device list web
  kvmctl device attach web share=/srv/data,tag=data
  kvmctl device detach web share:data")]
pub enum Command {
    /// Give a VM a device: a shared directory, a vsock, a watchdog, sound, a controller…
    Attach(attach::Args),
    /// Take a device out of a VM.
    Detach(detach::Args),
    /// List the devices of a VM that are neither disks, nor network devices, nor screens.
    #[command(visible_alias = "ls")]
    List(list::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Attach(args) => attach::run(args, session, printer).await,
        Command::Detach(args) => detach::run(args, session, printer).await,
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
    }
}
