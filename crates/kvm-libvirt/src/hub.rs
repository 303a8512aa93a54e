//! Hands events to whoever subscribed, each at its own pace.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use kvm_core::Event;
use tokio::sync::Notify;

use crate::event::translate;
use crate::ffi::domain_event::DomainEvent;

/// How many events wait for a subscriber before the oldest are dropped.
const CAPACITY: usize = 4096;

/// The subscribers of one backend.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    /// Something happened that whoever keeps the connection up has to look at.
    disturbed: Notify,
}

#[derive(Default)]
struct State {
    subscribers: Vec<Arc<Queue>>,
    /// The loss of the connection was told, its return was not.
    is_lost: bool,
    /// Somebody keeps the connection up.
    is_kept: bool,
    is_closed: bool,
}

impl Hub {
    /// Adds a subscriber. `true` says that nobody keeps the connection up yet, and that the caller must now.
    pub(crate) fn subscribe(self: &Arc<Self>) -> (Subscription, bool) {
        let queue = Arc::new(Queue::default());
        let mut state = self.lock();
        state.subscribers.push(Arc::clone(&queue));
        let must_keep = !std::mem::replace(&mut state.is_kept, true);
        (Subscription { queue, hub: Arc::clone(self) }, must_keep)
    }

    /// Whether anybody listens.
    pub(crate) fn has_subscribers(&self) -> bool {
        !self.lock().subscribers.is_empty()
    }

    /// Hands on what a callback brought.
    pub(crate) fn deliver(&self, event: DomainEvent) {
        if let Some(event) = translate(event) {
            self.lock().publish(&event);
        }
    }

    /// Says once that the connection is lost.
    pub(crate) fn lost(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.is_lost, true) {
            state.publish(&Event::Disconnected);
        }
        drop(state);
        self.disturbed.notify_one();
    }

    /// Says, after a loss, that the connection stands again.
    pub(crate) fn regained(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_lost) {
            state.publish(&Event::Resynced);
        }
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        for queue in state.subscribers.drain(..) {
            queue.close();
        }
        drop(state);
        self.disturbed.notify_one();
    }

    /// Whether the connection still has to be kept up; when not, whoever kept it is dismissed.
    pub(crate) fn keep_on(&self) -> bool {
        let mut state = self.lock();
        state.is_kept = !state.is_closed && !state.subscribers.is_empty();
        state.is_kept
    }

    /// Waits until [`keep_on`](Self::keep_on) or the connection needs a look.
    pub(crate) async fn disturbed(&self) {
        self.disturbed.notified().await;
    }

    fn unsubscribe(&self, queue: &Arc<Queue>) {
        self.lock().subscribers.retain(|subscriber| !Arc::ptr_eq(subscriber, queue));
        self.disturbed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn publish(&self, event: &Event) {
        for queue in &self.subscribers {
            queue.push(event.clone());
        }
    }
}

/// One subscriber's events. It ends when the backend is dropped.
pub(crate) struct Subscription {
    queue: Arc<Queue>,
    hub: Arc<Hub>,
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.queue);
    }
}

/// Events that wait for one subscriber.
#[derive(Default)]
struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    missed: u64,
    waker: Option<Waker>,
    is_closed: bool,
}

impl Queue {
    fn push(&self, event: Event) {
        let mut waiting = self.lock();
        if waiting.events.len() >= CAPACITY {
            waiting.events.pop_front();
            waiting.missed += 1;
        }
        waiting.events.push_back(event);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut waiting = self.lock();
        // What was dropped is older than all that waits.
        if waiting.missed > 0 {
            return Poll::Ready(Some(Event::Lagged { missed: std::mem::take(&mut waiting.missed) }));
        }
        match waiting.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if waiting.is_closed => Poll::Ready(None),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(subscription: &mut Subscription) -> Poll<Option<Event>> {
        Pin::new(subscription).poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_loss_is_told_once_and_so_is_the_return() {
        let hub = Arc::new(Hub::default());
        let (mut subscription, _) = hub.subscribe();
        hub.regained();
        hub.lost();
        hub.lost();
        hub.regained();
        hub.regained();
        assert_eq!(next(&mut subscription), Poll::Ready(Some(Event::Disconnected)));
        assert_eq!(next(&mut subscription), Poll::Ready(Some(Event::Resynced)));
        assert_eq!(next(&mut subscription), Poll::Pending);
    }

    #[test]
    fn a_slow_subscriber_learns_how_much_it_missed_before_what_is_left() {
        let hub = Arc::new(Hub::default());
        let (mut subscription, _) = hub.subscribe();
        for _ in 0..CAPACITY / 2 + 2 {
            hub.lost();
            hub.regained();
        }
        assert_eq!(next(&mut subscription), Poll::Ready(Some(Event::Lagged { missed: 4 })));
        assert_eq!(next(&mut subscription), Poll::Ready(Some(Event::Disconnected)));
    }

    #[test]
    fn closing_gives_what_waits_and_then_ends() {
        let hub = Arc::new(Hub::default());
        let (mut subscription, _) = hub.subscribe();
        hub.lost();
        hub.close();
        assert_eq!(next(&mut subscription), Poll::Ready(Some(Event::Disconnected)));
        assert_eq!(next(&mut subscription), Poll::Ready(None));
    }

    #[test]
    fn the_connection_is_kept_up_by_one_as_long_as_anybody_listens() {
        let hub = Arc::new(Hub::default());
        let (first, must_keep) = hub.subscribe();
        assert!(must_keep && hub.keep_on());
        let (second, must_keep_too) = hub.subscribe();
        assert!(!must_keep_too);
        drop(first);
        assert!(hub.keep_on());
        drop(second);
        assert!(!hub.keep_on());
        assert!(hub.subscribe().1);
    }
}
