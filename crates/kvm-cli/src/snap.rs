//! `kvmctl snap`: snapshots of VMs.

use clap::Subcommand;
use kvm_core::op::Plan;
use kvm_core::{ErrorKind, Result, SnapshotInfo, SnapshotKind, SnapshotName, VmId, VmSummary};
use serde::Serialize;

use crate::op;
use crate::operation::{DoneForm, PlanView};
use crate::printer::{Outcome, Page, Printer};
use crate::session::{Connection, Session};

mod create;
mod delete;
mod list;
mod revert;
mod show;

/// Verbs for snapshots.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl snap create web before-upgrade
  kvmctl snap list web --tree
  kvmctl snap revert web before-upgrade")]
pub enum Command {
    /// Keep a VM as it is now: its disks, and its memory when it runs.
    Create(create::Args),
    /// List the snapshots of a VM.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show all that is known of a snapshot.
    Show(show::Args),
    /// Put a VM back to a snapshot; what happened since is lost.
    Revert(revert::Args),
    /// Delete a snapshot; the VM stays as it is.
    Delete(delete::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Create(args) => create::run(args, session, printer).await,
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Show(args) => op::answer(&show::run(args, session).await?, session, printer).await,
        Command::Revert(args) => revert::run(args, session, printer).await,
        Command::Delete(args) => delete::run(args, session, printer).await,
    }
}

/// A snapshot that exists, as an argument.
#[derive(Clone, Debug, clap::Args)]
struct Existing {
    /// Name of the snapshot.
    #[arg(value_name = "SNAPSHOT", value_parser = SnapshotName::adopt)]
    snapshot: SnapshotName,
}

/// A snapshot as lists and pages show it.
#[derive(Debug, Serialize)]
struct Snapshot {
    #[serde(flatten)]
    info: SnapshotInfo,
    kind: SnapshotKind,
}

impl From<SnapshotInfo> for Snapshot {
    fn from(info: SnapshotInfo) -> Self {
        Self { kind: info.kind(), info }
    }
}

/// When it was made, to the second.
fn time(at: Option<jiff::Timestamp>) -> Option<String> {
    at.map(|at| format!("{at:.0}"))
}

/// What is done with a plan about a snapshot.
struct Deed<'a> {
    connection: &'a Connection,
    vm: &'a VmSummary,
    snapshot: &'a SnapshotName,
    /// What is said when it is done.
    what: String,
    dry_run: bool,
}

impl Deed<'_> {
    /// Shows the plan, or carries it out.
    async fn carry_out(self, plan: Plan, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
        if self.dry_run {
            return printer.show(&PlanView::of(&plan));
        }
        let done = session.carry_out(self.connection, plan).await?;
        printer.show(&Done {
            vm: self.vm.name.as_str().to_owned(),
            id: self.vm.id,
            snapshot: self.snapshot.clone(),
            done: DoneForm::of(&done),
            what: self.what,
        })
    }
}

/// What became of a snapshot.
#[derive(Serialize)]
struct Done {
    vm: String,
    id: VmId,
    snapshot: SnapshotName,
    #[serde(flatten)]
    done: DoneForm,
    #[serde(skip)]
    what: String,
}

impl Outcome for Done {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&self.what, page);
    }
}
