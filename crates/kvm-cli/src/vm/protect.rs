//! `kvmctl vm protect`.

use kvm_core::{ErrorKind, Protection, Result};
use kvm_vm::NotesChange;
use serde::Serialize;

use crate::printer::Printer;
use crate::session::Session;
use crate::vms::{Deed, Several, Would};

/// Arguments of `vm protect`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm protect db\n  kvmctl vm protect --select tag=prod\n  kvmctl vm protect --off db",
    after_long_help = "Library: kvm_vm::change_notes"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
    /// Lift the protection.
    #[arg(long)]
    off: bool,
}

#[derive(Debug, Serialize)]
struct Protected {
    protection: Protection,
}

impl Deed for Protected {
    fn words(&self) -> String {
        match self.protection {
            Protection::On => "is protected against deletion".to_owned(),
            Protection::Off => "can be deleted".to_owned(),
        }
    }
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let protection = if args.off { Protection::Off } else { Protection::On };
    if args.vms.dry_run {
        return printer.show(&Would::new("change the protection of", args.vms.find(session).await?));
    }
    let change = NotesChange { protection: Some(protection), ..NotesChange::default() };
    let batch = args
        .vms
        .each(session, async |connection, vm| {
            kvm_vm::change_notes(&connection.host, &vm.id, &change).await?;
            Ok(Protected { protection })
        })
        .await?;
    printer.show(&batch)
}
