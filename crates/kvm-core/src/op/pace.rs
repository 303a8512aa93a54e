//! One limit of bandwidth over all that an operation sends.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Bytes, Clock};

/// How far ahead of the limit a burst may be.
const BURST: Duration = Duration::from_millis(100);

/// Keeps what several senders send at the same time within one limit.
#[derive(Debug, Default)]
pub struct Pace {
    /// When what was sent so far has had its time.
    due: Mutex<Option<Instant>>,
}

impl Pace {
    /// Waits until so much more may be sent, at most so many bytes per second over all who wait here; not at all without a
    /// limit. What is waited for counts as sent, also where the wait is given up.
    pub async fn wait(&self, limit: Option<Bytes>, bytes: u64, clock: &dyn Clock) {
        let Some(limit) = limit else { return };
        let now = Instant::now();
        let time = Duration::from_secs_f64(bytes as f64 / limit.get().max(1) as f64);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    const LIMIT: Option<Bytes> = Some(Bytes::from_mib(1));

    async fn send(pace: &Pace, blocks: u64) {
        for _ in 0..blocks {
            pace.wait(LIMIT, 64 << 10, &SystemClock).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn several_senders_keep_one_limit_together() {
        let (pace, begun) = (Pace::default(), Instant::now());
        // Of one MiB per second 16 blocks each take a second; three at a time take three.
        tokio::join!(send(&pace, 16), send(&pace, 16), send(&pace, 16));
        let took = begun.elapsed();
        let expected = Duration::from_secs(3) - BURST;
        assert!(took >= expected && took < expected + Duration::from_millis(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nothing_was_sent_is_not_saved_up() {
        let (pace, begun) = (Pace::default(), Instant::now());
        SystemClock.sleep(Duration::from_secs(60)).await;
        send(&pace, 32).await;
        assert!(begun.elapsed() >= Duration::from_secs(62) - BURST, "{:?}", begun.elapsed());
        pace.wait(None, u64::MAX, &SystemClock).await;
    }
}
