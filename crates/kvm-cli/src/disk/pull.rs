//! `kvmctl disk pull`.

use kvm_core::{Bandwidth, DiskPath, ErrorKind, Result};
use kvm_vm::DiskPull;
use kvm_xml::value::DiskName;

use crate::device::Deed;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk pull`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk pull web vda\n  kvmctl disk pull web vda --base /images/base.qcow2\n  \
        kvmctl disk pull web vda --speed 100M/s",
    after_long_help = "The VM has to run, and its guest goes on meanwhile. Its image gets what it takes from the images below, which \
        stay as they are. Ctrl-C ends it; what was copied by then does no harm, and the next pull goes on from there.\n\n\
        Library: kvm_vm::plan_disk_pull, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The disk's target, such as vda.
    #[arg(value_name = "TARGET")]
    target: DiskName,
    /// The image that it still lies upon afterwards; none if left out.
    #[arg(long, value_name = "PATH")]
    base: Option<DiskPath>,
    /// How fast it may go, such as 100M/s.
    #[arg(long, value_name = "RATE", default_value = "0", hide_default_value = true)]
    speed: Bandwidth,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = DiskPull { target: args.target.clone(), base: args.base, speed: args.speed };
    let plan = kvm_vm::plan_disk_pull(&connection.host, &vm, &wanted).await?;
    let what = format!("pulled into disk {} of {}", args.target, vm.name);
    let device = args.target.to_string();
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(plan, session, printer).await
}
