//! `kvmctl disk detach`.

use std::time::Duration;

use kvm_core::{ErrorKind, Result};
use kvm_vm::{DETACH_TIMEOUT, DiskDetach, Volumes};
use kvm_xml::value::DiskName;

use crate::device::{Deed, Reach};
use crate::operation::confirm;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk detach`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk detach web vdb\n  kvmctl disk detach web vdb --delete-volume\n  \
        kvmctl disk detach web vdb --timeout 5m",
    after_long_help = "A running guest is asked for the disk and waited for. One that does not give it up in time keeps it, in its \
        configuration as well; --only config takes it out of that alone.\n\n\
        Library: kvm_vm::plan_disk_detach, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The disk's target, such as vdb.
    #[arg(value_name = "TARGET")]
    target: DiskName,
    #[command(flatten)]
    reach: Reach,
    /// Delete its volume, when nothing else uses it.
    #[arg(long)]
    delete_volume: bool,
    /// How long a running guest has, such as 90s or 5m [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = DiskDetach {
        target: args.target.clone(),
        impact: args.reach.impact(),
        volume: if args.delete_volume { Volumes::Delete } else { Volumes::Keep },
        timeout: args.timeout.unwrap_or(DETACH_TIMEOUT),
    };
    let plan = kvm_vm::plan_disk_detach(&connection.host, &vm, &wanted).await?;
    if args.delete_volume && !args.dry_run && !session.yes {
        printer.preview(&plan.to_string());
        confirm(session, printer, "Type the disk's target to go on: ", args.target.as_str()).await?;
    }
    let what = format!("disk {} detached from {}", args.target, vm.name);
    let device = args.target.to_string();
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(plan, session, printer).await
}
