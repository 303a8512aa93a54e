//! Many calls at once, but not too many, and none for too long.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use kvm_core::Clock;

/// Calls to one host at a time: about as many as a connection works on at once.
const AT_ONCE: usize = 8;

/// Does something for each item, a few at a time, and gives the results in the items' order.
pub(crate) async fn for_each<'a, T, R>(items: &'a [T], work: impl Fn(&'a T) -> BoxFuture<'a, R>) -> Vec<R> {
    // Futures do nothing until they are polled, so making all of them first starts none.
    let waiting: Vec<_> = items.iter().map(work).collect();
    stream::iter(waiting).buffered(AT_ONCE).collect().await
}

/// The future's result, or nothing when it takes longer than this.
pub(crate) async fn within<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = clock.sleep(limit) => None,
    }
}
