//! `kvmctl host`: the hosts of `hosts.toml`.

use clap::Subcommand;
use kvm_core::{Capabilities, ErrorKind, NumaNode, Result};
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Printer, Table};
use crate::session::Session;
use crate::settings::HostEntry;

mod device;
mod devices;
mod edit;
mod trust;

/// Verbs for hosts.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl host list
  kvmctl host trust root@kvm1.example
  kvmctl -c lab1 host show")]
pub enum Command {
    /// List the hosts of hosts.toml.
    #[command(visible_alias = "ls")]
    List(List),
    /// Show what a host is and can do.
    Show(Show),
    /// List the devices of a host: PCI, USB and others, with their IOMMU groups and users.
    Devices(devices::Args),
    /// Make and take away mediated devices.
    #[command(subcommand)]
    Device(device::Command),
    /// Show the fingerprint of a host's SSH key, and trust it.
    Trust(trust::Args),
    /// Give a host a short name in hosts.toml.
    Add(edit::Add),
    /// Take a host out of hosts.toml.
    #[command(visible_alias = "rm")]
    Remove(edit::Remove),
}

/// Arguments of `host list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl host list",
    after_long_help = "Columns: alias, target, identity, known-hosts.\n\nhosts.toml: kvmctl help configuration.\n\nLibrary: kvm_cli::Settings::read"
)]
pub struct List {
    #[command(flatten)]
    list: ListArgs,
}

/// Arguments of `host show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl host show\n  kvmctl -c lab1 host show -o json",
    after_long_help = "Library: kvm_core::Hypervisor::capabilities"
)]
pub struct Show {}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::List(args) => {
            let columns = columns(&COLUMNS, &args.list)?;
            let hosts = session.settings.hosts.iter();
            let hosts = hosts.map(|(alias, entry)| Row { alias: alias.clone(), entry: entry.clone() }).collect();
            printer.show(&Hosts { hosts, columns, args: args.list })
        }
        Command::Devices(args) => devices::run(args, session, printer).await,
        Command::Device(command) => device::run(command, session, printer).await,
        Command::Trust(args) => trust::run(args, session, printer).await,
        Command::Add(args) => printer.show(&edit::add(args, session).await?),
        Command::Remove(args) => printer.show(&edit::remove(args, session).await?),
        Command::Show(_) => {
            let connection = session.host().await?;
            let capabilities = connection.host.hypervisor.capabilities().await?;
            printer.show(&Shown { alias: connection.alias.clone(), capabilities })
        }
    }
}

const COLUMNS: [Column; 4] = [
    Column::left("alias", "ALIAS"),
    Column::left("target", "TARGET"),
    Column::wide("identity", "IDENTITY"),
    Column::wide("known-hosts", "KNOWN HOSTS"),
];

#[derive(Serialize)]
#[serde(transparent)]
struct Hosts {
    hosts: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

#[derive(Serialize)]
struct Row {
    alias: String,
    #[serde(flatten)]
    entry: HostEntry,
}

impl Outcome for Hosts {
    fn text(&self, page: &mut Page<'_>) {
        if self.hosts.is_empty() {
            return page.line("hosts.toml has no hosts");
        }
        let mut table = Table::new(&self.columns);
        for row in &self.hosts {
            let path =
                |path: &Option<std::path::PathBuf>| path.as_ref().map_or(String::new(), |p| p.display().to_string());
            let cell = |column: &Column| match column.key {
                "alias" => Cell::new(&row.alias),
                "target" => Cell::new(&row.entry.target),
                "identity" => Cell::new(path(&row.entry.identity)),
                _ => Cell::new(path(&row.entry.known_hosts)),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}

#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    #[serde(flatten)]
    capabilities: Capabilities,
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let host = &self.capabilities;
        let guests: Vec<_> =
            host.guests.iter().map(|g| format!("{} {} ({})", g.os_type, g.arch, g.virt_type)).collect();
        let features: Vec<_> = host
            .features
            .iter()
            .filter_map(|feature| serde_json::to_value(feature).ok()?.as_str().map(ToOwned::to_owned))
            .collect();
        page.fields(&[
            ("target", Some(host.target.clone())),
            ("name", Some(host.host_name.clone())),
            ("driver", Some(host.driver.clone())),
            ("hypervisor", host.hypervisor_version.clone()),
            ("library", host.library_version.clone()),
            ("arch", host.arch.clone()),
            ("cpus", host.cpus.map(|n| n.to_string())),
            ("memory", host.memory.map(|b| b.to_string())),
            ("numa", (!host.numa.is_empty()).then(|| nodes(&host.numa))),
            ("guests", (!guests.is_empty()).then(|| guests.join("\n"))),
            ("features", (!features.is_empty()).then(|| features.join(", "))),
        ]);
    }
}

/// One line for each node: `0: 64 GiB, CPUs 0-15, distances 10 21`.
fn nodes(nodes: &[NumaNode]) -> String {
    let line = |node: &NumaNode| {
        let memory = node.memory.map(|memory| memory.to_string());
        let cpus = (!node.cpus.as_str().is_empty()).then(|| format!("CPUs {}", node.cpus.as_str()));
        let far: Vec<_> = node.distances.values().map(ToString::to_string).collect();
        let distances = (far.len() > 1).then(|| format!("distances {}", far.join(" ")));
        let parts: Vec<_> = [memory, cpus, distances].into_iter().flatten().collect();
        format!("{}: {}", node.number, parts.join(", "))
    };
    nodes.iter().map(line).collect::<Vec<_>>().join("\n")
}
