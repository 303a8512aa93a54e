//! `kvmctl net`: virtual networks.

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use kvm_core::{ErrorKind, NetworkName, Result};
use serde::Serialize;

use crate::completion;
use crate::op;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

mod autostart;
mod create;
mod delete;
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
  kvmctl net create lab --cidr 10.20.0.0/24
  kvmctl net leases default")]
pub enum Command {
    /// Define a network and start it.
    Create(create::Args),
    /// List networks.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show all that is known of a network.
    Show(show::Args),
    /// Start a network.
    Start(start::Args),
    /// Stop a network; guests on it lose their link.
    Stop(stop::Args),
    /// Set whether a network starts with its host.
    Autostart(autostart::Args),
    /// List the addresses that its DHCP server gave out.
    Leases(leases::Args),
    /// Forget a network that is stopped.
    Delete(delete::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Show(args) => op::answer(&show::run(args, session).await?, session, printer).await,
        Command::Start(args) => printer.show(&start::run(args, session).await?),
        Command::Stop(args) => printer.show(&stop::run(args, session).await?),
        Command::Autostart(args) => printer.show(&autostart::run(args, session).await?),
        Command::Create(args) => create::run(args, session, printer).await,
        Command::Delete(args) => delete::run(args, session, printer).await,
        Command::Leases(args) => op::answer(&leases::run(args, session).await?, session, printer).await,
    }
}

/// One network.
#[derive(Clone, Debug, clap::Args)]
struct One {
    /// Name of the network.
    #[arg(value_name = "NETWORK", value_parser = NetworkName::adopt, add = ArgValueCandidates::new(completion::network_names))]
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
