//! `kvmctl host device`: mediated devices made and taken away.

use clap::Subcommand;
use kvm_core::{ErrorKind, HostDeviceName, MdevId, PciAddress, Result};
use serde::Serialize;

use crate::operation::confirm;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Verbs for single devices of a host.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl host devices --type pci --columns address,makes
  kvmctl host device create 0000:41:00.0 nvidia-222
  kvmctl host device delete 83b8f4f2-509f-482f-8c1e-e6bfe0fa1001")]
pub enum Command {
    /// Make a mediated device out of a PCI device.
    Create(Create),
    /// Take a mediated device away.
    Delete(Delete),
}

/// Arguments of `host device create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl host device create 0000:41:00.0 nvidia-222\n  kvmctl host device create 41:00.0 nvidia-222 \
        --uuid 83b8f4f2-509f-482f-8c1e-e6bfe0fa1001",
    after_long_help = "What a device makes, and how many more: kvmctl host devices --type pci --columns address,makes. It is gone when \
        the host restarts.\n\nLibrary: kvm_vm::create_mediated"
)]
pub struct Create {
    /// The PCI device that it is made out of.
    #[arg(value_name = "ADDRESS", value_parser = PciAddress::parse)]
    parent: PciAddress,
    /// Its type, as its parent tells it.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Its uuid; a new one if left out.
    #[arg(long, value_name = "UUID", value_parser = MdevId::parse)]
    uuid: Option<MdevId>,
}

/// Arguments of `host device delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl host device delete 83b8f4f2-509f-482f-8c1e-e6bfe0fa1001",
    after_long_help = "One that a VM's definition names is refused.\n\nLibrary: kvm_vm::delete_mediated"
)]
pub struct Delete {
    /// The uuid of the mediated device.
    #[arg(value_name = "UUID", value_parser = MdevId::parse)]
    device: MdevId,
}

#[derive(Debug, Serialize)]
struct Changed {
    mdev: MdevId,
    name: HostDeviceName,
    action: &'static str,
}

/// Does what was asked.
pub(super) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let connection = session.host().await?;
    let host = &connection.host;
    let changed = match command {
        Command::Create(args) => {
            let mdev = args.uuid.unwrap_or_else(|| MdevId::from(session.entropy.uuid()));
            let name = kvm_vm::create_mediated(host, args.parent, &args.kind, mdev).await?;
            Changed { mdev, name, action: "created" }
        }
        Command::Delete(Delete { device }) => {
            // Known to be there and free before anybody is asked.
            let name = kvm_vm::find_unused_mediated(host, device).await?.name;
            confirm(session, printer, "Type the uuid to delete it: ", &device.to_string()).await?;
            kvm_vm::delete_mediated(host, device).await?;
            Changed { mdev: device, name, action: "deleted" }
        }
    };
    printer.show(&changed)
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("mediated device {} {}", self.mdev, self.action));
    }
}
