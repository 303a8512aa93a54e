//! `kvmctl backup`: points in time of VMs, in a directory of some host.

use std::sync::Arc;

use clap::Subcommand;
use kvm_clone::{PointRef, StoreDir, StorePlace};
use kvm_core::{ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::{Connection, Session};

mod create;
mod delete;
mod list;
mod prune;
mod show;
mod verify;

/// Verbs for backups.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl backup create web /srv/backup
  kvmctl backup create web lab2:/srv/backup
  kvmctl backup list lab2:/srv/backup")]
pub enum Command {
    /// Put a point in time of a VM into a directory of this host or another.
    Create(create::Args),
    /// List the points in a store.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show what a point says of itself.
    Show(show::Args),
    /// Read every file of a point and compare it with its digest.
    Verify(verify::Args),
    /// Delete a point; all others stay whole.
    Delete(delete::Args),
    /// Delete all points of a VM but the newest.
    Prune(prune::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Create(args) => create::run(args, session, printer).await,
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Show(args) => printer.show(&show::run(args, session).await?),
        Command::Verify(args) => verify::run(args, session, printer).await,
        Command::Delete(args) => delete::run(args, session, printer).await,
        Command::Prune(args) => prune::run(args, session, printer).await,
    }
}

/// A store on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Store {
    /// A directory with backups: /DIR, or HOST:/DIR on another host (a target or an alias of hosts.toml).
    #[arg(value_name = "STORE")]
    store: StorePlace,
}

impl Store {
    /// The host that has it: a directory alone is one of this host.
    pub(crate) async fn open(&self, of: &Arc<Connection>, session: &Session) -> Result<Arc<Connection>> {
        match &self.store.host {
            Some(host) => session.at(Some(host)).await,
            None => Ok(Arc::clone(of)),
        }
    }

    /// The host that has it, where no other host is concerned.
    pub(crate) async fn host(&self, session: &Session) -> Result<Arc<Connection>> {
        session.at(self.store.host.as_deref()).await
    }

    pub(crate) fn directory(&self) -> &StoreDir {
        &self.store.directory
    }
}

/// A point of a store on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    #[command(flatten)]
    pub(crate) store: Store,
    /// VM/POINT such as web/2026-11-22T07-35-00Z, or VM for its newest one.
    #[arg(value_name = "POINT")]
    pub(crate) point: PointRef,
}
