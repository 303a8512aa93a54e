//! Clocks that a test decides.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kvm_core::Clock;
use tokio::sync::watch;
use tokio::time::Instant;

/// A clock that stands still until it is moved.
///
/// Whoever sleeps on it wakes when it has been moved far enough.
///
/// ```
/// use std::time::Duration;
/// use kvm_core::Clock as _;
/// use kvm_mock::ManualClock;
///
/// let clock = ManualClock::new("2030-01-01T00:00:00Z".parse()?);
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now(), "2030-01-01T00:01:30Z".parse()?);
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// Stands at this time.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(watch::Sender::new(now))
    }

    /// Moves forward, at most to the end of time.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = later(*now, by));
    }

    /// Jumps, also backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.send_replace(now);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        let mut moved = self.0.subscribe();
        let until = later(self.now(), duration);
        // The sender lives in `self`, so this ends only by reaching the time.
        let _ = moved.wait_for(|now| *now >= until).await;
    }
}

/// A clock that begins at a time of the test's choice and moves with tokio's timer.
///
/// In a runtime whose time is paused (`#[tokio::test(start_paused = true)]`), time jumps to the next thing that
/// somebody waits for as soon as nobody can do anything else: hours pass at once, and always in the same way.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Timestamp,
    origin: Instant,
}

impl TokioClock {
    /// Begins now, and calls this moment `start`. Call it inside the runtime whose time it follows.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, origin: Instant::now() }
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        later(self.start, self.origin.elapsed())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// This long after; the end of time when there is no such time.
pub(crate) fn later(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// How long ago that was; zero when it is yet to come.
pub(crate) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_manual_clock_has_been_moved_far_enough() {
        let clock = std::sync::Arc::new(ManualClock::new(at("2030-01-01T00:00:00Z")));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(10)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_paused_time_passes_at_once() {
        let clock = TokioClock::starting_at(at("2030-01-01T00:00:00Z"));
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now(), at("2030-01-01T01:00:00Z"));
    }

    #[test]
    fn arithmetic_stops_at_the_end_of_time() {
        assert_eq!(later(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(later(Timestamp::UNIX_EPOCH, Duration::MAX), Timestamp::MAX);
        assert_eq!(elapsed(Timestamp::MAX, Timestamp::UNIX_EPOCH), Duration::ZERO);
    }
}
