//! `kvmctl op`: operations, running, finished and interrupted.

use clap::Subcommand;
use kvm_core::op::{OpId, OpStatus, OpView, StepState, Store as _};
use kvm_core::{Error, ErrorKind, Resource, Result, VmId};
use serde::Serialize;

use crate::operation::DoneForm;
use crate::printer::{Outcome, Page, Printer};
use crate::session::{Connection, Done, Session};

mod cancel;
mod follow;
mod list;
mod resume;
mod show;
mod undo;

/// Verbs for operations.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl op list
  kvmctl op show 7f3a1b2c
  kvmctl op undo 7f3a1b2c")]
pub enum Command {
    /// List operations, those that need somebody first.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show what an operation did, step by step.
    Show(show::Args),
    /// Watch a running operation until it ends.
    Follow(follow::Args),
    /// Do the rest of an operation that was interrupted.
    Resume(resume::Args),
    /// Take back what an interrupted operation did.
    Undo(undo::Args),
    /// Ask a running operation to stop and take back what it did.
    Cancel(cancel::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::List(args) => printer.show(&list::run(args, session).await?),
        Command::Show(args) => show(&args.operation(), session, printer).await,
        Command::Follow(args) => follow::run(args.operation(), session, printer).await,
        Command::Resume(args) => printer.show(&resume::run(args, session).await?),
        Command::Undo(args) => printer.show(&undo::run(args, session).await?),
        Command::Cancel(args) => printer.show(&cancel::run(args, session).await?),
    }
}

/// Shows an operation, step by step.
pub(crate) async fn show(id: &OpId, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    printer.show(&show::run(id, session).await?)
}

/// Watches an operation until it ends. The error is that of the operation.
pub(crate) async fn follow(id: OpId, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    follow::run(id, session, printer).await
}

/// Lists the operations that are wanted: those that are open, and the latest of those that ended, unless `None` of them.
pub(crate) async fn overview(
    ended: Option<usize>,
    wanted: impl Fn(&OpView) -> bool,
    session: &Session,
    printer: &mut Printer,
) -> Result<Option<ErrorKind>> {
    printer.show(&list::List::of(list::rows(ended, wanted, session).await?))
}

/// One operation.
#[derive(Clone, Debug, clap::Args)]
struct One {
    /// Eight hexadecimal digits.
    #[arg(value_name = "OPERATION")]
    operation: OpId,
}

/// An operation that was finished one way or the other.
#[derive(Debug, Serialize)]
struct Finished {
    title: String,
    #[serde(flatten)]
    done: DoneForm,
}

impl Finished {
    fn new(title: String, done: &Done) -> Self {
        Self { title, done: DoneForm::of(done) }
    }
}

impl Outcome for Finished {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("{}: {}", self.title, self.done.status_word()), page);
    }
}

/// How a step stands, in words.
fn word(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "not begun",
        StepState::Unknown => "begun",
        StepState::Done => "done",
        StepState::Skipped => "was so",
        StepState::Failed => "failed",
        StepState::Undone => "undone",
    }
}

/// What can still be finished or cancelled. `InvalidState` for an operation that ended.
async fn open(session: &Session, id: &OpId) -> Result<OpView> {
    let view = session.store()?.view(id).await?;
    match view.status.is_open() {
        true => Ok(view),
        false => {
            let error =
                Error::new(ErrorKind::InvalidState, format!("operation {id} is {} already", view.status.as_str()));
            Err(error.on(Resource::Operation(id.to_string())))
        }
    }
}

/// Prints what a reading verb found, and before it, in one line each, which operations on the host were interrupted.
pub(crate) async fn answer(
    outcome: &impl Outcome,
    session: &Session,
    printer: &mut Printer,
) -> Result<Option<ErrorKind>> {
    // No error of its own: the answer that the user asked for matters more.
    if let Ok(connection) = session.host().await {
        for view in interrupted(session, &connection).await.unwrap_or_default() {
            let (id, title) = (&view.header.id, kvm_core::text::printable(&view.header.title));
            let way = if view.is_committed() { "op resume" } else { "op resume|undo" };
            printer.note(&format!("operation {id} ({title}) was interrupted: kvmctl {way} {id}"));
        }
    }
    printer.show(outcome)
}

/// Refuses a new VM of a name that an interrupted operation is about: what that one made is in the way, and taking it
/// back later would take it from the new VM.
///
/// `InvalidState`. Not for the operation on the VM with the uuid `own`, which is finished by the next one on that VM.
pub(crate) async fn refuse_interrupted(
    session: &Session,
    connection: &Connection,
    name: &str,
    own: Option<VmId>,
) -> Result<()> {
    let is_about = |view: &OpView| {
        let header = &view.header;
        header.lines.iter().any(|line| line.kind == "domain" && line.name == name)
            && !header.locks.iter().any(|lock| Some(lock.vm) == own)
    };
    let Some(view) = interrupted(session, connection).await?.into_iter().find(is_about) else { return Ok(()) };
    let id = &view.header.id;
    let verb = view.header.kind.rsplit('.').next().unwrap_or_default();
    let message = format!("an earlier {verb} of {} was interrupted (operation {id})", kvm_core::text::printable(name));
    let error = Error::new(ErrorKind::InvalidState, message).on(Resource::Operation(id.to_string()));
    Err(error.during(if view.is_committed() { "finish" } else { "finish-or-undo" }))
}

/// The operations on a host whose process ended before they did.
async fn interrupted(session: &Session, connection: &Connection) -> Result<Vec<OpView>> {
    let Some(store) = session.existing_store()? else { return Ok(vec![]) };
    let mut views = store.unfinished().await?;
    let target = connection.target.to_string();
    views.retain(|view| view.status != OpStatus::Running && view.header.target == target);
    Ok(views)
}
