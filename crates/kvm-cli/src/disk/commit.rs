//! `kvmctl disk commit`.

use kvm_core::{Bandwidth, DiskPath, ErrorKind, Result};
use kvm_vm::{DiskCommit, OldImages};
use kvm_xml::value::DiskName;

use crate::device::Deed;
use crate::operation::confirm;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk commit`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk commit web vda\n  kvmctl disk commit web vda --base /images/web.qcow2 --keep\n  \
        kvmctl disk commit web vda --dry-run",
    after_long_help = "The VM has to run, and its guest goes on meanwhile. What its image holds goes into the image below, in which \
        the VM then stays; the images above that are deleted unless they are to be kept. Refused when somebody else uses an image \
        that would change: see `kvmctl disk graph`. Ctrl-C takes it back.\n\n\
        Library: kvm_vm::plan_disk_commit, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The disk's target, such as vda.
    #[arg(value_name = "TARGET")]
    target: DiskName,
    /// The image that receives everything above it; the one right below if left out.
    #[arg(long, value_name = "PATH")]
    base: Option<DiskPath>,
    /// Keep the images that are not used any more.
    #[arg(long)]
    keep: bool,
    /// How fast it may go, such as 100M/s.
    #[arg(long, value_name = "RATE", default_value = "0", hide_default_value = true)]
    speed: Bandwidth,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = DiskCommit {
        target: args.target.clone(),
        base: args.base,
        old: if args.keep { OldImages::Keep } else { OldImages::Delete },
        speed: args.speed,
    };
    let plan = kvm_vm::plan_disk_commit(&connection.host, &vm, &wanted).await?;
    if !args.dry_run && !session.yes {
        printer.preview(&plan.to_string());
        confirm(session, printer, "Type the disk's target to go on: ", args.target.as_str()).await?;
    }
    let what = format!("disk {} of {} committed", args.target, vm.name);
    let device = args.target.to_string();
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(plan, session, printer).await
}
