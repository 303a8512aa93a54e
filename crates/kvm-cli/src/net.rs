//! `kvmctl net`: virtual networks.

use clap::Subcommand;
use kvm_core::{ErrorKind, NetworkName, Result};
use serde::Serialize;

use crate::op;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

mod leases;
mod list;
mod show;
mod start;
mod stop;

/// Verbs for virtual networks.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl net list
  kvmctl net start default
  kvmctl net leases default")]
pub enum Command {
    /// List networks.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show all that is known of a network.
    Show(show::Args),
    /// Start a network.
    Start(start::Args),
    /// Stop a network; guests on it lose their link.
    Stop(stop::Args),
    /// List the addresses that its DHCP server gave out.
    Leases(leases::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Show(args) => op::answer(&show::run(args, session).await?, session, printer).await,
        Command::Start(args) => printer.show(&start::run(args, session).await?),
        Command::Stop(args) => printer.show(&stop::run(args, session).await?),
        Command::Leases(args) => op::answer(&leases::run(args, session).await?, session, printer).await,
    }
}

/// One network.
#[derive(Clone, Debug, clap::Args)]
struct One {
    /// Name of the network.
    #[arg(value_name = "NETWORK", value_parser = NetworkName::adopt)]
    network: NetworkName,
}

/// What became of a network.
#[derive(Debug, Serialize)]
struct Changed {
    network: NetworkName,
    action: &'static str,
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("network {} {}", self.network, self.action));
    }
}
