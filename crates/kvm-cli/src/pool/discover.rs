//! `kvmctl pool discover`.

use kvm_core::Result;
use kvm_vm::{InitiatorName, PoolKind, SourceHost};
use kvm_xml::pool::PoolSource;
use serde::Serialize;

use crate::args::one_of;
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const COLUMNS: [Column; 5] = [
    Column::left("name", "NAME"),
    Column::left("host", "HOST"),
    Column::left("dir", "DIRECTORY"),
    Column::left("devices", "DEVICES"),
    Column::left("format", "FORMAT"),
];

/// Arguments of `pool discover`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl pool discover logical\n  kvmctl pool discover netfs --source-host nas\n  \
        kvmctl pool discover iscsi --source-host san:3260",
    after_long_help = "Types that hosts look for: logical (volume groups), netfs (what a server exports), iscsi and iscsi-direct (targets of \
        a portal).\n\nLibrary: kvm_vm::discover_pools"
)]
pub struct Args {
    /// What could back the pool.
    #[arg(value_name = "TYPE", value_parser = one_of!(PoolKind))]
    kind: PoolKind,
    /// Server to ask, with :PORT if it is not the usual one.
    #[arg(long = "source-host", value_name = "HOST")]
    host: Option<SourceHost>,
    /// The host's name for iSCSI targets.
    #[arg(long, value_name = "IQN")]
    initiator: Option<InitiatorName>,
}

/// What could become a pool.
#[derive(Debug, Serialize)]
struct Found {
    name: Option<String>,
    host: Option<String>,
    dir: Option<String>,
    devices: Vec<String>,
    format: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List(Vec<Found>);

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let connection = session.host().await?;
    let (host, initiator) = (args.host.as_ref(), args.initiator.as_ref());
    let sources = kvm_vm::discover_pools(&connection.host, args.kind, host, initiator).await?;
    Ok(List(sources.into_iter().map(found).collect()))
}

fn found(source: PoolSource) -> Found {
    Found {
        name: source.name.into_iter().next(),
        host: source.host.into_iter().find_map(|host| host.name),
        dir: source.dir.and_then(|dir| dir.path),
        devices: source.device.into_iter().filter_map(|device| device.path).collect(),
        format: source.format.and_then(|format| format.r#type).map(|format| format.to_string()),
    }
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        if self.0.is_empty() {
            return page.line("nothing was found");
        }
        let mut table = Table::new(&COLUMNS);
        for found in &self.0 {
            let devices = (!found.devices.is_empty()).then(|| found.devices.join(", "));
            let columns = [&found.name, &found.host, &found.dir, &devices, &found.format];
            table.row(columns.into_iter().map(|text| Cell::maybe(text.as_deref())).collect());
        }
        page.table(&table);
    }
}
