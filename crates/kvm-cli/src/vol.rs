//! `kvmctl vol`: volumes in storage pools.

use clap::Subcommand;
use kvm_core::{ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

mod clone;
mod convert;
mod create;
mod delete;
mod done;
mod download;
mod list;
mod resize;
mod show;
mod upload;
mod wipe;

/// Verbs for volumes.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl vol list default
  kvmctl vol create default/data.qcow2 20G
  kvmctl vol upload iso/debian.iso debian-12.iso")]
pub enum Command {
    /// Make an empty volume, or one upon another image.
    Create(create::Args),
    /// List the volumes of a pool.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show all that is known of a volume.
    Show(show::Args),
    /// Make a volume of a file of this machine.
    Upload(upload::Args),
    /// Make a file of this machine of a volume.
    Download(download::Args),
    /// Copy a volume, in its pool or into another.
    Clone(clone::Args),
    /// Copy a volume into another format.
    Convert(convert::Args),
    /// Make a volume larger; smaller only with a word of its own.
    Resize(resize::Args),
    /// Overwrite all that is in a volume.
    Wipe(wipe::Args),
    /// Delete a volume and its data.
    Delete(delete::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Create(args) => create::run(args, session, printer).await,
        Command::List(args) => {
            let list = list::run(args, session, printer).await?;
            op::answer(&list, session, printer).await
        }
        Command::Show(args) => op::answer(&show::run(args, session).await?, session, printer).await,
        Command::Upload(args) => upload::run(args, session, printer).await,
        Command::Download(args) => download::run(args, session, printer).await,
        Command::Clone(args) => clone::run(args, session, printer).await,
        Command::Convert(args) => convert::run(args, session, printer).await,
        Command::Resize(args) => {
            let resized = resize::run(args, session, printer).await?;
            printer.show(&resized)
        }
        Command::Wipe(args) => wipe::run(args, session, printer).await,
        Command::Delete(args) => delete::run(args, session, printer).await,
    }
}
