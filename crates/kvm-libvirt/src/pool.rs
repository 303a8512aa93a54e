//! A bounded set of own threads that run blocking calls.
//!
//! libvirt's calls block and cannot be cancelled, and its last error belongs to the thread. A call that never comes
//! back keeps its thread; the pool then writes that thread off and starts another one, up to a limit.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::busy::Busy;

/// What a thread runs. It must not hold what only an asynchronous task may drop.
type Work = Box<dyn FnOnce() + Send>;

/// A handle on the threads; they end when [`Pool::retire`] was called and nothing is left to do.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    name: &'static str,
    /// Most threads that work, and most that may be written off.
    limit: usize,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Arc<Ticket>, Work)>,
    /// Threads that wait for work.
    idle: usize,
    /// Threads that work or wait, without those written off.
    threads: usize,
    /// Threads in a call that never came back.
    lost: usize,
    retired: bool,
}

/// Why work was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0} calls never came back")]
    Stuck(usize),
    #[error("no thread to be had")]
    Thread(#[source] io::Error),
}

/// What had become of work when nobody waited for it any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// It never ran and never will.
    NotStarted,
    /// It runs; its thread is written off.
    Running,
    /// It has ended.
    Ended,
}

/// Follows one piece of work.
#[derive(Debug, Default)]
pub(crate) struct Ticket(AtomicU8);

impl Ticket {
    const QUEUED: u8 = 0;
    const RUNNING: u8 = 1;
    const ENDED: u8 = 2;
    const GIVEN_UP: u8 = 3;

