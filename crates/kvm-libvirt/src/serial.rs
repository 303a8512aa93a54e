//! A serial console as a byte stream.
//!
//! libvirt's event loop moves bytes between the console and two small buffers; whoever reads and writes only touches the
//! buffers. What does not fit waits: bytes to be read in libvirt's own queue, bytes to be written with their writer. No
//! byte is lost, however slow anybody is.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use virt::stream::Stream;

use crate::error::LibvirtError;
use crate::ffi::stream::{self, Events, Moved, OnReady, Watch};
use crate::session::{OnClosed, SessionRef};

/// How many bytes wait in each direction.
const CAPACITY: usize = 64 << 10;

/// An open console. Dropping it closes the console, on one of the connection's threads.
pub(crate) struct Serial {
    line: Arc<Line>,
}

/// The console's two ends. Whoever lets go last may be the event loop, so dropping it must not talk to the host: it does
/// not, because the session is let go after the stream, and leaves its own closing to other threads.
struct Line {
    stream: Stream,
    session: SessionRef,
    buffers: Mutex<Buffers>,
}

#[derive(Default)]
struct Buffers {
    incoming: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    end: Option<End>,
    /// The registration with the event loop; `None` once the console is being closed.
    watch: Option<Watch>,
    /// What the event loop waits for.
    waiting_for: Events,
}

/// How a console came to its end.
enum End {
    /// The guest stopped.
    Closed,
    /// The host ended it: somebody else took the console over.
    Broken(LibvirtError),
    /// The connection to the host is gone.
    Gone,
}

impl Serial {
    /// Takes a stream that a console was opened on.
    pub(crate) fn watch(stream: Stream, session: SessionRef) -> Result<Self, LibvirtError> {
        let line = Arc::new(Line { stream, session, buffers: Mutex::default() });
        let serial = Self { line: Arc::clone(&line) };
        let events = Events { readable: true, ..Events::default() };
        let watcher = Arc::downgrade(&line) as Weak<dyn OnReady>;
        let mut buffers = line.lock();
        buffers.watch = Some(Watch::start(line.stream.clone(), events, watcher)?);
        buffers.waiting_for = events;
        drop(buffers);
        line.session.signals().tell_when_closed(Arc::downgrade(&line) as Weak<dyn OnClosed>);
        Ok(serial)
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        let watch = self.line.lock().watch.take();
        drop(watch);
        self.line.session.discard(Abort(Arc::clone(&self.line)));
    }
}

/// Ends a console when it is dropped: tells the host, and waits for its answer.
struct Abort(Arc<Line>);

impl Drop for Abort {
    fn drop(&mut self) {
        if let Err(e) = self.0.stream.clone().abort() {
            tracing::trace!(error = %e, "the console had ended");
        }
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what has arrived, until there is no more or no room.
    fn receive(&self) {
        let mut chunk = [0; 8 << 10];
        loop {
            let room = CAPACITY.saturating_sub(self.lock().incoming.len()).min(chunk.len());
            if room == 0 {
                return;
            }
            let moved = stream::receive(&self.stream, chunk.get_mut(..room).unwrap_or_default());
            let mut buffers = self.lock();
            match moved {
                Ok(Moved::Bytes(0)) => return buffers.finish(End::Closed),
                Ok(Moved::Bytes(count)) => buffers.incoming.extend(chunk.iter().take(count)),
                Ok(Moved::WouldBlock) => return,
                Err(e) => return buffers.finish(End::Broken(e)),
            }
        }
    }

    /// Gives what is to be sent, until there is no more or nothing is taken.
    fn send(&self) {
        loop {
            // Only this thread takes from the buffer, so what is copied here is still its front below.
            let chunk: Vec<u8> = self.lock().outgoing.iter().copied().take(8 << 10).collect();
            if chunk.is_empty() {
                return;
            }
            let moved = stream::send(&self.stream, &chunk);
            let mut buffers = self.lock();
            match moved {
                Ok(Moved::Bytes(0) | Moved::WouldBlock) => return,
                Ok(Moved::Bytes(count)) => drop(buffers.outgoing.drain(..count.min(chunk.len()))),
                Err(e) => return buffers.finish(End::Broken(e)),
            }
        }
    }

    /// Has the event loop wait for what there is to do.
    fn wait(buffers: &mut Buffers) {
        let is_open = buffers.end.is_none();
        let wanted = Events {
            readable: is_open && buffers.incoming.len() < CAPACITY,
            writable: is_open && !buffers.outgoing.is_empty(),
            ended: false,
        };
        if wanted != buffers.waiting_for
            && let Some(watch) = &buffers.watch
        {
            let updated = watch.update(wanted);
            buffers.waiting_for = wanted;
            if let Err(e) = updated {
                buffers.finish(End::Broken(e));
            }
        }
    }
}

impl OnReady for Line {
    fn ready(&self, events: Events) {
        // A stream that has ended may still hold what came before.
        if events.readable || events.ended {
            self.receive();
        }
        if events.writable {
            self.send();
        }
        let mut buffers = self.lock();
        if events.ended {
            buffers.finish(End::Closed);
        }
        Self::wait(&mut buffers);
        buffers.wake();
    }
}

impl OnClosed for Line {
    fn closed(&self) {
        let mut buffers = self.lock();
        buffers.finish(End::Gone);
        buffers.wake();
    }
}

impl Buffers {
    /// Notes how it ended; the first reason counts.
    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    fn wake(&mut self) {
        if (!self.incoming.is_empty() || self.end.is_some())
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        if (self.outgoing.len() < CAPACITY || self.end.is_some())
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }
}

impl End {
    /// What a reader is told once it has read everything.
    fn read(&self) -> io::Result<()> {
        match self {
            Self::Closed => Ok(()),
            Self::Broken(e) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, e.clone())),
            Self::Gone => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn write(&self) -> io::Error {
        match self {
            Self::Closed => io::ErrorKind::BrokenPipe.into(),
            other => other.read().err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl AsyncRead for Serial {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut buffers = self.line.lock();
        if buffers.incoming.is_empty() {
            if let Some(end) = &buffers.end {
                return Poll::Ready(end.read());
            }
            buffers.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (front, _) = buffers.incoming.as_slices();
        let count = front.len().min(into.remaining());
        into.put_slice(front.get(..count).unwrap_or_default());
        buffers.incoming.drain(..count);
        Line::wait(&mut buffers);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Serial {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut buffers = self.line.lock();
        if let Some(end) = &buffers.end {
            return Poll::Ready(Err(end.write()));
        }
        let room = CAPACITY.saturating_sub(buffers.outgoing.len());
        if room == 0 && !data.is_empty() {
            buffers.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(data.len());
        buffers.outgoing.extend(data.iter().take(count));
        Line::wait(&mut buffers);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffers = self.line.lock();
        if buffers.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = &buffers.end {
            return Poll::Ready(Err(end.write()));
        }
        buffers.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A serial line has no half that could be closed alone.
        self.poll_flush(context)
    }
}
