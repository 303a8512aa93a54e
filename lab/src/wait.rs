//! Waiting for what is true later, under a deadline.

use std::future::Future;
use std::time::Duration;

use kvm_core::{Clock as _, SystemClock};
use tokio::time::{Instant, timeout};

/// Between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// Looks again and again until there is something to see, and gives it with the time that it took.
///
/// # Panics
/// When there is nothing to see after `limit`; with `what`.
pub async fn eventually<T>(limit: Duration, what: &str, look: impl AsyncFnMut() -> Option<T>) -> (T, Duration) {
    let begin = Instant::now();
    let seen = within(limit, what, poll(look)).await;
    (seen, begin.elapsed())
}

async fn poll<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        moment_passes(PAUSE).await;
    }
}

/// Waits for a future.
///
/// # Panics
/// When it takes longer than `limit`; with `what`.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}

/// Lets time pass: between two looks, or to choose the moment at which something is broken.
pub async fn moment_passes(length: Duration) {
    SystemClock.sleep(length).await;
}
