//! `kvmctl vm suspend`.

use kvm_core::{ErrorKind, PowerAction, Result};

use super::power;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::Several;

/// Arguments of `vm suspend`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm suspend web\n  kvmctl vm suspend --all",
    after_long_help = "Library: kvm_core::Hypervisor::power with PowerAction::Suspend"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    power::change(&args.vms, session, printer, PowerAction::Suspend, "suspended").await
}
