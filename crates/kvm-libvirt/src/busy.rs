//! Whether any thread of this crate talks to a host.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ffi::event_loop;

static WORK: Mutex<usize> = Mutex::new(0);
static LESS: Condvar = Condvar::new();

/// Waits until no call is under way and every connection that was dropped is closed, but at most `limit`. Gives whether
/// that is so; a host that hangs never lets it be.
///
/// For a program that is about to end: what libvirt stands on takes itself apart when a process exits, and a thread that
/// still closes its connection then crashes it.
pub fn settle(limit: Duration) -> bool {
    let begin = Instant::now();
    let work = WORK.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = LESS.wait_timeout_while(work, limit, |work| *work > 0);
    let (work, _) = waited.unwrap_or_else(PoisonError::into_inner);
    *work == 0 && event_loop::flush(limit.saturating_sub(begin.elapsed()))
}

/// Work that is queued or runs, until it is dropped.
pub(crate) struct Busy(());

impl Busy {
    pub(crate) fn begin() -> Self {
        *WORK.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *WORK.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        LESS.notify_all();
    }
}
