//! `kvmctl backup prune`.

use std::num::NonZeroUsize;

use kvm_clone::{VmDir, plan_backup_prune};
use kvm_core::{ErrorKind, Result};
use serde::Serialize;

use super::Store;
use crate::operation::{DoneForm, PlanView, confirm};
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `backup prune`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl backup prune lab2:/srv/backup web --keep 7 --dry-run\n  \
        kvmctl backup prune lab2:/srv/backup web --keep 7\n  kvmctl backup prune /srv/backup web --keep 1 --yes",
    after_long_help = "Every point is whole, so those that stay need none of those that go. A point whose manifest cannot be read counts for nothing \
        and stays. As with delete, only files that a manifest names are removed.\n\n\
        Library: kvm_clone::plan_backup_prune, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    store: Store,
    /// Whose points.
    #[arg(value_name = "VM")]
    vm: VmDir,
    /// How many of the newest stay.
    #[arg(long, value_name = "COUNT")]
    keep: NonZeroUsize,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let host = args.store.host(session).await?;
    let (vm, store) = (args.vm.to_string(), args.store.directory().to_string());
    let Some(plan) = plan_backup_prune(&host.host, args.store.directory(), &args.vm, args.keep).await? else {
        return printer.show(&Pruned { vm, store, done: None });
    };
    if args.dry_run {
        return printer.show(&PlanView::of(&plan));
    }
    if !session.yes {
        printer.preview(&plan.to_string());
    }
    confirm(session, printer, "Type the VM's name to delete them: ", &vm).await?;
    let done = session.carry_out(&host, plan).await?;
    printer.show(&Pruned { vm, store, done: Some(DoneForm::of(&done)) })
}

/// What became of the older points.
#[derive(Serialize)]
struct Pruned {
    vm: String,
    store: String,
    /// Left out where there was nothing to do.
    #[serde(flatten)]
    done: Option<DoneForm>,
}

impl Outcome for Pruned {
    fn text(&self, page: &mut Page<'_>) {
        match &self.done {
            Some(done) => done.text(&format!("older backups of {} deleted from {}", self.vm, self.store), page),
            None => page.done(format_args!("there are no more backups of {} in {}", self.vm, self.store)),
        }
    }
}
