//! `kvmctl snap delete`.

use kvm_core::{ErrorKind, Result};
use kvm_vm::SnapshotScope;

use super::{Deed, Existing};
use crate::operation::confirm;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `snap delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl snap delete web before-upgrade --dry-run\n  kvmctl snap delete web before-upgrade\n  \
        kvmctl snap delete web before-upgrade --children --yes",
    after_long_help = "The VM stays as it is: what was written since an external snapshot goes into the image that was its state. \
        Refused when another snapshot or VM would lose its data.\n\n\
        Library: kvm_vm::plan_snapshot_delete, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    #[command(flatten)]
    existing: Existing,
    /// Delete also all that go on from it.
    #[arg(long)]
    children: bool,
    /// Delete the record alone; what images and files hold stays.
    #[arg(long, conflicts_with = "children")]
    record_only: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let scope = match (args.children, args.record_only) {
        (true, _) => SnapshotScope::Branch,
        (_, true) => SnapshotScope::Record,
        _ => SnapshotScope::This,
    };
    let snapshot = args.existing.snapshot;
    let plan = kvm_vm::plan_snapshot_delete(&connection.host, &vm, &snapshot, scope).await?;
    if !args.dry_run && !session.yes {
        printer.preview(&plan.to_string());
        confirm(session, printer, "Type the snapshot's name to delete it: ", snapshot.as_str()).await?;
    }
    let what = format!("snapshot {snapshot} of {} deleted", vm.name);
    let deed = Deed { connection: &connection, vm: &vm, snapshot: &snapshot, what, dry_run: args.dry_run };
    deed.carry_out(plan, session, printer).await
}
