//! `kvmctl snap revert`.

use kvm_core::{AfterRevert, ErrorKind, Result, Revert, Risk};

use super::{Deed, Existing};
use crate::operation::confirm;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `snap revert`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl snap revert web before-upgrade --dry-run\n  kvmctl snap revert web before-upgrade\n  \
        kvmctl snap revert web before-upgrade --running --yes",
    after_long_help = "Puts back disks, definition and, where the snapshot has it, memory. What happened since is lost, unless a later \
        snapshot has it; the plan says what. Refused when another snapshot or VM would lose its data.\n\n\
        Library: kvm_vm::plan_revert, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    #[command(flatten)]
    existing: Existing,
    /// Have it run afterwards, whatever it did then.
    #[arg(long)]
    running: bool,
    /// Have it paused afterwards.
    #[arg(long, conflicts_with = "running")]
    paused: bool,
    /// Revert also where the hypervisor cannot promise that the guest finds the same machine.
    #[arg(long)]
    force: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let how = Revert {
        then: match (args.running, args.paused) {
            (true, _) => AfterRevert::Running,
            (_, true) => AfterRevert::Paused,
            _ => AfterRevert::AsItWas,
        },
        risk: if args.force { Risk::Take } else { Risk::Refuse },
    };
    let snapshot = args.existing.snapshot;
    let plan = kvm_vm::plan_revert(&connection.host, &vm, &snapshot, how).await?;
    if !args.dry_run && !session.yes {
        printer.preview(&plan.to_string());
        confirm(session, printer, "Type the snapshot's name to revert to it: ", snapshot.as_str()).await?;
    }
    let what = format!("{} reverted to snapshot {snapshot}", vm.name);
    let deed = Deed { connection: &connection, vm: &vm, snapshot: &snapshot, what, dry_run: args.dry_run };
    deed.carry_out(plan, session, printer).await
}
