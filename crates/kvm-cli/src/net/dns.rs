//! `kvmctl net dns`.

use std::net::IpAddr;

use clap::Subcommand;
use kvm_core::{ErrorKind, NetworkEntry, NetworkUpdate, Result};
use kvm_vm::DnsEntry;
use kvm_xml::Network;
use kvm_xml::network::DnsHost;
use serde::Serialize;

use super::{One, entry};
use crate::device::Reach;
use crate::list::ListArgs;
use crate::op;
use crate::printer::{Cell, Column, Printer};
use crate::session::Session;

/// Verbs for the names that a network's name server knows.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl net dns add default 192.168.122.50=web,www
  kvmctl net dns list default
  kvmctl net dns remove default 192.168.122.50")]
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

/// Arguments of `net dns add`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net dns add default 192.168.122.50=web,www\n  kvmctl net dns add lab fd00::5=web --only live",
    after_long_help = "Library: kvm_vm::change_network"
)]
pub struct Add {
    #[command(flatten)]
    one: One,
    /// What they stand for, and the names.
    #[arg(value_name = "ADDRESS=NAME,…")]
    names: DnsEntry,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `net dns remove`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl net dns remove default 192.168.122.50",
    after_long_help = "Library: kvm_vm::change_network"
)]
pub struct Remove {
    #[command(flatten)]
    one: One,
    /// What the names stand for.
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `net dns list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net dns list default\n  kvmctl net dns list default -o json",
    after_long_help = "Columns: address, names, documents. WHERE says whether a name is in the active network (live), in its configuration (config), \
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
            let added = args.names.entry();
            printer.show(&entry::change(args.one, NetworkUpdate::Add(added), args.reach, session).await?)
        }
        Command::Remove(args) => {
            let ip = Some(args.address);
            let removed = NetworkEntry::DnsHost(Box::new(DnsHost { ip, ..DnsHost::default() }));
            printer.show(&entry::change(args.one, NetworkUpdate::Remove(removed), args.reach, session).await?)
        }
        Command::List(args) => {
            op::answer(&entry::list::<Row>(&args.one, args.list, session).await?, session, printer).await
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct Row {
    address: Option<IpAddr>,
    names: Vec<String>,
}

impl entry::Row for Row {
    const COLUMNS: &[Column] =
        &[Column::left("address", "ADDRESS"), Column::left("names", "NAMES"), Column::left("documents", "WHERE")];

    fn all(document: &Network) -> Vec<Self> {
        let hosts = document.dns.iter().flat_map(|dns| &dns.host);
        hosts.map(|host| Row { address: host.ip, names: host.hostname.clone() }).collect()
    }

    fn cell(&self, key: &str) -> Option<Cell> {
        Some(match key {
            "address" => Cell::maybe(self.address),
            "names" => Cell::new(self.names.join(", ")),
            _ => return None,
        })
    }
}
