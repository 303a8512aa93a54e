//! One operation under way: its steps, there and back, with a line of the journal before and after each.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::{Direction, Executor, Moment, RunContext, Verdict};
use crate::op::{
    Already, Attempt, ErrorRecord, Header, Journal, OpId, OpStatus, OpView, Pace, Probe, Record, Step, StepContext,
    StepState,
};
use crate::{Error, ErrorKind, Progress, Resource, Result, StepOutcome};

mod together;

/// How often a running operation looks whether another process asked it to cancel.
const CANCEL_POLL: Duration = Duration::from_millis(250);

/// Why a run left its loop.
enum Halt {
    /// As an error of the step, or a request to cancel.
    Error(Error),
    /// As if the process had been killed.
    Died,
}

impl From<Error> for Halt {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

/// One operation under way.
pub(super) struct Run<'a> {
    executor: &'a Executor,
    cx: RunContext<'a>,
    id: OpId,
    steps: Vec<Box<dyn Step>>,
    /// Steps that are done at the same time write one line after the other.
    pub(super) book: Mutex<Book>,
    pace: Pace,
}

/// The journal of an operation, and what it says so far.
pub(super) struct Book {
    pub(super) view: OpView,
    pub(super) journal: Box<dyn Journal>,
}

impl<'a> Run<'a> {
    pub(super) fn new(executor: &'a Executor, cx: RunContext<'a>, steps: Vec<Box<dyn Step>>, book: Book) -> Self {
        let id = book.view.header.id.clone();
        Self { executor, cx, id, steps, book: Mutex::new(book), pace: Pace::default() }
    }

    pub(super) async fn drive(mut self, direction: Direction) -> Result<OpStatus> {
        let id = self.id.clone();
        let title = self.book.get_mut().view.header.title.clone();
        self.report(&Progress::Started { operation: id.clone(), title, steps: self.steps.len() });
        let halt = match direction {
            Direction::Forward => match self.forward_unless_cancelled().await {
                Ok(()) => return self.close(OpStatus::Succeeded, None).await,
                Err(halt) => halt,
            },
            Direction::Back => match self.back().await {
                Ok(()) => return self.close(OpStatus::Undone, None).await,
                Err(halt) => return Err(self.attention(halt).await),
            },
        };
        let error = match halt {
            Halt::Died => return Err(died()),
            Halt::Error(error) => error,
        };
        if self.book.get_mut().view.is_committed() {
            return Err(self.attention(Halt::Error(error)).await);
        }
        match self.back().await {
            Ok(()) => {
                let cancelled = error.kind() == ErrorKind::Cancelled;
                let status = if cancelled { OpStatus::Cancelled } else { OpStatus::Undone };
                self.close(status, Some((&error).into())).await?;
                Err(error.on(Resource::Operation(id.to_string())))
            }
            Err(Halt::Died) => Err(died()),
            Err(undo) => Err(self.attention(undo).await.with_source(error)),
        }
    }

    /// Leaves the operation open for a person, and says so.
    async fn attention(self, halt: Halt) -> Error {
        let Halt::Error(error) = halt else { return died() };
        let id = &self.id;
        let record = Record::Closed { status: OpStatus::NeedsAttention, error: Some((&error).into()) };
        match self.append(record).await {
            Ok(()) => error.with_note(&format!("operation {id} is not finished; it can be resumed")),
            Err(lost) => lost.with_source(error),
        }
    }

