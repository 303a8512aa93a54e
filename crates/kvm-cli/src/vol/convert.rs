//! `kvmctl vol convert`.

use kvm_core::{ErrorKind, Result};
use kvm_vm::{Sharing, VolumeFormat};

use super::clone::Copy;
use crate::args::one_of;
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `vol convert`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol convert default/web.raw default/web.qcow2 --format qcow2\n  \
        kvmctl vol convert default/web.qcow2 lvm/web --format raw\n  kvmctl vol convert default/a.vmdk default/a.qcow2 --format qcow2 --dry-run",
    after_long_help = "The original stays. The copy is made on the host and is complete by itself, whatever the original lies upon.\n\n\
        Library: kvm_vm::plan_volume_copy, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    copy: Copy,
    /// The copy's format.
    #[arg(long, value_parser = one_of!(VolumeFormat))]
    format: VolumeFormat,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    args.copy.run((Some(args.format), Sharing::Never, "converted to"), session, printer).await
}
