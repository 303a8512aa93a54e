//! Time and randomness as things that are passed in, so that tests decide them.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

/// The time of day, and waiting for it to pass.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Returns when this much time has passed.
    async fn sleep(&self, duration: Duration);
}

/// The machine's own clock; it sleeps on tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A source of randomness.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// A random (version 4) uuid; its last seven bytes are all random.
    fn uuid(&self) -> Uuid;
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for randomness")]
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// A repeatable sequence for tests: the same seed gives the same uuids. Not for secrets.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// Starts the sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn next(&self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn uuid(&self) -> Uuid {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_uuids_and_they_differ() {
        let (a, b) = (SeededEntropy::new(7), SeededEntropy::new(7));
        let first: Vec<_> = (0..4).map(|_| a.uuid()).collect();
        assert_eq!(first, (0..4).map(|_| b.uuid()).collect::<Vec<_>>());
        assert_ne!(first[0], first[1]);
        assert_eq!(first[0].get_version_num(), 4);
    }
}
