//! One limit of bandwidth over all that is sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvm_core::{Bytes, Clock};
use tokio::time::Instant;

/// How far ahead of the limit a burst may be.
const BURST: Duration = Duration::from_millis(100);

/// Keeps what is sent within a limit. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Bytes per second.
    rate: Option<u64>,
    /// When what was sent so far has had its time.
    due: Arc<Mutex<Option<Instant>>>,
}

impl Pace {
    pub(super) fn new(limit: Option<Bytes>) -> Self {
        Self { rate: limit.map(|rate| rate.get().max(1)), due: Arc::default() }
    }

    /// Waits until so much more may be sent.
    pub(super) async fn wait(&self, bytes: u64, clock: &dyn Clock) {
        let Some(rate) = self.rate else { return };
        let now = Instant::now();
        let time = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let due = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let due = due.get_or_insert(now);
            // Time in which nothing was sent is not saved up.
            *due = (*due).max(now) + time;
            *due
        };
        let ahead = due.saturating_duration_since(now);
        if ahead > BURST {
            clock.sleep(ahead - BURST).await;
        }
    }
}
