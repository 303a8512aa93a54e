//! `kvmctl vol upload`.

use std::path::PathBuf;

use kvm_core::{ErrorKind, Existing, Result};
use kvm_vm::{ImageCheck, Upload, VolumeRef};

use super::done::{Deed, Way};
use crate::environment;
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `vol upload`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol upload iso/debian.iso debian-12.iso\n  kvmctl vol upload default/web.qcow2 web.qcow2 --verify\n  \
        kvmctl vol upload default/web.qcow2 web.qcow2 --overwrite --dry-run",
    after_long_help = "The volume is new unless --overwrite says otherwise; when the upload fails or is cancelled it is deleted again. \
        The file goes as it is: an image stays in its format. One that names other files or addresses is refused, because the \
        host would read them; --unchecked takes it all the same.\n\n\
        Library: kvm_vm::plan_upload, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// Pool and name of the new volume.
    #[arg(value_name = "POOL/VOLUME", value_parser = VolumeRef::parse_new)]
    volume: VolumeRef,
    /// File or block device on this machine.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    way: Way,
    /// Delete a volume of this name first, for good.
    #[arg(long)]
    overwrite: bool,
    /// Take an image that names other files.
    #[arg(long)]
    unchecked: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let file = environment::absolute(args.file)?;
    let wanted = Upload {
        volume: args.volume,
        file: file.clone(),
        existing: if args.overwrite { Existing::Replace } else { Existing::Reject },
        holes: args.way.holes(),
        verify: args.way.verify(),
        check: if args.unchecked { ImageCheck::None } else { ImageCheck::Complete },
    };
    let connection = session.host().await?;
    let plan = kvm_vm::plan_upload(&connection.host, &wanted).await?;
    let deed = Deed {
        connection: &connection,
        volume: &wanted.volume,
        file: Some(file.display().to_string()),
        what: format!("{} uploaded", wanted.volume),
        dry_run: args.dry_run,
        destroys: plan.reversible == 0,
    };
    deed.carry_out(plan, session, printer).await
}
