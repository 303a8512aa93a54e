//! `kvmctl replica invert`.

use kvm_clone::{SyncSpec, plan_sync};
use kvm_core::{ErrorKind, Result};

use crate::operation::agree;
use crate::printer::Printer;
use crate::session::Session;
use crate::sync::{How, carry_out, preview};
use crate::vms::One;

/// Arguments of `replica invert`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl replica invert lab2/web lab1 --dry-run\n  kvmctl replica invert lab2/web lab1",
    after_long_help = "The promoted replica NAME becomes the source, and the VM on HOST that was its source until then becomes its replica: it \
        must be off, and what it wrote after the last sync is lost. Only what differs is sent. From then on: kvmctl sync NAME HOST.\n\n\
        Library: kvm_clone::plan_sync, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The host of the old source.
    #[arg(value_name = "HOST")]
    destination: String,
    #[command(flatten)]
    how: How,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (source, vm) = args.vm.find(session).await?;
    let target = session.at(Some(&args.destination)).await?;
    let spec = SyncSpec { invert: true, ..args.how.spec(session) };
    let mut sync = plan_sync(&source.host, &target.host, &vm, &spec, &session.plan_context()).await?;
    let prove = args.how.prove(&mut sync, session)?;
    if args.how.dry_run {
        return preview(&sync, (&source, &target), printer).await;
    }
    agree(&sync.plan, session, printer).await?;
    carry_out(sync, vm.name.as_str(), (&target, prove), session, printer).await
}
