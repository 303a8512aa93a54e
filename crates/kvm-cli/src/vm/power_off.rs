//! `kvmctl vm power-off`.

use kvm_core::{ErrorKind, PowerAction, Result};

use super::power;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::Several;

/// Arguments of `vm power-off`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm power-off web\n  kvmctl vm power-off --select state=paused",
    after_long_help = "Library: kvm_core::Hypervisor::power with PowerAction::PowerOff"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    power::change_with_loss(&args.vms, session, printer, PowerAction::PowerOff, "powered off").await
}
