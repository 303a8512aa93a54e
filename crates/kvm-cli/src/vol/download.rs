//! `kvmctl vol download`.

use std::path::PathBuf;

use kvm_core::{ErrorKind, Existing, Result};
use kvm_vm::{Download, InUse, VolumeRef};

use super::done::{Deed, Way};
use crate::environment;
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `vol download`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol download default/web.qcow2 web.qcow2\n  kvmctl vol download default/web.qcow2 /backup/web.qcow2 --verify\n  \
        kvmctl vol download default/web.qcow2 web.qcow2 --overwrite",
    after_long_help = "The file appears when it is complete and on disk, and not at all when the download fails or is cancelled. An image \
        is fetched as it is stored, without the images that it lies upon; kvmctl vol convert makes one that is complete by itself.\n\n\
        Library: kvm_vm::plan_download, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// Pool and name.
    #[arg(value_name = "POOL/VOLUME")]
    volume: VolumeRef,
    /// File on this machine.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    way: Way,
    /// Replace a file of this name.
    #[arg(long)]
    overwrite: bool,
    /// Read the volume while a VM works on it; parts of the file are then of different times.
    #[arg(long)]
    in_use: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let file = environment::absolute(args.file)?;
    let wanted = Download {
        volume: args.volume,
        file: file.clone(),
        existing: if args.overwrite { Existing::Replace } else { Existing::Reject },
        holes: args.way.holes(),
        verify: args.way.verify(),
        in_use: if args.in_use { InUse::Allow } else { InUse::Refuse },
    };
    let connection = session.host().await?;
    let plan = kvm_vm::plan_download(&connection.host, &wanted, &*session.entropy).await?;
    let deed = Deed {
        connection: &connection,
        volume: &wanted.volume,
        file: Some(file.display().to_string()),
        what: format!("{} downloaded", wanted.volume),
        dry_run: args.dry_run,
        // The word was --overwrite, and the old file is there until the new one is complete.
        destroys: false,
    };
    deed.carry_out(plan, session, printer).await
}
