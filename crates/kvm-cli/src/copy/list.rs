//! `kvm-clone list`.

use std::time::Duration;

use clap::ValueEnum;
use clap_complete::engine::ArgValueCandidates;
use kvm_clone::{ReplicaInfo, replicas};
use kvm_core::{Error, ErrorKind, Result, VmState, VmSummary};
use serde::Serialize;

use super::login::Login;
use super::{Context, command_line};
use crate::printer::{Cell, Column, Failure, Outcome, Page, Printer, Table};
use crate::{replica, text};

const COLUMNS: [Column; 7] = [
    Column::wide("host", "HOST"),
    Column::left("name", "NAME"),
    Column::left("state", "STATE"),
    Column::right("cpus", "CPUS"),
    Column::right("memory", "MEMORY"),
    Column::left("role", "ROLE"),
    Column::left("lag", "LAG"),
];

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvm-clone list kvm1 kvm2\n  kvm-clone list kvm1 --status running\n  kvm-clone list kvm1 -o yaml",
    after_long_help = "ROLE is source, replica or promoted; LAG is how far a replica is behind its source at most. A host that cannot be \
        reached is told behind the list of the others, and decides the exit code.\n\n\
        Library: kvm_clone::replicas, kvm_core::Hypervisor::list"
)]
pub struct Args {
    /// Hosts; the one that kvmctl goes to if left out.
    #[arg(value_name = "HOST", add = ArgValueCandidates::new(command_line::aliases))]
    hosts: Vec<String>,
    /// Only VMs in such a state.
    #[arg(short, long, value_enum, default_value = "all", value_name = "STATE")]
    status: Status,
    /// Form of the list: json is that of --output json, list has a line HOST/NAME for each VM.
    #[arg(long, value_enum, value_name = "FORM", conflicts_with = "output")]
    format: Option<Shape>,
    #[command(flatten)]
    login: Login,
}

impl Args {
    pub(super) fn wants_json(&self) -> bool {
        self.format == Some(Shape::Json)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    All,
    Running,
    Stopped,
    Paused,
}

impl Status {
    fn is_of(self, state: VmState) -> bool {
        match self {
            Self::All => true,
            Self::Running => state == VmState::Running,
            Self::Stopped => !state.is_active(),
            Self::Paused => matches!(state, VmState::Paused | VmState::PmSuspended),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Table,
    List,
    Json,
}

#[derive(Serialize)]
#[serde(transparent)]
struct List {
    rows: Vec<Row>,
    #[serde(skip)]
    failed: Vec<(String, Error)>,
    #[serde(skip)]
    shape: Shape,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    vm: VmSummary,
    host: String,
    /// `source`, `replica`, `promoted`, or nothing.
    role: Option<&'static str>,
    lag_seconds: Option<u64>,
}

pub(super) async fn run(args: Args, cx: &Context<'_>, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let names: Vec<&str> = args.hosts.iter().map(String::as_str).collect();
    let addresses = match names.is_empty() {
        true => vec![args.login.usual(cx).await?],
        false => args.login.addresses(&names, cx)?,
    };
    let mut list = List { rows: vec![], failed: vec![], shape: args.format.unwrap_or(Shape::Table) };
    for address in addresses {
        let label = address.label();
        let found = async { replicas(&cx.session.reach(address).await?.host).await };
        match found.await {
            Ok(all) => {
                let wanted = all.into_iter().filter(|info| args.status.is_of(info.vm.state));
                list.rows.extend(wanted.map(|info| Row::of(info, &label, cx)));
            }
            Err(e) => list.failed.push((label, e)),
        }
    }
    printer.show(&list)
}

impl Row {
    fn of(info: ReplicaInfo, host: &str, cx: &Context<'_>) -> Self {
        let lag_seconds = info.lag(cx.session.clock.now()).map(|lag| lag.as_secs());
        let role = info.replication.as_ref().map(replica::role);
        Self { vm: info.vm, host: host.to_owned(), role, lag_seconds }
    }
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        if self.shape == Shape::List {
            return self.rows.iter().for_each(|row| page.line(format_args!("{}/{}", row.host, row.vm.name)));
        }
        if self.rows.is_empty() {
            // Where a host said nothing, nobody knows.
            return if self.failed.is_empty() {
                page.line("no VMs")
            };
        }
        let mut table = Table::new(&COLUMNS);
        for Row { vm, host, role, lag_seconds } in &self.rows {
            table.row(vec![
                Cell::new(host),
                Cell::new(vm.name.as_str()),
                Cell::state(vm.state),
                Cell::maybe(vm.vcpus),
                Cell::maybe(vm.memory),
                Cell::new(role.unwrap_or_default()),
                Cell::new(lag_seconds.map(|lag| text::duration(Duration::from_secs(lag))).unwrap_or_default()),
            ]);
        }
        page.table(&table);
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        self.failed.iter().map(|(host, error)| Failure { subject: Some(host), error }).collect()
    }
}
