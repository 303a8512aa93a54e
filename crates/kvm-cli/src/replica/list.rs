//! `kvmctl replica list`.

use kvm_core::Result;
use serde::Serialize;

use super::Row;
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::text;

const COLUMNS: [Column; 7] = [
    Column::left("name", "NAME"),
    Column::left("host", "HOST"),
    Column::left("role", "ROLE"),
    Column::left("state", "STATE"),
    Column::left("synced", "LAST SYNC"),
    Column::left("lag", "LAG"),
    Column::left("peer", "PEER"),
];

/// Arguments of `replica list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl replica list\n  kvmctl replica list lab1 lab2\n  kvmctl replica list --all -o json",
    after_long_help = "Columns: name, host, role, state, synced, lag, peer. PEER is the host of the source, or those of the replicas; what is \
        known of a sync stands with the replica, so list its host. LAG is how far it is behind at most; a VM that was never synced has none.\n\n\
        Library: kvm_clone::replicas"
)]
pub struct Args {
    /// Hosts, as targets or aliases of hosts.toml; the one that commands go to if left out.
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// VMs without replicas, too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    rows: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let hosts: Vec<_> = match args.hosts.is_empty() {
        true => vec![None],
        false => args.hosts.iter().map(|host| Some(host.as_str())).collect(),
    };
    let mut rows = Vec::new();
    for host in hosts {
        let connection = session.at(host).await?;
        let all = kvm_clone::replicas(&connection.host).await?;
        let wanted = all.into_iter().filter(|info| args.all || info.replication.is_some());
        rows.extend(wanted.map(|info| Row::of(info, connection.label(), session)));
    }
    Ok(List { rows, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for row in &self.rows {
            let replica = row.replica();
            let cell = |column: &Column| match column.key {
                "name" => Cell::new(&row.name),
                "host" => Cell::new(&row.host),
                "role" => Cell::new(row.role()),
                "state" => Cell::new(replica.map_or("", |replica| replica.state.as_str())),
                "peer" => Cell::new(row.peers()),
                "synced" => match (replica, &row.replication) {
                    (Some(replica), _) => Cell::new(format!("{:.0}", replica.synced)),
                    (None, Some(_)) => Cell::new("see the replica"),
                    (None, None) => Cell::new("never"),
                },
                _ => Cell::maybe(row.lag_seconds.map(|lag| text::duration(std::time::Duration::from_secs(lag)))),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
