//! One connection at a time, opened when it is needed, with the threads that use it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvm_core::{Error, ErrorKind, Resource, Result};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::{Address, Config};
use crate::connect::ConnectFailure;
use crate::hub::Hub;
use crate::pool::{GivenUp, Pool, Refused, Ticket};
use crate::session::{Session, SessionRef, Signals};
use crate::task::{Failure, Subject, Task};

/// An attempt to connect that took so long to go wrong is not made again at once: for as long as it took, whoever asks is
/// told the same. Else each call to a host that is cut off would wait for all of it anew.
const SLOW: Duration = Duration::from_secs(3);

/// An attempt to connect that went wrong.
struct Missed {
    ended: Instant,
    took: Duration,
    /// `None` when no answer came.
    why: Option<ConnectFailure>,
}

impl Missed {
    /// Whether this is also the answer to somebody who has waited since then.
    fn answers(&self, waiting_since: Instant) -> bool {
        self.ended >= waiting_since || (self.took >= SLOW && self.ended.elapsed() < self.took)
    }
}

/// A connection that is opened again when it is lost, and its threads.
pub(crate) struct Lane {
    address: Arc<Address>,
    config: Config,
    pool: Pool,
    /// Told of losses and returns; only on the lane that carries the events.
    hub: Option<Arc<Hub>>,
    current: Mutex<Option<SessionRef>>,
    /// Held by whoever opens a connection, with the last attempt that went wrong.
    opening: tokio::sync::Mutex<Option<Missed>>,
}

impl Lane {
    /// A lane that is not connected yet.
    pub(crate) fn new(name: &'static str, address: Arc<Address>, config: Config, hub: Option<Arc<Hub>>) -> Self {
        Self {
            address,
            config,
            pool: Pool::new(name, config.workers),
            hub,
            current: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Runs a call on one of the lane's threads and waits for its answer, until the deadline.
    ///
    /// Dropping the future leaves the call to itself; its thread and connection are written off at the same deadline.
    pub(crate) async fn call<T, F>(&self, subject: Subject, limit: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Task<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let deadline = Instant::now() + limit;
        let verb = subject.verb;
        let session = self.session(deadline).await.map_err(|e| e.during(verb))?;
        self.call_by(deadline, limit, session, subject, work).await
    }

    /// Runs a call on a connection that it needs: one that an open stream belongs to, whatever has become of it.
    pub(crate) async fn call_on<T, F>(
        &self,
        session: &SessionRef,
        subject: Subject,
        limit: Duration,
        work: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Task<'_>) -> Result<T, Failure> + Send + 'static,
    {
        self.call_by(Instant::now() + limit, limit, session.clone(), subject, work).await
    }

    async fn call_by<T, F>(
        &self,
        deadline: Instant,
        limit: Duration,
        session: SessionRef,
        subject: Subject,
        work: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Task<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let verb = subject.verb;
        let signals = Arc::clone(session.signals());
        let address = Arc::clone(&self.address);
        let resource = subject.resource.clone();
        self.run(deadline, limit, Some(signals), move || {
            let task = Task::new(&session, &address, subject);
            work(&task).map_err(|failure| task.explain(failure))
        })
        .await
        .and_then(|answer| answer)
        .map_err(|e| e.during(verb).on(resource))
    }

    /// The present connection; opens one when there is none that can be used.
    pub(crate) async fn session(&self, deadline: Instant) -> Result<SessionRef> {
        if let Some(session) = self.usable() {
            return Ok(session);
        }
        let waiting_since = Instant::now();
        let Ok(mut last) = timeout_at(deadline, self.opening.lock()).await else {
            return Err(self.no_answer(deadline - waiting_since));
        };
        if let Some(session) = self.usable() {
            return Ok(session);
        }
        // Whoever waited while an attempt went wrong takes its outcome, rather than try one after another.
        if let Some(missed) = last.as_ref().filter(|missed| missed.answers(waiting_since)) {
            return Err(match &missed.why {
                Some(failure) => failure.to_error(),
                None => self.no_answer(missed.took),
            });
        }
        let begun = Instant::now();
        let missed = |why| Some(Missed { ended: Instant::now(), took: begun.elapsed(), why });
        match self.open(deadline).await {
            Ok(Ok(session)) => {
                *last = None;
                Ok(session)
            }
            Ok(Err(failure)) => {
                let error = failure.to_error();
                *last = missed(Some(failure));
                Err(error)
            }
            Err(error) => {
                if error.kind() == ErrorKind::Timeout {
                    *last = missed(None);
                }
                Err(error)
            }
        }
    }

    async fn open(&self, deadline: Instant) -> Result<Result<SessionRef, ConnectFailure>> {
        let limit = self.config.connect_deadline;
        let deadline = deadline.min(Instant::now() + limit);
        let (address, keepalive, hub) = (Arc::clone(&self.address), self.config.keepalive, self.hub.clone());
        let pool = self.pool.clone();
        let opened = self
            .run(deadline, limit, None, move || match Session::open(&address, keepalive, hub) {
                Ok(session) => Ok(SessionRef::new(session, pool)),
                Err(e) => Err(ConnectFailure::new(&address, e)),
            })
            .await?;
        if let Ok(session) = &opened {
            // Not dropped under the lock.
            let _previous = self.lock().replace(session.clone());
            if let Some(hub) = &self.hub {
                hub.regained();
            }
        }
        Ok(opened)
    }

    /// Runs anything on one of the threads.
    async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        limit: Duration,
        uses: Option<Arc<Signals>>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, mut answered) = oneshot::channel();
        let ticket = self
            .pool
            .submit(Box::new(move || {
                // Nobody may be there any longer to take it.
                let _ = answer.send(work());
            }))
            .map_err(|e| self.refused(e))?;
        let mut wait = Wait { pool: &self.pool, ticket: Some(ticket), uses, deadline };
        match timeout_at(deadline, &mut answered).await {
            Ok(Ok(answer)) => {
                wait.ticket = None;
                Ok(answer)
            }
            Ok(Err(_)) => Err(Error::internal("a call to libvirt panicked")),
            Err(_) => {
                // It may have come in the last moment.
                if let Ok(answer) = answered.try_recv() {
                    wait.ticket = None;
                    return Ok(answer);
                }
                match wait.give_up() {
                    GivenUp::NotStarted => Err(self.no_answer(limit).with_detail("too many calls were waiting")),
                    GivenUp::Running | GivenUp::Ended => Err(self.no_answer(limit)),
                }
            }
        }
    }

    fn usable(&self) -> Option<SessionRef> {
        self.lock().clone().filter(|session| session.signals().is_usable())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<SessionRef>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_answer(&self, limit: Duration) -> Error {
        let host = self.address.canonical();
        Error::new(ErrorKind::Timeout, format!("no answer from {host} within {} s", limit.as_secs_f32().ceil()))
            .on(Resource::Host(host.into()))
    }

    fn refused(&self, e: Refused) -> Error {
        let host = self.address.canonical();
        let message = match e {
            Refused::Stuck(_) => format!("{host} does not answer"),
            Refused::Thread(_) => "this process can start no more threads".into(),
        };
        Error::new(ErrorKind::Unavailable, message).on(Resource::Host(host.into())).with_source(e)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        drop(self.lock().take());
        self.pool.retire();
    }
}

/// Somebody who waits for an answer. When the future is dropped, the deadline still holds.
struct Wait<'a> {
    pool: &'a Pool,
    /// `None` once it was answered or given up.
    ticket: Option<Arc<Ticket>>,
    uses: Option<Arc<Signals>>,
    deadline: Instant,
}

impl Wait<'_> {
    fn give_up(&mut self) -> GivenUp {
        match self.ticket.take() {
            Some(ticket) => give_up(self.pool, &ticket, self.uses.as_deref()),
            None => GivenUp::Ended,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let (pool, uses, deadline) = (self.pool.clone(), self.uses.take(), self.deadline);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                sleep_until(deadline).await;
                give_up(&pool, &ticket, uses.as_deref());
            })),
            // The runtime is going down, and all its waiting with it.
            Err(_) => drop(give_up(&pool, &ticket, uses.as_deref())),
        }
    }
}

