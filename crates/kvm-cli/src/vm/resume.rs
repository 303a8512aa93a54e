//! `kvmctl vm resume`.

use kvm_core::{ErrorKind, PowerAction, Result};

use super::power;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::Several;

/// Arguments of `vm resume`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm resume web\n  kvmctl vm resume --all",
    after_long_help = "Library: kvm_core::Hypervisor::power with PowerAction::Resume"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    power::change(&args.vms, session, printer, PowerAction::Resume, "resumed").await
}
