//! `kvmctl snap create`.

use kvm_core::{Description, ErrorKind, Quiesce, Result, SnapshotKind, SnapshotName};
use kvm_vm::{KeepMemory, SnapshotCreate};

use super::Deed;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `snap create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl snap create web before-upgrade --description 'Debian 12'\n  \
        kvmctl snap create web nightly --quiesce\n  kvmctl snap create web before-upgrade --dry-run",
    after_long_help = "An internal snapshot is inside the disks' images, which have to be qcow2; of a running VM it has the memory. \
        An external one leaves the images as they are, and the VM goes on in an overlay of each; its memory is a file beside them. \
        Unless you choose, it is internal where the disks, the firmware and the VM's other snapshots allow it. The plan says which, \
        and what room there is.\n\n\
        --quiesce has the guest's agent bring its file systems in order, and keeps the disks alone.\n\n\
        Library: kvm_vm::plan_snapshot, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Name of the snapshot.
    #[arg(value_name = "SNAPSHOT")]
    snapshot: SnapshotName,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<Description>,
    /// Inside the images.
    #[arg(long)]
    internal: bool,
    /// In the images as they are, with overlays from now on.
    #[arg(long, conflicts_with = "internal")]
    external: bool,
    /// Keep the disks alone, not the memory of a running VM.
    #[arg(long)]
    disk_only: bool,
    /// Have the guest bring its file systems in order first; keeps the disks alone.
    #[arg(long, conflicts_with = "internal")]
    quiesce: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = SnapshotCreate {
        name: args.snapshot,
        description: args.description,
        kind: match (args.internal, args.external) {
            (true, _) => Some(SnapshotKind::Internal),
            (_, true) => Some(SnapshotKind::External),
            _ => None,
        },
        memory: if args.disk_only { KeepMemory::No } else { KeepMemory::IfRunning },
        quiesce: if args.quiesce { Quiesce::Yes } else { Quiesce::No },
    };
    let plan = kvm_vm::plan_snapshot(&connection.host, &vm, &wanted).await?;
    let what = format!("snapshot {} of {} taken", wanted.name, vm.name);
    let deed = Deed { connection: &connection, vm: &vm, snapshot: &wanted.name, what, dry_run: args.dry_run };
    deed.carry_out(plan, session, printer).await
}
