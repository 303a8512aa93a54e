//! `kvmctl net lease`.

use std::net::{IpAddr, Ipv4Addr};

use clap::Subcommand;
use kvm_core::{DnsName, ErrorKind, MacAddr, NetworkEntry, NetworkUpdate, Result};
use kvm_vm::StaticLease;
use kvm_xml::Network;
use kvm_xml::network::DhcpHost;
use serde::Serialize;

use super::{One, entry};
use crate::device::Reach;
use crate::list::ListArgs;
use crate::op;
use crate::printer::{Cell, Column, Printer};
use crate::session::Session;

/// Verbs for the fixed addresses of network devices.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl net lease add default --mac 52:54:00:12:34:56 --ip 192.168.122.50 --name web
  kvmctl net lease list default
  kvmctl net lease remove default --mac 52:54:00:12:34:56")]
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

/// Arguments of `net lease add`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net lease add default --mac 52:54:00:12:34:56 --ip 192.168.122.50\n  \
        kvmctl net lease add lab --mac 52:54:00:12:34:56 --ip 10.20.0.5 --name web --only config",
    after_long_help = "Library: kvm_vm::change_network"
)]
pub struct Add {
    #[command(flatten)]
    one: One,
    /// Hardware address of the device.
    #[arg(long, value_name = "MAC", value_parser = MacAddr::parse)]
    mac: MacAddr,
    /// The address that it always gets.
    #[arg(long, value_name = "ADDRESS")]
    ip: Ipv4Addr,
    /// The name that it gets.
    #[arg(long, value_name = "NAME")]
    name: Option<DnsName>,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `net lease remove`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl net lease remove default --mac 52:54:00:12:34:56",
    after_long_help = "Library: kvm_vm::change_network"
)]
pub struct Remove {
    #[command(flatten)]
    one: One,
    /// Hardware address of the device.
    #[arg(long, value_name = "MAC", value_parser = MacAddr::parse)]
    mac: MacAddr,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `net lease list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net lease list default\n  kvmctl net lease list default -o json",
    after_long_help = "Columns: mac, address, name, documents. WHERE says whether an address is in the active network (live), in its configuration (config), \
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
            let added = StaticLease { mac: args.mac, address: args.ip, name: args.name }.entry();
            printer.show(&entry::change(args.one, NetworkUpdate::Add(added), args.reach, session).await?)
        }
        Command::Remove(args) => {
            let mac = Some(kvm_xml::value::MacAddr(args.mac.octets()));
            let removed = NetworkEntry::Lease(Box::new(DhcpHost { mac, ..DhcpHost::default() }));
            printer.show(&entry::change(args.one, NetworkUpdate::Remove(removed), args.reach, session).await?)
        }
        Command::List(args) => {
            op::answer(&entry::list::<Row>(&args.one, args.list, session).await?, session, printer).await
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct Row {
    mac: Option<String>,
    address: Option<IpAddr>,
    name: Option<String>,
}

impl entry::Row for Row {
    const COLUMNS: &[Column] = &[
        Column::left("mac", "MAC"),
        Column::left("address", "ADDRESS"),
        Column::left("name", "NAME"),
        Column::left("documents", "WHERE"),
    ];

    fn all(document: &Network) -> Vec<Self> {
        let hosts = document.ip.iter().filter_map(|ip| ip.dhcp.as_ref()).flat_map(|dhcp| &dhcp.host);
        hosts
            .map(|host| Row { mac: host.mac.map(|mac| mac.to_string()), address: host.ip, name: host.name.clone() })
            .collect()
    }

    fn cell(&self, key: &str) -> Option<Cell> {
        Some(match key {
            "mac" => Cell::maybe(self.mac.as_deref()),
            "address" => Cell::maybe(self.address),
            "name" => Cell::maybe(self.name.as_deref()),
            _ => return None,
        })
    }
}
