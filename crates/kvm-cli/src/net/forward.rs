//! `kvmctl net forward`.

use std::net::Ipv4Addr;

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use kvm_core::{ErrorKind, MacAddr, NetworkName, Port, Result};
use kvm_vm::{ForwardAdd, ForwardInfo, ForwardPlan, ForwardRemove, PortForward, PortProtocol};
use serde::Serialize;

use super::One;
use crate::args::one_of;
use crate::completion;
use crate::list::{ListArgs, columns};
use crate::op;
use crate::operation::{DoneForm, PlanView};
use crate::printer::{Cell, Column, Outcome, Page, Printer, Table};
use crate::session::{Connection, Session};
use crate::vms;

const COLUMNS: [Column; 8] = [
    Column::left("network", "NETWORK"),
    Column::left("protocol", "PROTOCOL"),
    Column::left("address", "ADDRESS"),
    Column::right("port", "PORT"),
    Column::left("vm", "VM"),
    Column::left("guest", "GUEST"),
    Column::right("guest_port", "GUEST-PORT"),
    Column::left("active", "ACTIVE"),
];

/// Verbs for ports of the host that lead to guests.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl net forward add default 8080 web 80
  kvmctl net forward list
  kvmctl net forward remove default 8080")]
pub enum Command {
    /// Let a port of the host lead to a guest.
    Add(Add),
    /// Let a port of the host lead to no guest any more.
    #[command(visible_alias = "rm")]
    Remove(Remove),
    /// List them, of one network or of all.
    #[command(visible_alias = "ls")]
    List(List),
}

/// The host's side of a forward.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Entrance {
    /// What it speaks.
    #[arg(long, value_parser = one_of!(PortProtocol), default_value = "tcp")]
    protocol: PortProtocol,
    /// Only at this address of the host.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
}

/// Arguments of `net forward add`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net forward add default 8080 web 80\n  \
        kvmctl net forward add default 53 dns --protocol udp --address 203.0.113.7",
    after_long_help = "It works at once, and again whenever the network starts, as after a boot of the host. The guest gets a fixed address where it has \
        none. The first time a hook for libvirt is put on the host, which needs its programs and files, as root.\n\n\
        Library: kvm_vm::plan_forward_add, kvm_core::op::Executor::run"
)]
pub struct Add {
    #[command(flatten)]
    one: One,
    /// Port of the host.
    #[arg(value_name = "PORT", value_parser = Port::parse)]
    port: Port,
    #[command(flatten)]
    vm: vms::One,
    /// Port of the guest; the same if left out.
    #[arg(value_name = "GUEST-PORT", value_parser = Port::parse)]
    guest_port: Option<Port>,
    #[command(flatten)]
    entrance: Entrance,
    /// Network device of the VM, where it has several on the network.
    #[arg(long, value_name = "MAC", value_parser = MacAddr::parse)]
    mac: Option<MacAddr>,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `net forward remove`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net forward remove default 8080\n  \
        kvmctl net forward remove default 53 --protocol udp --address 203.0.113.7",
    after_long_help = "The guest keeps its fixed address. Connections that are open stay.\n\n\
        Library: kvm_vm::plan_forward_remove, kvm_core::op::Executor::run"
)]
pub struct Remove {
    #[command(flatten)]
    one: One,
    /// Port of the host.
    #[arg(value_name = "PORT", value_parser = Port::parse)]
    port: Port,
    #[command(flatten)]
    entrance: Entrance,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `net forward list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net forward list\n  kvmctl net forward list default -o json",
    after_long_help = "Columns: network, protocol, address (of the host; – is all), port, vm, guest (its address), guest_port, active.\n\n\
        Library: kvm_vm::port_forwards"
)]
pub struct List {
    /// Name of the network; all of them if left out.
    #[arg(value_name = "NETWORK", value_parser = NetworkName::adopt, add = ArgValueCandidates::new(completion::network_names))]
    network: Option<NetworkName>,
    #[command(flatten)]
    list: ListArgs,
}

/// Does what was asked.
pub(super) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Add(args) => add(args, session, printer).await,
        Command::Remove(args) => remove(args, session, printer).await,
        Command::List(args) => op::answer(&list(args, session).await?, session, printer).await,
    }
}

async fn add(args: Add, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = ForwardAdd {
        protocol: args.entrance.protocol,
        address: args.entrance.address,
        port: args.port,
        guest_port: args.guest_port,
        mac: args.mac,
    };
    let plan = kvm_vm::plan_forward_add(&connection.host, &args.one.network, &vm, &wanted).await?;
    let what = format!("{} leads to {}", plan.forward.entrance(), vm.name);
    carry_out(&connection, args.one.network, plan, what, args.dry_run, session, printer).await
}

async fn remove(args: Remove, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let connection = session.host().await?;
    let wanted = ForwardRemove { protocol: args.entrance.protocol, address: args.entrance.address, port: args.port };
    let plan = kvm_vm::plan_forward_remove(&connection.host, &args.one.network, &wanted).await?;
    let what = format!("{} leads to no guest any more", plan.forward.entrance());
    carry_out(&connection, args.one.network, plan, what, args.dry_run, session, printer).await
}

/// A forward that came or went.
#[derive(Debug, Serialize)]
struct Changed {
    network: NetworkName,
    #[serde(flatten)]
    forward: PortForward,
    #[serde(flatten)]
    done: DoneForm,
    #[serde(skip)]
    what: String,
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&self.what, page);
    }
}

/// Shows the plan, or carries it out.
async fn carry_out(
    connection: &Connection,
    network: NetworkName,
    plan: ForwardPlan,
    what: String,
    dry_run: bool,
    session: &Session,
    printer: &mut Printer,
) -> Result<Option<ErrorKind>> {
    if dry_run {
        return printer.show(&PlanView::of(&plan.plan));
    }
    let done = session.carry_out(connection, plan.plan).await?;
    printer.show(&Changed { network, forward: plan.forward, done: DoneForm::of(&done), what })
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed {
    forwards: Vec<ForwardInfo>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

async fn list(args: List, session: &Session) -> Result<Listed> {
    let columns = columns(&COLUMNS, &args.list)?;
    let connection = session.host().await?;
    let forwards = kvm_vm::port_forwards(&connection.host, args.network.as_ref()).await?;
    Ok(Listed { forwards, columns, args: args.list })
}

impl Outcome for Listed {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for info in &self.forwards {
            let forward = &info.forward;
            let cell = |column: &Column| match column.key {
                "network" => Cell::new(&info.network),
                "protocol" => Cell::new(forward.protocol),
                "address" => Cell::maybe(forward.address),
                "port" => Cell::new(forward.port),
                "vm" => Cell::maybe(info.vm.as_ref()),
                "guest" => Cell::new(forward.guest),
                "guest_port" => Cell::new(forward.guest_port),
                _ => Cell::new(if info.active { "yes" } else { "no" }),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
