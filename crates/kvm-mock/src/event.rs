//! Events as a stream.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use kvm_core::{Clock, Event, EventStream};
use tokio::sync::watch;

use crate::mock::Inner;

/// How often a subscriber looks for what other processes did to a world that is kept in a file.
const LOOK_AT_FILE: Duration = Duration::from_millis(250);

/// A subscription. It does not keep the world alive: the stream ends with the last handle.
struct Subscription {
    world: Weak<Inner>,
    clock: Arc<dyn Clock>,
    changed: watch::Receiver<u64>,
    /// The number of the first event that has not been fetched.
    next: u64,
    fetched: VecDeque<Event>,
}

/// Every event from number `next` on.
pub(crate) fn subscribe(inner: &Arc<Inner>, next: u64) -> EventStream {
    let subscription = Subscription {
        world: Arc::downgrade(inner),
        clock: inner.clock(),
        changed: inner.changes(),
        next,
        fetched: VecDeque::new(),
    };
    // Fused: asking again after the end is no mistake.
    Box::pin(stream::unfold(subscription, |mut s| async move { s.next().await.map(|event| (event, s)) }).fuse())
}

impl Subscription {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.fetched.pop_front() {
                return Some(event);
            }
            // Marked as seen before looking: what changes after the look wakes the wait below.
            self.changed.mark_unchanged();
            let wait = {
                let inner = self.world.upgrade()?;
                let look = inner.look(self.next);
                self.fetched.extend(look.events);
                self.next = look.end;
                let file = inner.is_shared().then_some(LOOK_AT_FILE);
                look.next_due.into_iter().chain(file).min()
            };
            if !self.fetched.is_empty() {
                continue;
            }
            let due = async {
                match wait {
                    Some(wait) => self.clock.sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                () = due => {}
            }
        }
    }
}
