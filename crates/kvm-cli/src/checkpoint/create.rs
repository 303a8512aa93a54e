//! `kvmctl checkpoint create`.

use kvm_core::{CheckpointSpec, Description, Result, SnapshotName};

use super::Changed;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `checkpoint create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl checkpoint create web monday\n  kvmctl checkpoint create web monday -o json\n  \
        kvmctl checkpoint create web monday --description 'full backup of Monday'",
    after_long_help = "An incremental backup copies what was written since a checkpoint. Only qcow2 images can remember; the VM has to \
        run.\n\nLibrary: kvm_core::Checkpoints::create"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Name of the checkpoint.
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: SnapshotName,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<Description>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let (connection, vm) = args.vm.find(session).await?;
    let spec = CheckpointSpec { name: args.checkpoint, description: args.description };
    kvm_vm::create_checkpoint(&connection.host, &vm, &spec).await?;
    Ok(Changed { vm: vm.name.into(), id: vm.id, checkpoint: spec.name, action: "made" })
}
