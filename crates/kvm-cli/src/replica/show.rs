//! `kvmctl replica show`.

use kvm_clone::SourceSeen;
use kvm_core::{Receipt, Result};
use serde::Serialize;

use super::{Row, in_words, source_of};
use crate::printer::{Outcome, Page, Printer};
use crate::prove;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `replica show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl replica show lab2/web\n  kvmctl replica show lab2/web -o json | jq .images",
    after_long_help = "The host of the source is asked whether it runs; one that does not answer is no error.\n\n\
        Library: kvm_clone::replica_of, kvm_clone::see_source"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    row: Row,
    /// What can be seen of the source; `null` for what is no replica.
    source_seen: Option<SourceSeen>,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Shown> {
    let (connection, vm) = args.vm.find(session).await?;
    let info = kvm_clone::replica_of(&connection.host, vm.clone()).await?;
    let row = Row::of(info, connection.label(), session);
    let source_seen = match row.replica() {
        Some(replica) => Some(source_of(replica, &vm, session).await),
        None => None,
    };
    if vm.state.is_active() && source_seen.as_ref().is_some_and(SourceSeen::is_running) {
        let alarm = format!("{} runs here and at its source: two of the same VM, power one off now", vm.name);
        printer.note(&alarm);
    }
    Ok(Shown { row, source_seen })
}

/// What the last trial has shown, and when.
fn proof(receipt: &Receipt) -> String {
    format!("{} ({:.0})", prove::in_words(receipt), receipt.at)
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let row = &self.row;
        let replica = row.replica();
        let images = replica.map(|replica| {
            let lines = replica.images.iter().map(|image| format!("{}  {}", image.disk, image.path));
            lines.collect::<Vec<_>>().join("\n")
        });
        let none = || Some("none".to_owned()).filter(|_| row.replication.is_none());
        page.fields(&[
            ("name", Some(row.name.clone())),
            ("host", Some(row.host.clone())),
            ("runs", Some(row.vm_state.to_string())),
            ("role", Some(row.role().to_owned()).filter(|role| !role.is_empty()).or_else(none)),
            ("state", replica.map(|replica| replica.state.to_string())),
            ("peer", Some(row.peers()).filter(|peers| !peers.is_empty())),
            ("source", self.source_seen.as_ref().map(in_words)),
            ("last sync", replica.map(|replica| format!("{:.0}", replica.synced))),
            ("consistency", replica.map(|replica| replica.consistency.to_string())),
            ("promoted", replica.and_then(|replica| Some(format!("{:.0}", replica.promoted?)))),
            ("proof", row.proof.as_ref().map(proof)),
            ("images", images),
        ]);
    }
}
