//! `kvmctl replica prove`.

use std::time::Duration;

use kvm_clone::plan_prove;
use kvm_core::{ErrorKind, Result};
use serde::Serialize;

use crate::operation::{DoneForm, PlanView};
use crate::printer::{Failure, Outcome, Page, Printer};
use crate::prove::{Proof, prove, spec};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `replica prove`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl replica prove lab2/web\n  kvmctl replica prove lab2/web --until 'login:' --timeout 2m\n  \
        kvmctl replica prove lab2/web -o json | jq .result",
    after_long_help = "Starts a replica, or any VM that is off, once: as a transient VM of another name on throw-away overlays of its images, with a copy \
        of its UEFI variables, no link on its network devices, no devices of the host, no TPM, and screens that listen nowhere. It is \
        up when its guest agent answers, or when its serial console says TEXT. Then it is powered off, the overlays are deleted, and \
        a receipt is noted on the VM: kvmctl replica show.\n\
        Its images are only read, and a replica takes no syncs meanwhile. One that was not proved stays as it is; the exit code is then \
        10, and the receipt says what was last on its console. Ctrl-C takes everything back.\n\n\
        Library: kvm_clone::plan_prove, kvm_core::op::Executor::run, kvm_clone::proof_of"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// It is up when its serial console says this; if left out, when its guest agent answers.
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// How long that may take; 5m if left out.
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let spec = spec(args.until.as_deref(), args.timeout, session);
    if args.dry_run {
        let planned = plan_prove(&connection.host, &vm, &spec, &session.plan_context()).await?;
        return printer.show(&PlanView::of(&planned.plan));
    }
    let (proof, done) = prove(&spec, &connection, &vm, session).await?;
    printer.show(&Tried { proof, done: DoneForm::of(&done) })
}

/// A VM that was tried.
#[derive(Serialize)]
struct Tried {
    #[serde(flatten)]
    proof: Proof,
    #[serde(flatten)]
    done: DoneForm,
}

impl Outcome for Tried {
    fn text(&self, page: &mut Page<'_>) {
        self.proof.text(page);
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        self.proof.failures()
    }
}
