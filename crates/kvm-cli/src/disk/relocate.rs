//! `kvmctl disk move`.

use clap_complete::engine::ArgValueCandidates;
use kvm_core::{Bandwidth, ErrorKind, PoolName, Result, VolumeName};
use kvm_vm::{DiskMove, OldImages, VolumeFormat};
use kvm_xml::value::DiskName;

use crate::device::Deed;
use crate::operation::confirm;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk move`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk move web vda --pool fast\n  kvmctl disk move web vda --pool fast --keep\n  \
        kvmctl disk move web vda --pool fast --format raw --dry-run",
    after_long_help = "Of a running VM the disk is copied while its guest goes on, and the VM goes over to the copy when that has \
        everything. The copy is complete: it does not lie upon other images. The old volume is deleted last, unless it is to be \
        kept or somebody else uses it. Ctrl-C before the end takes everything back. Of a VM that is off the host makes the copy by \
        itself, as fast as it can; then the VM is configured to use it.\n\n\
        Library: kvm_vm::plan_disk_move, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The disk's target, such as vda.
    #[arg(value_name = "TARGET")]
    target: DiskName,
    /// The pool to move it to.
    #[arg(long, value_name = "POOL", add = ArgValueCandidates::new(crate::completion::pool_names))]
    pool: PoolName,
    /// The new volume's name; that of the old one, where it is free, if left out.
    #[arg(long, value_name = "NAME")]
    name: Option<VolumeName>,
    /// The form of the new volume: qcow2 or raw; as now if left out.
    #[arg(long, value_name = "FORMAT")]
    format: Option<VolumeFormat>,
    /// Keep the old volume.
    #[arg(long)]
    keep: bool,
    /// How fast it may go while the VM runs, such as 100M/s.
    #[arg(long, value_name = "RATE", default_value = "0", hide_default_value = true)]
    speed: Bandwidth,
    /// Let the new volume promise more than its pool has.
    #[arg(long)]
    allow_overcommit: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = DiskMove {
        target: args.target.clone(),
        pool: args.pool.clone(),
        name: args.name,
        format: args.format,
        old: if args.keep { OldImages::Keep } else { OldImages::Delete },
        speed: args.speed,
        allow_overcommit: args.allow_overcommit,
    };
    let plan = kvm_vm::plan_disk_move(&connection.host, &vm, &wanted, &session.plan_context()).await?;
    if !args.keep && !args.dry_run && !session.yes {
        printer.preview(&plan.to_string());
        confirm(session, printer, "Type the disk's target to go on: ", args.target.as_str()).await?;
    }
    let what = format!("disk {} of {} moved to pool {}", args.target, vm.name, args.pool);
    let device = args.target.to_string();
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(plan, session, printer).await
}