/// Writes off a call that takes too long, and the connection that it may have blocked.
fn give_up(pool: &Pool, ticket: &Ticket, uses: Option<&Signals>) -> GivenUp {
    let outcome = pool.give_up(ticket);
    if outcome == GivenUp::Running
        && let Some(signals) = uses
    {
        signals.retire();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use kvm_core::{ConnectOptions, Target};

    use super::*;
    use crate::ffi::event_loop;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    /// A lane with one thread on libvirt's test driver.
    fn lane() -> Lane {
        event_loop::ensure_started().unwrap();
        let target = Target::parse("test:///default").unwrap();
        let address = Address::new(&target, &ConnectOptions::default()).unwrap();
        Lane::new("test-lane", Arc::new(address), Config { workers: 1, ..Config::default() }, None)
    }

    fn subject() -> Subject {
        Subject::new("test", Resource::Host("test".into()))
    }

    /// A call that comes back when the sender is dropped.
    fn hanging() -> (mpsc::Sender<()>, impl FnOnce(&Task<'_>) -> Result<(), Failure> + Send + 'static) {
        let (release, held) = mpsc::channel();
        let work = move |_: &Task<'_>| {
            let _ = held.recv();
            Ok(())
        };
        (release, work)
    }

    async fn next_call(lane: &Lane) -> Result<String> {
        lane.call(subject(), LONG, |task| Ok(task.connection().uri()?)).await
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_a_timeout_and_the_next_one_is_answered() {
        let lane = lane();
        let (release, work) = hanging();
        let e = lane.call(subject(), SHORT, work).await.unwrap_err();
        assert_eq!((e.kind(), e.operation()), (ErrorKind::Timeout, Some("test")));
        // One thread is lost, which is the limit of this lane, until the call comes back.
        assert_eq!(next_call(&lane).await.unwrap_err().kind(), ErrorKind::Unavailable);
        drop(release);
        while lane.pool.lost() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(next_call(&lane).await.unwrap(), "test:///default");
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_is_written_off_at_its_deadline() {
        let lane = lane();
        next_call(&lane).await.unwrap();
        let (_release, work) = hanging();
        // Dropped as soon as it has begun to wait.
        let waited = tokio::time::timeout(Duration::ZERO, lane.call(subject(), SHORT, work)).await;
        assert!(waited.is_err());
        let until = Instant::now() + LONG;
        while lane.pool.lost() == 0 {
            assert!(Instant::now() < until, "the thread was never written off");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_call_behind_one_that_hangs_never_runs_after_its_deadline() {
        let lane = lane();
        let (release, work) = hanging();
        let (ran, runs) = mpsc::channel();
        let late = move |_: &Task<'_>| {
            let _ = ran.send(());
            Ok(())
        };
        let first = lane.call(subject(), LONG, work);
        let second = async {
            let second = lane.call(subject(), SHORT, late).await;
            drop(release);
            second
        };
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_ok());
        assert_eq!(second.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(runs.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_a_bug_and_costs_nothing_else() {
        let lane = lane();
        let e = lane.call::<(), _>(subject(), LONG, |_| panic!("as a test")).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Internal);
        next_call(&lane).await.unwrap();
    }
}
