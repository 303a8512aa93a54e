//! `kvmctl net portgroup`.

use clap::Subcommand;
use kvm_core::{ErrorKind, NetworkEntry, NetworkUpdate, Result};
use kvm_vm::PortGroupName;
use kvm_xml::Network;
use kvm_xml::network::PortGroup;
use kvm_xml::value::YesNo;
use serde::Serialize;

use super::{One, entry};
use crate::device::Reach;
use crate::list::ListArgs;
use crate::op;
use crate::printer::{Cell, Column, Printer};
use crate::session::Session;

/// Verbs for classes of network devices.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl net portgroup add dmz web,vlan=10
  kvmctl net portgroup list dmz
  kvmctl net portgroup remove dmz web")]
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

/// Arguments of `net portgroup add`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net portgroup add dmz web,vlan=10\n  kvmctl net portgroup add dmz trunk,vlan=10,vlan=20,default=yes",
    after_long_help = "Library: kvm_vm::change_network"
)]
pub struct Add {
    #[command(flatten)]
    one: One,
    /// Its name, the VLANs of its devices, and whether devices without a group are in it.
    #[arg(value_name = "NAME[,vlan=TAG…][,default=yes]")]
    group: kvm_vm::PortGroup,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `net portgroup remove`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl net portgroup remove dmz web",
    after_long_help = "Library: kvm_vm::change_network"
)]
pub struct Remove {
    #[command(flatten)]
    one: One,
    /// Its name.
    #[arg(value_name = "NAME")]
    group: PortGroupName,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `net portgroup list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net portgroup list default\n  kvmctl net portgroup list default -o json",
    after_long_help = "Columns: name, vlans, default, documents. WHERE says whether a group is in the active network (live), in its configuration (config), \
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
            let added = args.group.entry();
            printer.show(&entry::change(args.one, NetworkUpdate::Add(added), args.reach, session).await?)
        }
        Command::Remove(args) => {
            let name = Some(args.group.as_str().to_owned());
            let removed = NetworkEntry::PortGroup(Box::new(PortGroup { name, ..PortGroup::default() }));
            printer.show(&entry::change(args.one, NetworkUpdate::Remove(removed), args.reach, session).await?)
        }
        Command::List(args) => {
            op::answer(&entry::list::<Row>(&args.one, args.list, session).await?, session, printer).await
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct Row {
    name: Option<String>,
    vlans: Vec<u32>,
    default: bool,
}

impl entry::Row for Row {
    const COLUMNS: &[Column] = &[
        Column::left("name", "NAME"),
        Column::left("vlans", "VLANS"),
        Column::left("default", "DEFAULT"),
        Column::left("documents", "WHERE"),
    ];

    fn all(document: &Network) -> Vec<Self> {
        let vlans = |group: &PortGroup| group.vlan.iter().flat_map(|vlan| &vlan.tag).filter_map(|tag| tag.id).collect();
        let row = |group: &PortGroup| Row {
            name: group.name.clone(),
            vlans: vlans(group),
            default: group.default.is_some_and(YesNo::is_yes),
        };
        document.portgroup.iter().map(row).collect()
    }

    fn cell(&self, key: &str) -> Option<Cell> {
        Some(match key {
            "name" => Cell::maybe(self.name.as_deref()),
            "vlans" => {
                let tags: Vec<_> = self.vlans.iter().map(ToString::to_string).collect();
                Cell::maybe((!tags.is_empty()).then(|| tags.join(", ")))
            }
            "default" => Cell::new(if self.default { "yes" } else { "no" }),
            _ => return None,
        })
    }
}
