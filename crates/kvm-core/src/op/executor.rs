//! Carries plans out, step by step, with a journal entry before and after each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::journal::VERSION;
use super::{
    Already, Attempt, Catalogue, Entry, ErrorRecord, Header, Journal, LockGuard, LockKey, OpId, OpStatus, OpView,
    Owner, Pace, Plan, Probe, Record, Step, StepContext, StepRecord, StepState, Store,
};
use crate::{
    Clock, Entropy, Error, ErrorKind, Host, Progress, Reporter, Resource, Result, StepOutcome, SystemClock,
    SystemEntropy,
};

mod together;

/// How often a running operation looks whether another process asked it to cancel.
const CANCEL_POLL: Duration = Duration::from_millis(250);

/// Carries plans out.
#[derive(Clone, Debug)]
pub struct Executor {
    store: Arc<dyn Store>,
    catalogue: Catalogue,
    owner: Owner,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    hook: Option<Arc<dyn Hook>>,
}

/// What one run works with.
#[derive(Clone, Copy, Debug)]
pub struct RunContext<'a> {
    /// The host that is changed.
    pub host: &'a Host,
    /// Who hears of the progress.
    pub reporter: &'a dyn Reporter,
    /// Asks the operation to stop: before the point of no return it is undone, after it is finished.
    pub cancel: &'a CancellationToken,
}

/// How an operation ended well.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The operation.
    pub operation: OpId,
    /// `Succeeded`, or `Undone` when that was asked for.
    pub status: OpStatus,
    /// Interrupted operations on the same machine that were finished first.
    pub recovered: Vec<(OpId, OpStatus)>,
}

/// Which way an interrupted operation is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Do the rest.
    Forward,
    /// Take back what was done. Refused after the point of no return.
    Back,
}

/// Is asked around each step; makes steps fail, processes die and calls happen twice in tests.
#[async_trait]
pub trait Hook: fmt::Debug + Send + Sync {
    /// Decides what happens at this moment.
    async fn at(&self, moment: Moment, step: usize, name: &str) -> Verdict;
}

/// When a [`Hook`] is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// The intent is written, nothing has happened.
    Before,
    /// The step has happened, the journal does not know it yet.
    After,
    /// The intent to undo is written, nothing has happened.
    BeforeUndo,
    /// The undo has happened, the journal does not know it yet.
    AfterUndo,
}

/// What a [`Hook`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing special.
    Continue,
    /// The step goes wrong here.
    Fail,
    /// The process dies here: nothing more is written or done.
    Die,
    /// The call happens once more.
    Repeat,
}

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

