//! `kvmctl vm shutdown`.

use std::time::Duration;

use clap::ValueEnum;
use kvm_core::{ErrorKind, PowerAction, Result};
use kvm_vm::{ShutdownOptions, ShutdownOutcome};
use serde::Serialize;

use super::power;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::{Deed, Several};

/// Arguments of `vm shutdown`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm shutdown web\n  kvmctl vm shutdown web --timeout 60s --then power-off\n  kvmctl vm shutdown --all --timeout 5m",
    after_long_help = "Library: kvm_vm::shutdown; without --timeout kvm_core::Hypervisor::power with PowerAction::Shutdown"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
    /// Wait this long for the guests to be off, such as 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
    /// What to do with guests that are still on then.
    #[arg(long, value_enum, value_name = "WHAT", requires = "timeout", default_value = "fail")]
    then: Then,
}

/// What happens to a guest that does not obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Then {
    /// It stays on, and the command fails.
    Fail,
    /// Its plug is pulled.
    PowerOff,
}

#[derive(Debug, Serialize)]
struct Off {
    action: PowerAction,
    outcome: ShutdownOutcome,
}

impl Deed for Off {
    fn words(&self) -> String {
        match self.outcome {
            ShutdownOutcome::Obeyed => "shut down".to_owned(),
            ShutdownOutcome::PoweredOff => "did not obey in time and was powered off".to_owned(),
        }
    }
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let Some(timeout) = args.timeout.filter(|_| !args.vms.dry_run) else {
        return power::change(&args.vms, session, printer, PowerAction::Shutdown, "asked to shut down").await;
    };
    let then = match args.then {
        Then::Fail => kvm_vm::Then::Fail,
        Then::PowerOff => kvm_vm::Then::PowerOff,
    };
    let options = ShutdownOptions { timeout, then };
    let batch = args
        .vms
        .each(session, async |connection, vm| {
            let outcome =
                kvm_vm::shutdown(&connection.host, &vm.id, &options, &*session.clock, &session.cancel).await?;
            Ok(Off { action: PowerAction::Shutdown, outcome })
        })
        .await?;
    printer.show(&batch)
}
