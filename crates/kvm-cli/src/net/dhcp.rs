//! `kvmctl net dhcp`.

use std::net::IpAddr;

use clap::Subcommand;
use kvm_core::{AddressRange, ErrorKind, NetworkEntry, NetworkUpdate, Result};
use kvm_xml::Network;
use kvm_xml::network::DhcpRange;
use serde::Serialize;

use super::{One, entry};
use crate::device::Reach;
use crate::list::ListArgs;
use crate::op;
use crate::printer::{Cell, Column, Printer};
use crate::session::Session;

/// Verbs for ranges of addresses that guests get.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl net dhcp add lab 10.20.0.200-10.20.0.249
  kvmctl net dhcp list lab
  kvmctl net dhcp remove lab 10.20.0.200-10.20.0.249")]
pub enum Command {
    /// Add one; guests notice nothing.
    Add(Add),
    /// Take one out; guests notice nothing.
    #[command(visible_alias = "rm")]
    Remove(Remove),
    /// List them.
    #[command(visible_alias = "ls")]
    List(List),
}

/// Arguments of `net dhcp add`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net dhcp add lab 10.20.0.200-10.20.0.249",
    after_long_help = "Library: kvm_vm::change_network"
)]
pub struct Add {
    #[command(flatten)]
    one: One,
    /// First and last address.
    #[arg(value_name = "FIRST-LAST")]
    range: AddressRange,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `net dhcp remove`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl net dhcp remove lab 10.20.0.200-10.20.0.249",
    after_long_help = "Library: kvm_vm::change_network"
)]
pub struct Remove {
    #[command(flatten)]
    one: One,
    /// First and last address.
    #[arg(value_name = "FIRST-LAST")]
    range: AddressRange,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `net dhcp list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net dhcp list default\n  kvmctl net dhcp list default -o json",
    after_long_help = "Columns: first, last, documents. WHERE says whether a range is in the active network (live), in its configuration (config), \
        or in both.\n\nLibrary: kvm_core::Networks::definition, ::configuration"
)]
pub struct List {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    list: ListArgs,
}

/// Does what was asked.
pub(super) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Add(args) => {
            let added = range(args.range);
            printer.show(&entry::change(args.one, NetworkUpdate::Add(added), args.reach, session).await?)
        }
        Command::Remove(args) => {
            let removed = range(args.range);
            printer.show(&entry::change(args.one, NetworkUpdate::Remove(removed), args.reach, session).await?)
        }
        Command::List(args) => {
            op::answer(&entry::list::<Row>(&args.one, args.list, session).await?, session, printer).await
        }
    }
}

fn range(range: AddressRange) -> NetworkEntry {
    let (start, end) = (Some(range.first()), Some(range.last()));
    NetworkEntry::DhcpRange(Box::new(DhcpRange { start, end, ..DhcpRange::default() }))
}

#[derive(Debug, PartialEq, Serialize)]
struct Row {
    first: Option<IpAddr>,
    last: Option<IpAddr>,
}

impl entry::Row for Row {
    const COLUMNS: &[Column] =
        &[Column::left("first", "FIRST"), Column::left("last", "LAST"), Column::left("documents", "WHERE")];

    fn all(document: &Network) -> Vec<Self> {
        let ranges = document.ip.iter().filter_map(|ip| ip.dhcp.as_ref()).flat_map(|dhcp| &dhcp.range);
        ranges.map(|range| Row { first: range.start, last: range.end }).collect()
    }

    fn cell(&self, key: &str) -> Option<Cell> {
        Some(match key {
            "first" => Cell::maybe(self.first),
            "last" => Cell::maybe(self.last),
            _ => return None,
        })
    }
}
