//! Carries plans out, step by step, with a journal entry before and after each.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::journal::VERSION;
use super::{
    Catalogue, Entry, Header, LockGuard, LockKey, OpId, OpStatus, OpView, Owner, Plan, Record, StepRecord, Store,
};
use crate::{Clock, Entropy, Error, ErrorKind, Host, Reporter, Resource, Result, SystemClock, SystemEntropy};

mod run;

use run::{Book, Run};

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
