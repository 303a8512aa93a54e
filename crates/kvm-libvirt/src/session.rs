//! One open connection, with the callbacks registered on it.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use kvm_core::Capabilities;
use virt::connect::Connect;

use crate::config::{Address, Keepalive};
use crate::error::LibvirtError;
use crate::ffi::close;
use crate::ffi::domain_event::Registrations;
use crate::hub::Hub;
use crate::pool::Pool;

/// An open connection. Opening, using and dropping it talk to the host: all three happen on a pool's threads.
pub(crate) struct Session {
    connection: Connect,
    signals: Arc<Signals>,
    events: Mutex<Registrations>,
    pub(crate) capabilities: OnceLock<Capabilities>,
}

/// A share of a connection. The last one leaves its closing, which blocks, to the threads.
#[derive(Clone)]
pub(crate) struct SessionRef {
    /// `None` only while it is dropped.
    session: Option<Arc<Session>>,
    pool: Pool,
}

/// What is known of a connection without asking libvirt; shared with callbacks, which may outlive a call.
pub(crate) struct Signals {
    /// Whether new calls may use the connection.
    usable: AtomicBool,
    /// Who is told when its connection is lost; only for the connection that carries the events.
    hub: Option<Arc<Hub>>,
    /// Open streams, which end with the connection.
    streams: Mutex<Vec<Weak<dyn OnClosed>>>,
    /// A connection whose state dies with it is never replaced, so it is never retired.
    replaceable: bool,
}

/// Something that ends when its connection is closed.
pub(crate) trait OnClosed: Send + Sync {
    /// The connection is gone. Called on the event loop's thread.
    fn closed(&self);
}

impl SessionRef {
    pub(crate) fn new(session: Session, pool: Pool) -> Self {
        Self { session: Some(Arc::new(session)), pool }
    }

    /// Drops a value on one of the connection's threads, because dropping it talks to the host.
    pub(crate) fn discard<T: Send + 'static>(&self, value: T) {
        self.pool.discard(value);
    }
}

impl Deref for SessionRef {
    type Target = Session;

    fn deref(&self) -> &Session {
        // Taken by `drop` alone, after which nobody can ask.
        self.session.as_deref().unwrap_or_else(|| unreachable!("a session is there until it is dropped"))
    }
}

impl Drop for SessionRef {
    fn drop(&mut self) {
        if let Some(session) = self.session.take().and_then(Arc::into_inner) {
            self.pool.discard(session);
        }
    }
}

impl Session {
    /// Opens a connection. With a hub that somebody listens to, its event callbacks are registered at once.
    pub(crate) fn open(address: &Address, keepalive: Keepalive, hub: Option<Arc<Hub>>) -> Result<Self, LibvirtError> {
        let connection = Connect::open(Some(address.uri()))?;
        let signals = Arc::new(Signals {
            usable: AtomicBool::new(true),
            hub,
            streams: Mutex::default(),
            replaceable: !address.dies_with_connection(),
        });
        let session = Self { connection, signals, events: Mutex::default(), capabilities: OnceLock::new() };
        if session.signals.replaceable {
            let interval = i32::try_from(keepalive.interval.as_secs()).unwrap_or(i32::MAX);
            session.connection.set_keep_alive(interval, keepalive.count)?;
            let signals = Arc::clone(&session.signals);
            close::register(&session.connection, Arc::new(move |reason| signals.closed(reason)))?;
        }
        if let Some(hub) = &session.signals.hub
            && hub.has_subscribers()
        {
            session.watch()?;
        }
        Ok(session)
    }

    /// Registers the event callbacks unless they are.
    pub(crate) fn watch(&self) -> Result<(), LibvirtError> {
        let Some(hub) = &self.signals.hub else { return Ok(()) };
        let mut registered = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if registered.is_empty() {
            let hub = Arc::clone(hub);
            let signals = Arc::clone(&self.signals);
            // A connection that was replaced may still hear what its successor hears too.
            let sink = Arc::new(move |event| {
                if signals.is_usable() {
                    hub.deliver(event)
                }
            });
            *registered = Registrations::register(&self.connection, &(sink as _))?;
        }
        Ok(())
    }

    /// The handle.
    pub(crate) fn connection(&self) -> &Connect {
        &self.connection
    }

    /// Looks whether the connection is gone, and retires it then. Asks nothing of the host.
    pub(crate) fn is_lost(&self) -> bool {
        let lost = self.signals.replaceable && matches!(self.connection.is_alive(), Ok(false));
        if lost {
            self.signals.retire();
        }
        lost
    }

    /// What is shared with callbacks.
    pub(crate) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Each registration holds a reference to the connection, which would never be closed.
        self.events.get_mut().unwrap_or_else(PoisonError::into_inner).cancel(&self.connection);
        if self.signals.replaceable {
            close::unregister(&self.connection);
        }
    }
}

impl Signals {
    /// Whether new calls may use the connection.
    pub(crate) fn is_usable(&self) -> bool {
        self.usable.load(Ordering::Acquire)
    }

    /// Keeps new calls off the connection, so that the next one opens another.
    pub(crate) fn retire(&self) {
        if self.replaceable
            && self.usable.swap(false, Ordering::AcqRel)
            && let Some(hub) = &self.hub
        {
            hub.lost();
        }
    }

    /// Has a stream told when the connection is gone.
    pub(crate) fn tell_when_closed(&self, stream: Weak<dyn OnClosed>) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(stream);
    }

    fn closed(&self, reason: close::Reason) {
        tracing::info!(?reason, "the connection is gone");
        self.retire();
        let streams = std::mem::take(&mut *self.streams.lock().unwrap_or_else(PoisonError::into_inner));
        streams.iter().filter_map(Weak::upgrade).for_each(|stream| stream.closed());
    }
}
