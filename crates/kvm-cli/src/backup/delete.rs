//! `kvmctl backup delete`.

use kvm_clone::plan_backup_delete;
use kvm_core::{ErrorKind, Result};
use serde::Serialize;

use super::Which;
use crate::operation::{DoneForm, PlanView, confirm};
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `backup delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl backup delete lab2:/srv/backup web/2026-11-22T07-35-00Z\n  \
        kvmctl backup delete /srv/backup web/2026-11-22T07-35-00Z --yes",
    after_long_help = "No point needs another one, so any can go. Only the files that its manifest names are removed; where there is anything else in \
        its directory, nothing is.\n\nLibrary: kvm_clone::plan_backup_delete, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let Which { store, point } = &args.which;
    if point.point.is_none() {
        return Err(kvm_core::Error::invalid("point", format!("{point} names no point, only a VM"))
            .with_detail("name it: VM/TIME, as kvmctl backup list shows it"));
    }
    let host = store.host(session).await?;
    let (id, plan) = plan_backup_delete(&host.host, store.directory(), point).await?;
    if args.dry_run {
        return printer.show(&PlanView::of(&plan));
    }
    if !session.yes {
        printer.preview(&plan.to_string());
    }
    confirm(session, printer, "Type the point to delete it: ", &id.to_string()).await?;
    let done = session.carry_out(&host, plan).await?;
    let backup = format!("{}/{id}", point.vm);
    printer.show(&Deleted { backup, store: store.directory().to_string(), done: DoneForm::of(&done) })
}

/// A point that was deleted.
#[derive(Serialize)]
struct Deleted {
    backup: String,
    store: String,
    #[serde(flatten)]
    done: DoneForm,
}

impl Outcome for Deleted {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("backup {} deleted from {}", self.backup, self.store), page);
    }
}