impl Executor {
    /// An executor on the machine's own clock. `user` goes into journals and logs.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, catalogue: Catalogue, user: impl Into<String>) -> Self {
        Self {
            store,
            catalogue,
            owner: Owner { user: user.into(), pid: std::process::id() },
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            hook: None,
        }
    }

    /// The same with another clock and another source of operation ids.
    #[must_use]
    pub fn with_time(self, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, ..self }
    }

    /// The same with a hook, for tests.
    #[must_use]
    pub fn with_hook(self, hook: Arc<dyn Hook>) -> Self {
        Self { hook: Some(hook), ..self }
    }

    /// Where the journals are.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Carries a plan out.
    ///
    /// Takes the plan's locks (`Busy` when somebody has one), finishes what an interrupted operation left on the same
    /// machines, and does the steps. When one goes wrong before the point of no return everything is taken back and
    /// the step's error is given; after it the operation stays open as `NeedsAttention`.
    pub async fn run(&self, plan: Plan, cx: RunContext<'_>) -> Result<Outcome> {
        self.carry_out(plan, cx, Unreachable::Fails).await
    }

    /// Carries a plan out as [`run`](Self::run) does, also where an interrupted operation on the same machines cannot be
    /// finished because another host of it cannot be reached: that one stays open. For plans that are made for just this
    /// case, and whose steps look for themselves at what such an operation may have left.
    pub async fn run_cut_off(&self, plan: Plan, cx: RunContext<'_>) -> Result<Outcome> {
        self.carry_out(plan, cx, Unreachable::StaysOpen).await
    }

    async fn carry_out(&self, plan: Plan, cx: RunContext<'_>, unreachable: Unreachable) -> Result<Outcome> {
        let id = OpId::random(&*self.entropy);
        let _locks = self.lock_all(&plan.locks, &id).await?;
        let recovered = self.recover(&plan.locks, cx, unreachable).await?;
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            steps.push(StepRecord { name: step.name().into(), title: step.title(), data: step.to_json()? });
        }
        let header = Header {
            version: VERSION,
            id: id.clone(),
            kind: plan.kind.into(),
            title: plan.title,
            target: plan.target,
            locks: plan.locks,
            lines: plan.lines,
            steps,
            reversible: plan.reversible,
            owner: self.owner.clone(),
        };
        let first = self.entry(Record::Opened(Box::new(header)));
        let view = OpView::replay(std::slice::from_ref(&first), true)?;
        let journal = self.store.create(first).await?;
        let run = Run::new(self, cx, plan.steps, Book { view, journal });
        let status = run.drive(Direction::Forward).await?;
        Ok(Outcome { operation: id, status, recovered })
    }

    /// Finishes an interrupted operation, or one that needs attention, in the given direction.
    ///
    /// `Busy` when its owner lives, `InvalidState` when it is finished or when [`Direction::Back`] is asked for after
    /// the point of no return, `NotFound`.
    pub async fn finish(&self, id: &OpId, direction: Direction, cx: RunContext<'_>) -> Result<Outcome> {
        let locks = self.store.view(id).await?.header.locks;
        let _locks = self.lock_all(&locks, id).await?;
        let status = self.finish_locked(id, Some(direction), cx).await?;
        Ok(Outcome { operation: id.clone(), status, recovered: vec![] })
    }

    async fn lock_all(&self, keys: &[LockKey], id: &OpId) -> Result<Vec<Box<dyn LockGuard>>> {
        // In one order everywhere, so that two operations never wait for each other.
        let mut keys = keys.to_vec();
        keys.sort();
        keys.dedup();
        let mut guards = Vec::with_capacity(keys.len());
        for key in &keys {
            guards.push(self.store.lock(key, id).await?);
        }
        Ok(guards)
    }

    /// Finishes interrupted operations on machines whose locks are held.
    async fn recover(
        &self,
        locks: &[LockKey],
        cx: RunContext<'_>,
        unreachable: Unreachable,
    ) -> Result<Vec<(OpId, OpStatus)>> {
        let mut recovered = Vec::new();
        for view in self.store.unfinished().await? {
            let ours = view.header.locks.iter().any(|key| locks.contains(key));
            if ours && view.status == OpStatus::Interrupted {
                let id = view.header.id;
                match self.finish_locked(&id, None, cx).await {
                    Ok(status) => recovered.push((id, status)),
                    Err(e)
                        if unreachable == Unreachable::StaysOpen
                            && matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(recovered)
    }

    /// `None`: back before the point of no return, forward after it.
    async fn finish_locked(&self, id: &OpId, asked: Option<Direction>, cx: RunContext<'_>) -> Result<OpStatus> {
        let (view, journal) = self.store.take_over(id).await?;
        let on = || Resource::Operation(id.to_string());
        if !view.status.is_open() {
            return Err(
                Error::new(ErrorKind::InvalidState, format!("operation {id} is {}", view.status.as_str())).on(on())
            );
        }
        let mut steps = Vec::with_capacity(view.header.steps.len());
        for step in &view.header.steps {
            steps.push(self.catalogue.decode(&view.header.kind, &step.name, &step.data)?);
        }
        let mut run = Run::new(self, cx, steps, Book { view, journal });
        run.settle().await?;
        let direction = match (asked, run.book.get_mut().view.is_committed()) {
            (None, true) => Direction::Forward,
            (None, false) => Direction::Back,
            (Some(Direction::Back), true) => {
                return Err(Error::new(
                    ErrorKind::InvalidState,
                    format!("operation {id} is past its point of no return"),
                )
                .on(on())
                .with_detail("it can only be resumed"));
            }
            (Some(asked), _) => asked,
        };
        run.append(Record::TakenOver { owner: self.owner.clone() }).await?;
        run.drive(direction).await
    }

    fn entry(&self, record: Record) -> Entry {
        Entry { at: self.clock.now(), record }
    }
}

/// What becomes of an operation that needs a host which cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreachable {
    Fails,
    StaysOpen,
}

/// One operation under way.
struct Run<'a> {
    executor: &'a Executor,
    cx: RunContext<'a>,
    id: OpId,
    steps: Vec<Box<dyn Step>>,
    /// Steps that are done at the same time write one line after the other.
    book: Mutex<Book>,
    pace: Pace,
}

/// The journal of an operation, and what it says so far.
struct Book {
    view: OpView,
    journal: Box<dyn Journal>,
}

impl<'a> Run<'a> {
    fn new(executor: &'a Executor, cx: RunContext<'a>, steps: Vec<Box<dyn Step>>, book: Book) -> Self {
        let id = book.view.header.id.clone();
        Self { executor, cx, id, steps, book: Mutex::new(book), pace: Pace::default() }
    }

    async fn drive(mut self, direction: Direction) -> Result<OpStatus> {
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
    async fn settle(&mut self) -> Result<()> {
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
    async fn append(&self, record: Record) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// That it compiles is the test.
    #[test]
    fn a_server_can_spawn_what_runs_an_operation() {
        fn spawnable(_: impl Send) {}
        fn futures(executor: &Executor, plan: Plan, id: &OpId, cx: RunContext<'_>) {
            spawnable(executor.run(plan, cx));
            spawnable(executor.finish(id, Direction::Back, cx));
        }
        let _ = futures;
    }
}
