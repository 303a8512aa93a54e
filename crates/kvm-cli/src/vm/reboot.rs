//! `kvmctl vm reboot`.

use kvm_core::{ErrorKind, PowerAction, Result};

use super::power;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::Several;

/// Arguments of `vm reboot`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm reboot web\n  kvmctl vm reboot --select tag=web",
    after_long_help = "Library: kvm_core::Hypervisor::power with PowerAction::Reboot"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    power::change(&args.vms, session, printer, PowerAction::Reboot, "asked to reboot").await
}
