//! `kvmctl secret delete`.

use kvm_core::{ErrorKind, Result, SecretId};
use serde::Serialize;

use crate::operation::{DoneForm, PlanView, confirm};
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `secret delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl secret delete 5d0c9a3e-5a1f-4a53-9f6a-0c9b3c8f5f10\n  \
        kvmctl secret delete 5d0c9a3e-5a1f-4a53-9f6a-0c9b3c8f5f10 --dry-run\n  \
        kvmctl secret delete 5d0c9a3e-5a1f-4a53-9f6a-0c9b3c8f5f10 --yes",
    after_long_help = "Refused while there is a volume or file at the path that it is for, while a VM or pool names it, and while a pool that \
        is not active may have its volume. There is no way back: nobody can read the value that is deleted.\n\n\
        Library: kvm_vm::plan_secret_delete, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// The uuid of the secret.
    #[arg(value_name = "ID")]
    secret: SecretId,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Deleted {
    secret: SecretId,
    #[serde(flatten)]
    done: DoneForm,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let connection = session.host().await?;
    let plan = kvm_vm::plan_secret_delete(&connection.host, &args.secret).await?;
    if args.dry_run {
        return printer.show(&PlanView::of(&plan));
    }
    if !session.yes {
        printer.preview(&plan.to_string());
    }
    confirm(session, printer, "Type its uuid to delete it: ", &args.secret.to_string()).await?;
    let done = session.carry_out(&connection, plan).await?;
    printer.show(&Deleted { secret: args.secret, done: DoneForm::of(&done) })
}

impl Outcome for Deleted {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("secret {} deleted", self.secret), page);
    }
}
