//! Volumes as streams.
//!
//! libvirt's streams block, so each piece is a call on one of the connection's threads, under a deadline of its own: a
//! stream that stands still costs its thread and its connection, like any call that does not come back. At most one piece
//! is in memory here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{Bytes, Error, ErrorKind, Holes, Piece, Resource, Result, VolumeReader, VolumeWriter};
use virt::stream::Stream;

use crate::error::LibvirtError;
use crate::ffi::stream::{self, Arrived};
use crate::lane::Lane;
use crate::session::SessionRef;
use crate::task::{Failure, Subject, Task};

/// As much as a reader gives at a time.
const PIECE: usize = 1 << 20;

/// An open stream and the connection that it belongs to.
struct Open {
    /// `None` once it has ended, well or not.
    stream: Option<Stream>,
    /// Let go after the stream, which needs it.
    session: SessionRef,
    lane: Arc<Lane>,
    subject: Subject,
    /// How long one piece may take.
    stall: Duration,
}

/// What is opened on a thread and then used from outside.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) session: SessionRef,
    pub(crate) length: Bytes,
}

impl Open {
    fn new(opened: Opened, lane: &Arc<Lane>, subject: Subject, stall: Duration) -> Self {
        let lane = Arc::clone(lane);
        Self { stream: Some(opened.stream), session: opened.session, lane, subject, stall }
    }

    /// Works on the stream. After an error it is of no more use.
    async fn call<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl FnOnce(&Stream) -> Result<T, LibvirtError> + Send + 'static,
    ) -> Result<T> {
        let Some(stream) = self.stream.clone() else {
            return Err(Error::new(ErrorKind::InvalidState, "the stream has ended").on(self.subject.resource.clone()));
        };
        let work = move |task: &Task<'_>| work(&stream).map_err(|e| broken(task, e));
        let done = self.lane.call_on(&self.session, self.subject.clone(), limit, work).await;
        match &done {
            // Its thread hangs in the stream, and telling the host that it is over would hang as well.
            Err(e) if e.kind() == ErrorKind::Timeout => drop(self.stream.take()),
            Err(_) => self.abort(),
            Ok(_) => {}
        }
        done
    }

    /// Says that all was read or written, and waits for the host to say so, too.
    async fn finish(&mut self, limit: Duration) -> Result<()> {
        self.call(limit, |stream| Ok(stream.clone().finish()?)).await?;
        self.stream = None;
        Ok(())
    }

    fn abort(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.session.discard(Abort(stream));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Ends a stream when it is dropped: tells the host, and waits for its answer.
struct Abort(Stream);

impl Drop for Abort {
    fn drop(&mut self) {
        if let Err(e) = self.0.clone().abort() {
            tracing::trace!(error = %e, "the stream had ended");
        }
    }
}

/// A stream breaks for what went wrong with the file at its other end, which libvirt tells as one number.
fn broken(task: &Task<'_>, e: LibvirtError) -> Failure {
    match e.os_error() {
        Some(libc::EIO) => {
            let message = format!("the host cannot read or write all of {}", task.resource());
            task.error(ErrorKind::Corrupt, message).with_source(e).into()
        }
        _ => e.into(),
    }
}

/// A volume that is read.
pub(crate) struct Reader {
    open: Open,
    length: Bytes,
    holes: Holes,
}

impl Reader {
    pub(crate) fn new(opened: Opened, lane: &Arc<Lane>, volume: Resource, stall: Duration, holes: Holes) -> Self {
        let length = opened.length;
        Self { open: Open::new(opened, lane, Subject::new("download", volume), stall), length, holes }
    }
}

#[async_trait]
impl VolumeReader for Reader {
    fn length(&self) -> Bytes {
        self.length
    }

    async fn next(&mut self) -> Result<Option<Piece>> {
        if self.open.stream.is_none() {
            return Ok(None);
        }
        let (holes, stall) = (self.holes, self.open.stall);
        let piece = self.open.call(stall, move |stream| receive(stream, holes)).await?;
        if piece.is_none() {
            self.open.finish(stall).await?;
        }
        Ok(piece)
    }
}

/// Reads until there is a whole piece, a hole, or no more.
fn receive(stream: &Stream, holes: Holes) -> Result<Option<Piece>, LibvirtError> {
    let mut data = Vec::with_capacity(PIECE);
    while data.len() < PIECE {
        match stream::receive_more(stream, &mut data, PIECE, holes)? {
            Arrived::Bytes(0) => break,
            Arrived::Bytes(_) => {}
            Arrived::Hole if data.is_empty() => match stream::receive_hole(stream)? {
                0 => {}
                length => return Ok(Some(Piece::Hole(Bytes::new(length)))),
            },
            // Still there for the next piece.
            Arrived::Hole => break,
        }
    }
    Ok(Some(data).filter(|data| !data.is_empty()).map(Piece::Data))
}

/// A volume that is written.
pub(crate) struct Writer {
    open: Open,
    /// What was promised and has not come yet.
    left: Bytes,
    holes: Holes,
    /// How long the host may take to store what it has.
    last: Duration,
}

impl Writer {
    pub(crate) fn new(
        opened: Opened,
        lane: &Arc<Lane>,
        volume: Resource,
        (stall, last): (Duration, Duration),
        holes: Holes,
    ) -> Self {
        let left = opened.length;
        Self { open: Open::new(opened, lane, Subject::new("upload", volume), stall), left, holes, last }
    }
}

#[async_trait]
impl VolumeWriter for Writer {
    async fn write(&mut self, piece: Piece) -> Result<()> {
        let Some(left) = self.left.checked_sub(piece.length()) else {
            self.open.abort();
            return Err(Error::invalid("length", "more is written than was promised"));
        };
        match piece {
            Piece::Hole(length) if self.holes == Holes::Fill => self.zeros(length).await?,
            piece => {
                let stall = self.open.stall;
                self.open.call(stall, move |stream| send(stream, &piece)).await?;
            }
        }
        self.left = left;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        if self.left != Bytes::ZERO {
            let message = format!("{} fewer are written than were promised", self.left);
            return Err(Error::invalid("length", message));
        }
        let last = self.last;
        self.open.finish(last).await
    }
}

impl Writer {
    async fn zeros(&mut self, length: Bytes) -> Result<()> {
        let zeros: Arc<[u8]> = vec![0; PIECE].into();
        let (mut left, stall) = (length.get(), self.open.stall);
        while left > 0 {
            let (zeros, count) = (Arc::clone(&zeros), usize::try_from(left).unwrap_or(PIECE).min(PIECE));
            self.open.call(stall, move |stream| send_all(stream, zeros.get(..count).unwrap_or_default())).await?;
            left -= count as u64;
        }
        Ok(())
    }
}

fn send(stream: &Stream, piece: &Piece) -> Result<(), LibvirtError> {
    match piece {
        Piece::Data(data) => send_all(stream, data),
        Piece::Hole(length) => stream::send_hole(stream, length.get()),
    }
}

fn send_all(stream: &Stream, mut data: &[u8]) -> Result<(), LibvirtError> {
    while !data.is_empty() {
        let count = usize::try_from(stream.send(data)?).unwrap_or(0);
        data = data.get(count..).unwrap_or_default();
    }
    Ok(())
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("volume", &self.open.subject.resource).finish_non_exhaustive()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("volume", &self.open.subject.resource).finish_non_exhaustive()
    }
}