    fn step(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Pool {
    /// A pool without any threads yet; they start when there is work, at most `limit` of them.
    pub(crate) fn new(name: &'static str, limit: usize) -> Self {
        let limit = limit.max(1);
        Self(Arc::new(Shared { name, limit, state: Mutex::default(), wake: Condvar::new() }))
    }

    /// Queues work. Refused when too many threads were lost to calls that never came back.
    pub(crate) fn submit(&self, work: Work) -> Result<Arc<Ticket>, Refused> {
        let mut state = self.0.lock();
        if state.lost >= self.0.limit {
            return Err(Refused::Stuck(state.lost));
        }
        let ticket = Arc::new(Ticket::default());
        state.queue.push_back((Arc::clone(&ticket), counted(work)));
        if let Err(e) = self.0.staff(&mut state)
            && state.threads == 0
        {
            state.queue.retain(|(queued, _)| !Arc::ptr_eq(queued, &ticket));
            return Err(Refused::Thread(e));
        }
        Ok(ticket)
    }

    /// Drops a value on one of the threads, because dropping it talks to the host.
    pub(crate) fn discard<T: Send + 'static>(&self, value: T) {
        let mut state = self.0.lock();
        state.queue.push_back((Arc::default(), counted(Box::new(move || drop(value)))));
        if let Err(e) = self.0.staff(&mut state) {
            tracing::warn!(error = %e, pool = self.0.name, "no thread to clean up with; a later call will do it");
        }
    }

    /// Stops waiting for work.
    pub(crate) fn give_up(&self, ticket: &Ticket) -> GivenUp {
        if ticket.step(Ticket::QUEUED, Ticket::GIVEN_UP) {
            return GivenUp::NotStarted;
        }
        if !ticket.step(Ticket::RUNNING, Ticket::GIVEN_UP) {
            return GivenUp::Ended;
        }
        let mut state = self.0.lock();
        state.threads -= 1;
        state.lost += 1;
        if let Err(e) = self.0.staff(&mut state) {
            tracing::warn!(error = %e, pool = self.0.name, "no thread in place of one that was lost");
        }
        GivenUp::Running
    }

    /// Lets the threads end once nothing is left to do.
    pub(crate) fn retire(&self) {
        self.0.lock().retired = true;
        self.0.wake.notify_all();
    }
}

#[cfg(test)]
impl Pool {
    /// How many threads are written off at present.
    pub(crate) fn lost(&self) -> usize {
        self.0.lock().lost
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock; a poisoned one is as good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that somebody takes what is queued: wakes an idle thread or starts one.
    fn staff(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.queue.len() > state.idle && state.threads < self.limit {
            let shared = Arc::clone(self);
            std::thread::Builder::new().name(self.name.into()).spawn(move || shared.work())?;
            state.threads += 1;
        }
        self.wake.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some((ticket, work)) = state.queue.pop_front() {
                drop(state);
                let ended = run(self.name, &ticket, work);
                state = self.lock();
                if !ended {
                    state.lost -= 1;
                    return;
                }
            } else if state.retired {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

/// Work that counts as such until it has ended or is dropped.
fn counted(work: Work) -> Work {
    let busy = Busy::begin();
    Box::new(move || {
        work();
        // Captured last and so dropped last, also when the work never runs.
        drop(busy);
    })
}

/// Runs work that nobody gave up. `false` when its thread was written off in the meantime.
fn run(pool: &'static str, ticket: &Ticket, work: Work) -> bool {
    if !ticket.step(Ticket::QUEUED, Ticket::RUNNING) {
        // What it holds may talk to the host when it is dropped: here is the place for that.
        drop(work);
        return true;
    }
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!(pool, "a call panicked");
    }
    ticket.step(Ticket::RUNNING, Ticket::ENDED)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Work that says when it runs and then waits to be let go.
    fn hold(pool: &Pool) -> (Arc<Ticket>, mpsc::Sender<()>) {
        let (release, held) = mpsc::channel::<()>();
        let (running, runs) = mpsc::channel();
        let ticket = pool
            .submit(Box::new(move || {
                running.send(()).unwrap();
                let _ = held.recv();
            }))
            .unwrap();
        runs.recv_timeout(SOON).unwrap();
        (ticket, release)
    }

    #[test]
    fn work_that_waits_is_given_up_without_running() {
        let pool = Pool::new("test", 1);
        let (_, release) = hold(&pool);
        let (ran, runs) = mpsc::channel();
        let ticket = pool.submit(Box::new(move || ran.send(()).unwrap())).unwrap();
        assert_eq!(pool.give_up(&ticket), GivenUp::NotStarted);
        drop(release);
        // The sender goes with the work, so this cannot be a value that is merely late.
        assert_eq!(runs.recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_thread_that_hangs_is_replaced_up_to_the_limit() {
        let pool = Pool::new("test", 2);
        let held: Vec<_> = (0..2).map(|_| hold(&pool)).collect();
        for (ticket, _) in &held {
            assert_eq!(pool.give_up(ticket), GivenUp::Running);
        }
        assert!(matches!(pool.submit(Box::new(|| ())), Err(Refused::Stuck(2))));

        let (ticket, release) = held.into_iter().next().unwrap();
        drop(release);
        assert_eq!(pool.give_up(&ticket), GivenUp::Ended);
    }

    #[test]
    fn a_hanging_call_leaves_room_for_the_next_one() {
        let pool = Pool::new("test", 2);
        let (ticket, _release) = hold(&pool);
        let (_second, _release_second) = hold(&pool);
        assert_eq!(pool.give_up(&ticket), GivenUp::Running);
        hold(&pool);
    }

    #[test]
    fn a_panic_ends_the_call_and_not_the_thread() {
        let pool = Pool::new("test", 1);
        let (answer, answers) = mpsc::channel::<()>();
        pool.submit(Box::new(move || {
            let _answer = answer;
            panic!("as a test");
        }))
        .unwrap();
        assert_eq!(answers.recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Disconnected));
        hold(&pool);
        assert_eq!(pool.0.lock().threads, 1);
    }

    #[test]
    fn a_retired_pool_finishes_its_work_and_ends_its_threads() {
        let pool = Pool::new("test", 2);
        let (done, is_done) = mpsc::channel();
        let (_, release) = hold(&pool);
        pool.submit(Box::new(move || done.send(()).unwrap())).unwrap();
        pool.retire();
        drop(release);
        is_done.recv_timeout(SOON).unwrap();

        let shared = Arc::downgrade(&pool.0);
        drop(pool);
        // Each thread holds the shared state; wait for the last one to let go of it.
        let deadline = std::time::Instant::now() + SOON;
        while shared.strong_count() > 0 {
            assert!(std::time::Instant::now() < deadline, "a thread stayed");
            std::thread::yield_now();
        }
    }
}