    /// Does the steps while listening for requests to cancel: from this process and from others.
    async fn forward_unless_cancelled(&self) -> Result<(), Halt> {
        let cancel = self.cx.cancel.child_token();
        let (store, id) = (Arc::clone(&self.executor.store), self.id.clone());
        let watch = {
            let cancel = cancel.clone();
            async move {
                loop {
                    tokio::time::sleep(CANCEL_POLL).await;
                    // An unreadable directory must not end the operation; its own journal will notice.
                    if store.cancel_requested(&id).await.unwrap_or(false) {
                        cancel.cancel();
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            done = self.forward(&cancel) => done,
            () = watch => Err(Halt::Died),
        }
    }

    async fn forward(&self, cancel: &CancellationToken) -> Result<(), Halt> {
        let mut rest = 0..self.steps.len();
        while let Some(i) = rest.next() {
            let together = self.together(i).await;
            if together.len() > 1 {
                self.do_together(together.clone(), cancel).await?;
                rest.start = together.end;
                continue;
            }
            if self.is_done(i).await {
                self.report_step(i, StepOutcome::AlreadyDone);
                continue;
            }
            if cancel.is_cancelled() && !self.book().await.view.is_committed() {
                return Err(cancelled().into());
            }
            self.do_step(i, cancel).await?;
        }
        Ok(())
    }

    /// Whether the journal says that nothing is left to do of a step.
    async fn is_done(&self, i: usize) -> bool {
        matches!(self.book().await.view.steps.get(i), Some(StepState::Done | StepState::Skipped))
    }

    async fn do_step(&self, i: usize, cancel: &CancellationToken) -> Result<(), Halt> {
        // Past the point of no return a request to cancel must not leave the work half done. The step that gets there
        // is not past it: it may still give up while nothing has happened.
        let never = CancellationToken::new();
        let (is_committed, begun_before, irreversible) = {
            let book = self.book().await;
            let view = &book.view;
            (view.is_committed(), view.steps[i] == StepState::Unknown, i >= view.header.reversible)
        };
        let cancel = if is_committed { &never } else { cancel };
        let found = self.probe(i, cancel).await?;
        if found == Probe::Done && begun_before {
            self.append(Record::Done { step: i }).await?;
            self.report_step(i, StepOutcome::AlreadyDone);
            return Ok(());
        }
        if found == Probe::Done {
            return match self.steps[i].already() {
                Already::Fine => {
                    self.append(Record::Skipped { step: i }).await?;
                    self.report_step(i, StepOutcome::AlreadyDone);
                    Ok(())
                }
                Already::Conflict => {
                    let message = format!("cannot {}: it is there already", self.steps[i].title());
                    let error = Error::new(ErrorKind::AlreadyExists, message);
                    self.failed(i, &error, false).await?;
                    Err(error.into())
                }
            };
        }
        self.append(Record::Intent { step: i }).await?;
        self.report_step(i, StepOutcome::Started);
        let mut result = self.hook(Moment::Before, i).await?;
        if result.is_ok() {
            let attempt = if begun_before { Attempt::Again } else { Attempt::First };
            result = self.apply(i, cancel, attempt).await;
        }
        if result.is_ok() {
            result = match self.verdict(Moment::After, i).await {
                Verdict::Repeat => match self.probe(i, cancel).await? {
                    Probe::Pending => self.apply(i, cancel, Attempt::Again).await,
                    Probe::Done => Ok(()),
                },
                other => Self::obey(other, Moment::After, i)?,
            };
        }
        let mut maybe = true;
        if let Err(error) = &result {
            // What somebody else made in the meantime is not ours to take back.
            maybe = error.kind() != ErrorKind::AlreadyExists;
            if irreversible && maybe {
                // One that has not happened is not behind us; one whose answer was lost may simply be done.
                let seen = self.probe(i, &never).await.ok();
                maybe = seen != Some(Probe::Pending);
                let was_lost =
                    matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Cancelled);
                if seen == Some(Probe::Done) && was_lost {
                    result = Ok(());
                }
            }
        }
        match result {
            Ok(()) => {
                self.append(Record::Done { step: i }).await?;
                self.report_step(i, StepOutcome::Done);
                Ok(())
            }
            Err(error) => {
                self.failed(i, &error, maybe).await?;
                Err(error.into())
            }
        }
    }

    /// Looks which irreversible steps that were under way have not happened: the point of no return is before them.
    pub(super) async fn settle(&mut self) -> Result<()> {
        for i in self.book.get_mut().view.header.reversible..self.steps.len() {
            if self.book.get_mut().view.steps[i] == StepState::Unknown
                && self.probe(i, &CancellationToken::new()).await? == Probe::Pending
            {
                self.book.get_mut().view.steps[i] = StepState::Failed;
            }
        }
        Ok(())
    }

    /// Takes back what was done or may have been, last first. Goes on after an undo that went wrong, so that as
    /// little as possible is left, and gives the first error.
    async fn back(&self) -> Result<(), Halt> {
        let mut first = None;
        let reversible = self.book().await.view.header.reversible;
        for i in (0..self.steps.len().min(reversible)).rev() {
            let state = self.book().await.view.steps[i];
            if !matches!(state, StepState::Done | StepState::Unknown) {
                continue;
            }
            match self.undo_step(i).await {
                Ok(()) => {}
                Err(Halt::Error(error)) => {
                    first.get_or_insert(error);
                }
                Err(Halt::Died) => return Err(Halt::Died),
            }
        }
        first.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn undo_step(&self, i: usize) -> Result<(), Halt> {
        self.append(Record::UndoIntent { step: i }).await?;
        let mut result = self.hook(Moment::BeforeUndo, i).await?;
        if result.is_ok() {
            result = self.undo(i).await;
        }
        if result.is_ok() {
            result = match self.verdict(Moment::AfterUndo, i).await {
                Verdict::Repeat => self.undo(i).await,
                other => Self::obey(other, Moment::AfterUndo, i)?,
            };
        }
        match result {
            Ok(()) => {
                self.append(Record::Undone { step: i }).await?;
                self.report_step(i, StepOutcome::Undone);
                Ok(())
            }
            Err(error) => {
                self.append(Record::UndoFailed { step: i, error: (&error).into() }).await?;
                self.report_step(i, StepOutcome::Failed);
                Err(error.into())
            }
        }
    }

    async fn probe(&self, i: usize, cancel: &CancellationToken) -> Result<Probe> {
        self.steps[i].probe(&self.step_context(cancel, Attempt::Again)).await
    }

    async fn apply(&self, i: usize, cancel: &CancellationToken, attempt: Attempt) -> Result<()> {
        self.steps[i].apply(&self.step_context(cancel, attempt)).await
    }

    async fn undo(&self, i: usize) -> Result<()> {
        let never = CancellationToken::new();
        self.steps[i].undo(&self.step_context(&never, Attempt::Again)).await
    }

    fn step_context<'s>(&'s self, cancel: &'s CancellationToken, attempt: Attempt) -> StepContext<'s> {
        StepContext {
            host: self.cx.host,
            clock: &*self.executor.clock,
            reporter: self.cx.reporter,
            cancel,
            peers: self.executor.catalogue.peers(),
            attempt,
            pace: &self.pace,
        }
    }

    async fn verdict(&self, moment: Moment, i: usize) -> Verdict {
        match &self.executor.hook {
            Some(hook) => hook.at(moment, i, self.steps[i].name()).await,
            None => Verdict::Continue,
        }
    }

    async fn hook(&self, moment: Moment, i: usize) -> Result<Result<()>, Halt> {
        Self::obey(self.verdict(moment, i).await, moment, i)
    }

    fn obey(verdict: Verdict, moment: Moment, i: usize) -> Result<Result<()>, Halt> {
        match verdict {
            Verdict::Continue | Verdict::Repeat => Ok(Ok(())),
            Verdict::Fail => Ok(Err(Error::internal(format!("injected at {moment:?} of step {i}")))),
            Verdict::Die => Err(Halt::Died),
        }
    }

    async fn failed(&self, i: usize, error: &Error, maybe: bool) -> Result<()> {
        self.append(Record::Failed { step: i, error: ErrorRecord::from(error), maybe }).await?;
        self.report_step(i, StepOutcome::Failed);
        Ok(())
    }

    async fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().await
    }

    /// Writes a record, and learns from it what a reader of the journal would.
    pub(super) async fn append(&self, record: Record) -> Result<()> {
        let entry = self.executor.entry(record);
        let mut book = self.book().await;
        book.journal.append(&entry).await?;
        self.log(&book.view.header, &entry.record);
        book.view.note(&entry)
    }

    async fn close(self, status: OpStatus, error: Option<ErrorRecord>) -> Result<OpStatus> {
        self.append(Record::Closed { status, error }).await?;
        self.book.into_inner().journal.finish().await?;
        Ok(status)
    }

    fn report(&self, progress: &Progress) {
        self.cx.reporter.report(progress);
    }

    fn report_step(&self, i: usize, outcome: StepOutcome) {
        self.report(&Progress::Step { operation: self.id.clone(), step: i, title: self.steps[i].title(), outcome });
    }

    /// One line per record, with the fields of an audit trail: who, what, to which object, with what result.
    fn log(&self, header: &Header, record: &Record) {
        let (step, result) = match record {
            Record::Opened(_) | Record::TakenOver { .. } => (None, "begun"),
            Record::Intent { step } => (Some(*step), "intent"),
            Record::Done { step } => (Some(*step), "done"),
            Record::Skipped { step } => (Some(*step), "skipped"),
            Record::Failed { step, .. } => (Some(*step), "failed"),
            Record::UndoIntent { step } => (Some(*step), "undo intent"),
            Record::Undone { step } => (Some(*step), "undone"),
            Record::UndoFailed { step, .. } => (Some(*step), "undo failed"),
            Record::Closed { status, .. } => (None, status.as_str()),
        };
        let object = step.map_or(header.title.as_str(), |i| header.steps[i].title.as_str());
        tracing::info!(
            target: "kvm::audit",
            who = %self.executor.owner.user,
            operation = %header.id,
            what = %header.kind,
            step = step.map(|i| header.steps[i].name.as_str()),
            object,
            host = %header.target,
            result,
        );
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the operation was cancelled")
}

fn died() -> Error {
    Error::new(ErrorKind::Internal, "the process died here (injected)")
}
