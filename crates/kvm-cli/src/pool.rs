//! `kvmctl pool`: storage pools.

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use kvm_core::{ErrorKind, PoolName, Result};
use serde::Serialize;

use crate::completion;
use crate::op;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

mod autostart;
mod create;
mod delete;
mod discover;
mod list;
mod refresh;
mod show;
mod start;
mod stop;

/// Verbs for storage pools.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl pool list
  kvmctl pool create images --target /var/lib/libvirt/images --autostart
  kvmctl pool refresh images")]
pub enum Command {
    /// Define a pool and start it.
    Create(Box<create::Args>),
    /// Look for what could become a pool.
    Discover(discover::Args),
    /// List pools.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show all that is known of a pool.
    Show(show::Args),
    /// Start a pool.
    Start(start::Args),
    /// Stop a pool; its data stays.
    Stop(stop::Args),
    /// Set whether a pool starts with its host.
    Autostart(autostart::Args),
    /// Look again at what is in a pool.
    Refresh(refresh::Args),
    /// Forget a pool; its data stays unless it is to go.
    Delete(delete::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Create(args) => create::run(*args, session, printer).await,
        Command::Discover(args) => printer.show(&discover::run(args, session).await?),
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Show(args) => op::answer(&show::run(args, session).await?, session, printer).await,
        Command::Start(args) => printer.show(&start::run(args, session).await?),
        Command::Stop(args) => printer.show(&stop::run(args, session).await?),
        Command::Autostart(args) => printer.show(&autostart::run(args, session).await?),
        Command::Refresh(args) => printer.show(&refresh::run(args, session).await?),
        Command::Delete(args) => delete::run(args, session, printer).await,
    }
}

/// One pool.
#[derive(Clone, Debug, clap::Args)]
struct One {
    /// Name of the pool.
    #[arg(value_name = "POOL", value_parser = PoolName::adopt, add = ArgValueCandidates::new(completion::pool_names))]
    pool: PoolName,
}

/// What became of a pool.
#[derive(Debug, Serialize)]
struct Changed {
    pool: PoolName,
    action: &'static str,
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("pool {} {}", self.pool, self.action));
    }
}
