//! `kvmctl disk`: disks and drives of VMs.

use clap::Subcommand;
use kvm_core::{ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

mod attach;
mod commit;
mod detach;
mod eject;
mod graph;
mod insert;
mod limit;
mod list;
mod pull;
mod relocate;
mod resize;

/// Verbs for disks and drives.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl disk list web
  kvmctl disk attach web 20G
  kvmctl disk detach web vdb")]
pub enum Command {
    /// Give a VM a disk: a new volume, or an image that is there.
    Attach(attach::Args),
    /// Take a disk out of a VM; its volume stays unless it is to go.
    Detach(detach::Args),
    /// Make a disk of a VM larger.
    Resize(resize::Args),
    /// Limit how fast a disk may be used.
    Limit(limit::Args),
    /// Put a medium into a drive.
    Insert(insert::Args),
    /// Take the medium out of a drive.
    Eject(eject::Args),
    /// Write what a running VM's image holds into the one below, and go on there.
    Commit(commit::Args),
    /// Make a running VM's image independent of those below.
    Pull(pull::Args),
    /// Move a disk to another pool.
    Move(relocate::Args),
    /// Show which image lies upon which, and who uses them.
    Graph(graph::Args),
    /// List the disks and drives of a VM.
    #[command(visible_alias = "ls")]
    List(list::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Attach(args) => attach::run(args, session, printer).await,
        Command::Detach(args) => detach::run(args, session, printer).await,
        Command::Resize(args) => printer.show(&resize::run(args, session).await?),
        Command::Limit(args) => printer.show(&limit::run(args, session).await?),
        Command::Insert(args) => printer.show(&insert::run(args, session).await?),
        Command::Eject(args) => printer.show(&eject::run(args, session).await?),
        Command::Commit(args) => commit::run(args, session, printer).await,
        Command::Pull(args) => pull::run(args, session, printer).await,
        Command::Move(args) => relocate::run(args, session, printer).await,
        Command::Graph(args) => op::answer(&graph::run(args, session).await?, session, printer).await,
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
    }
}

/// The name of a disk alone.
fn target(device: &kvm_core::DeviceRef) -> String {
    match device {
        kvm_core::DeviceRef::Disk(name) => name.to_string(),
        other => other.to_string(),
    }
}
