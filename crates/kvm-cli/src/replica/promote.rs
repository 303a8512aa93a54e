//! `kvmctl replica promote`.

use kvm_clone::{PromoteSpec, SourceSeen, plan_promote, replica_of};
use kvm_core::{ErrorKind, Replication, Result, VmId};
use kvm_vm::Start;
use serde::Serialize;

use super::{in_words, source_of};
use crate::operation::{DoneForm, PlanView, confirm};
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `replica promote`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl replica promote lab2/web --start\n  kvmctl replica promote lab2/web --dry-run",
    after_long_help = "Everything happens on the host of the replica; that of its source is only asked whether the source runs, and need not \
        answer. A sync that was cut short is settled first: applied where all of it had arrived, else forgotten. A guest that watches its \
        generation id gets a new one. From then on the VM takes no syncs.\n\
        While the source is known to run, its name has to be typed, or --yes given: there would be two of the same VM.\n\n\
        Library: kvm_clone::plan_promote, kvm_core::op::Executor::run_cut_off"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Start it.
    #[arg(long)]
    start: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let source = match replica_of(&connection.host, vm.clone()).await?.replication {
        Some(Replication::Replica(replica)) => source_of(&replica, &vm, session).await,
        // The plan says what is wrong with it.
        _ => SourceSeen::Gone,
    };
    let start = if args.start { Start::Yes } else { Start::No };
    let spec = PromoteSpec { at: session.clock.now(), start, source: source.clone() };
    let promotion = plan_promote(&connection.host, &vm, &spec, &session.plan_context()).await?;
    if args.dry_run {
        return printer.show(&PlanView::of(&promotion.plan));
    }
    if source.is_running() {
        if !session.yes {
            printer.preview(&promotion.plan.to_string());
        }
        let question = "Its source runs: there would be two of the same VM. Type the name to promote it all the same: ";
        confirm(session, printer, question, vm.name.as_str()).await?;
    } else if let SourceSeen::Unreachable(_) = &source {
        printer.note(&format!("its source is {}; see that it stays off", in_words(&source)));
    }
    let done = session.carry_out_cut_off(&connection, promotion.plan).await?;
    printer.show(&Promoted {
        name: vm.name.as_str().to_owned(),
        id: vm.id,
        host: connection.label(),
        synced: promotion.replica.synced,
        source_seen: source,
        started: args.start,
        done: DoneForm::of(&done),
    })
}

/// A replica that was promoted.
#[derive(Serialize)]
struct Promoted {
    name: String,
    id: VmId,
    host: String,
    /// What its source did after that is not in it.
    synced: jiff::Timestamp,
    source_seen: SourceSeen,
    started: bool,
    #[serde(flatten)]
    done: DoneForm,
}

impl Outcome for Promoted {
    fn text(&self, page: &mut Page<'_>) {
        let started = if self.started { " and started" } else { "" };
        let (name, host, synced) = (&self.name, &self.host, self.synced);
        self.done.text(&format!("{name} promoted{started} on {host}, as its source was at {synced:.0},"), page);
    }
}
