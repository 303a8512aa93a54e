//! `kvmctl vm start`.

use kvm_core::{ErrorKind, PowerAction, Result};

use super::power::Accepted;
use crate::doctor;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::{Several, Would};

/// Arguments of `vm start`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm start web db\n  kvmctl vm start --select tag=lab,state=off\n  kvmctl vm start web --paused",
    after_long_help = "A VM that another host may have as well is refused: a replica that was not promoted, and one that is being moved.\n\n\
        Library: kvm_vm::check_start, kvm_core::Hypervisor::power with PowerAction::Start or ::StartPaused"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
    /// Load them, but do not let their CPUs run yet.
    #[arg(long)]
    paused: bool,
    /// Boot them, and throw a saved state away.
    #[arg(long)]
    discard_saved: bool,
    /// Start a replica as it is, and a VM in the middle of a move that nobody finishes any more.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (action, words) = match args.paused {
        true => (PowerAction::StartPaused, "started, paused"),
        false => (PowerAction::Start, "started"),
    };
    if args.vms.dry_run {
        return printer.show(&Would::new(action.as_str(), args.vms.find(session).await?));
    }
    let batch = args
        .vms
        .each(session, async |connection, vm| {
            match args.force {
                true => kvm_vm::claim(&connection.host, &vm).await?,
                false => kvm_vm::check_start(&connection.host, &vm).await?,
            }
            if args.discard_saved && vm.has_saved_state {
                connection.host.hypervisor.power(&vm.id, PowerAction::DiscardSaved).await?;
            }
            match connection.host.hypervisor.power(&vm.id, action).await {
                Ok(()) => Ok(Accepted::new(action, words)),
                Err(refused) => Err(doctor::explain_start(session, &connection, &vm, refused).await),
            }
        })
        .await?;
    printer.show(&batch)
}
