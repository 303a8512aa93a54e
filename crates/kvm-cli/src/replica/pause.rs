//! `kvmctl replica pause` and `resume`.

use kvm_clone::{pause_replica, resume_replica};
use kvm_core::{ErrorKind, Replica, ReplicaState, Result, VmId};
use serde::Serialize;

use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `replica pause`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl replica pause lab2/web",
    after_long_help = "Syncs to it are refused until it is resumed.\n\nLibrary: kvm_clone::pause_replica"
)]
pub struct PauseArgs {
    #[command(flatten)]
    vm: One,
}

/// Arguments of `replica resume`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl replica resume lab2/web",
    after_long_help = "So does one that waits for a sync that was cut short and that nobody can finish any more: where it was begun, kvmctl op \
        resume|undo is the better way.\n\nLibrary: kvm_clone::resume_replica"
)]
pub struct ResumeArgs {
    #[command(flatten)]
    vm: One,
}

pub(super) async fn pause(args: PauseArgs, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let replica = pause_replica(&connection.host, &vm).await?;
    printer.show(&Changed::new(vm.name.as_str(), vm.id, &replica))
}

pub(super) async fn resume(args: ResumeArgs, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let replica = resume_replica(&connection.host, &vm).await?;
    printer.show(&Changed::new(vm.name.as_str(), vm.id, &replica))
}

#[derive(Serialize)]
struct Changed {
    name: String,
    id: VmId,
    state: ReplicaState,
}

impl Changed {
    fn new(name: &str, id: VmId, replica: &Replica) -> Self {
        Self { name: name.to_owned(), id, state: replica.state }
    }
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        let word = if self.state == ReplicaState::Paused { "takes no syncs for now" } else { "takes syncs again" };
        page.done(format_args!("{} {word}", self.name));
    }
}
