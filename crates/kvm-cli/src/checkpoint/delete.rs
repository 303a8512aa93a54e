//! `kvmctl checkpoint delete`.

use kvm_core::{ErrorKind, Remove, Result, SnapshotName};

use super::Changed;
use crate::operation::confirm;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `checkpoint delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl checkpoint delete web monday\n  kvmctl checkpoint delete web monday --yes\n  \
        kvmctl checkpoint delete web monday --record-only",
    after_long_help = "What was written since is remembered by the checkpoint before it; after the first there is none. The VM has to run, \
        unless the record alone goes.\n\nLibrary: kvm_core::Checkpoints::delete"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Name of the checkpoint.
    #[arg(value_name = "CHECKPOINT", value_parser = SnapshotName::adopt)]
    checkpoint: SnapshotName,
    /// Delete the record alone, for one whose bitmaps are gone.
    #[arg(long)]
    record_only: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let found = kvm_vm::find_checkpoint(&connection.host, &vm, &args.checkpoint).await?;
    if !session.yes {
        let name = &found.name;
        printer.preview(&format!(
            "delete checkpoint {name} of {} on {}\n  remove  checkpoint  {name}  no incremental backup can begin there any more",
            vm.name,
            connection.label()
        ));
    }
    confirm(session, printer, "Type the checkpoint's name to delete it: ", found.name.as_str()).await?;
    let what = if args.record_only { Remove::Record } else { Remove::Everything };
    kvm_vm::checkpoints(&connection.host)?.delete(&vm.id, &found.name, what).await?;
    printer.show(&Changed { vm: vm.name.into(), id: vm.id, checkpoint: found.name, action: "deleted" })
}
