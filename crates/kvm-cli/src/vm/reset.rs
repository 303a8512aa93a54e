//! `kvmctl vm reset`.

use kvm_core::{ErrorKind, PowerAction, Result};

use super::power;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::Several;

/// Arguments of `vm reset`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm reset web\n  kvmctl vm reset web db",
    after_long_help = "Library: kvm_core::Hypervisor::power with PowerAction::Reset"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    power::change_with_loss(&args.vms, session, printer, PowerAction::Reset, "reset").await
}
