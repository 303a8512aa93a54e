//! `kvmctl net`: virtual networks.

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use kvm_core::op::Plan;
use kvm_core::{ErrorKind, NetworkName, Result};
use serde::Serialize;

use crate::completion;
use crate::op;
use crate::operation::{DoneForm, PlanView};
use crate::printer::{Outcome, Page, Printer};
use crate::session::{Connection, Session};

mod autostart;
mod create;
mod delete;
mod dhcp;
mod dns;
mod entry;
mod filter;
mod forward;
mod lease;
mod leases;
mod list;
mod portgroup;
mod show;
mod start;
mod stop;
mod topology;

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
    /// Fixed addresses of network devices.
    #[command(subcommand)]
    Lease(lease::Command),
    /// Names that a network's name server knows.
    #[command(subcommand)]
    Dns(dns::Command),
    /// Ranges of addresses that guests get.
    #[command(subcommand)]
    Dhcp(dhcp::Command),
    /// Classes of network devices.
    #[command(subcommand)]
    Portgroup(portgroup::Command),
    /// Ports of the host that lead to guests.
    #[command(subcommand)]
    Forward(forward::Command),
    /// What network devices may send and receive.
    #[command(subcommand)]
    Filter(filter::Command),
    /// Show which VMs are plugged into what.
    Topology(topology::Args),
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
        Command::Lease(command) => lease::run(command, session, printer).await,
        Command::Dns(command) => dns::run(command, session, printer).await,
        Command::Dhcp(command) => dhcp::run(command, session, printer).await,
        Command::Portgroup(command) => portgroup::run(command, session, printer).await,
        Command::Forward(command) => forward::run(command, session, printer).await,
        Command::Filter(command) => filter::run(command, session, printer).await,
        Command::Topology(args) => topology::run(args, session, printer).await,
        Command::Leases(args) => op::answer(&leases::run(args, session).await?, session, printer).await,
    }
}

/// One network.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "one-network")]
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

/// What is done with a plan about a network.
struct Deed<'a> {
    connection: &'a Connection,
    network: NetworkName,
    /// What is said of the network when it is done.
    action: &'static str,
    dry_run: bool,
}

/// A network that an operation changed.
#[derive(Debug, Serialize)]
struct Operated {
    #[serde(flatten)]
    changed: Changed,
    #[serde(flatten)]
    done: DoneForm,
}

impl Outcome for Operated {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("network {} {}", self.changed.network, self.changed.action), page);
    }
}

impl Deed<'_> {
    /// Shows the plan, or carries it out.
    async fn carry_out(self, plan: Plan, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
        if self.dry_run {
            return printer.show(&PlanView::of(&plan));
        }
        let done = session.carry_out(self.connection, plan).await?;
        let changed = Changed { network: self.network, action: self.action };
        printer.show(&Operated { changed, done: DoneForm::of(&done) })
    }
}
