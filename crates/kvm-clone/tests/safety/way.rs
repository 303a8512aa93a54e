//! A way to a helper in this process, on which one thing goes wrong.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{ByteStream, Bytes, Dial, Endpoint, Error, ErrorKind, FilePart, Output, Result, Transport};
use kvm_wire::FrameKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use crate::bench::Place;
use crate::track::Track;

/// So much a way takes that leads nowhere any more, before whoever writes notices that nothing moves.
const SWALLOWED: usize = 256 << 10;
/// What is looked at in one piece.
const PIECE: usize = 64 << 10;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    ToHelper,
    FromHelper,
}

/// How a way ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With an error.
    Reset,
    /// In silence: what is sent is taken and goes nowhere.
    BlackHole,
    /// As if the other side had hung up.
    Close,
}

/// What goes wrong.
#[derive(Clone)]
pub(crate) enum Fault {
    /// After so many bytes in one direction nothing goes either way.
    Cut { leg: Leg, at: u64, end: End },
    /// One bit of the payload of one frame is another one.
    Flip { leg: Leg, kind: FrameKind, number: usize, byte: usize, bit: u8 },
    /// Something happens before the first byte of this message gets to the helper.
    Before { message: usize, act: Arc<dyn Fn() + Send + Sync> },
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { leg, at, end } => write!(f, "{end:?} after {at} bytes {leg:?}"),
            Self::Flip { leg, kind, number, byte, bit } => {
                write!(f, "bit {bit} of byte {byte} of {kind:?} {number} {leg:?}")
            }
            Self::Before { message, .. } => write!(f, "something before message {message}"),
        }
    }
}

/// What went over a way, in both directions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) to_helper: Track,
    pub(crate) from_helper: Track,
}

/// A way to the helper of a host.
#[derive(Debug)]
pub(crate) struct Way {
    place: Arc<Place>,
    fault: Option<Fault>,
    stall: Duration,
    passed: Arc<Mutex<Passed>>,
    records: bool,
}

impl Way {
    pub(crate) fn to(place: Arc<Place>, fault: Option<Fault>, stall: Duration) -> Self {
        Self { place, fault, stall, passed: Arc::default(), records: false }
    }

    /// Keeps all that goes over it.
    pub(crate) fn recording(self) -> Self {
        Self { records: true, ..self }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn passed(&self) -> Passed {
        self.passed.lock().unwrap().clone()
    }
}

#[async_trait]
impl Transport for Way {
    fn endpoint(&self) -> &Endpoint {
        &Endpoint::Local
    }

    async fn run(&self, _: &[&str], _: Duration) -> Result<Output> {
        Err(nothing_else())
    }

    async fn dial(&self, _: &Dial) -> Result<Box<dyn ByteStream>> {
        Err(nothing_else())
    }

    async fn helper(&self) -> Result<Box<dyn ByteStream>> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(refused)?;
        ours.set_nonblocking(true).map_err(refused)?;
        let (input, settings) = (theirs.try_clone().map_err(refused)?, self.place.settings());
        self.place.note(std::thread::spawn(move || kvm_helper::serve(settings, input, theirs)));
        Ok(Box::new(Faulty {
            inner: Some(UnixStream::from_std(ours).map_err(refused)?),
            fault: self.fault.clone(),
            end: None,
            swallowed: 0,
            passed: Arc::clone(&self.passed),
            records: self.records,
        }))
    }

    fn stall(&self) -> Duration {
        self.stall
    }

    async fn read_file(&self, _: &Path, _: Bytes) -> Result<Vec<u8>> {
        Err(nothing_else())
    }

    async fn read_part(&self, _: &Path, _: u64, _: Bytes) -> Result<FilePart> {
        Err(nothing_else())
    }

    async fn write_file(&self, _: &Path, _: &[u8], _: u32) -> Result<()> {
        Err(nothing_else())
    }

    async fn remove_file(&self, _: &Path) -> Result<()> {
        Err(nothing_else())
    }
}

fn refused(e: io::Error) -> Error {
    Error::internal("no helper can be started").with_source(e)
}

fn nothing_else() -> Error {
    Error::new(ErrorKind::Unsupported, "this host has a helper and nothing else")
}

/// The controller's end of a way.
struct Faulty {
    inner: Option<UnixStream>,
    fault: Option<Fault>,
    end: Option<End>,
    swallowed: usize,
    passed: Arc<Mutex<Passed>>,
    records: bool,
}

impl Faulty {
    /// How many bytes may still go this way, before it is cut; cuts it when there are none.
    fn allowed(&mut self, leg: Leg) -> usize {
        let Some(Fault::Cut { leg: cut, at, end }) = self.fault else { return PIECE };
        let passed = self.passed.lock().unwrap();
        let gone = if cut == Leg::ToHelper { passed.to_helper.bytes } else { passed.from_helper.bytes };
        if gone >= at {
            self.end = Some(end);
            if end != End::BlackHole {
                // The helper sees the end, too.
                self.inner = None;
            }
            return 0;
        }
        if cut == leg { usize::try_from(at - gone).unwrap().min(PIECE) } else { PIECE }
    }

    /// Bytes that go this way, with what becomes of them there.
    fn pass(&self, leg: Leg, track: &mut Track, bytes: &mut [u8]) {
        let flip = match self.fault {
            Some(Fault::Flip { leg: of, kind, number, byte, bit }) if of == leg => Some((kind, number, byte, bit)),
            _ => None,
        };
        track.walk(bytes, |(kind, number, offset, part)| {
            if let Some((of, nth, byte, bit)) = flip
                && (of, nth) == (kind, number)
                && let Some(byte) = byte.checked_sub(offset).and_then(|at| part.get_mut(at))
            {
                *byte ^= 1 << bit;
            }
        });
        if self.records {
            track.kept.extend_from_slice(bytes);
        }
    }
}

impl AsyncRead for Faulty {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = self.allowed(Leg::FromHelper).min(to.remaining());
        match self.end {
            Some(End::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(End::Close) => return Poll::Ready(Ok(())),
            // Nobody ever wakes whoever waits here.
            Some(End::BlackHole) => return Poll::Pending,
            None => {}
        }
        let mut bytes = vec![0; most];
        let mut buffer = ReadBuf::new(&mut bytes);
        let Some(inner) = &mut self.inner else { return Poll::Pending };
        std::task::ready!(Pin::new(inner).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        let mut passed = std::mem::take(&mut self.passed.lock().unwrap().from_helper);
        self.pass(Leg::FromHelper, &mut passed, &mut bytes[..length]);
        self.passed.lock().unwrap().from_helper = passed;
        to.put_slice(&bytes[..length]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = self.allowed(Leg::ToHelper).min(bytes.len());
        match self.end {
            Some(End::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(End::Close) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(End::BlackHole) if self.swallowed > SWALLOWED => return Poll::Pending,
            Some(End::BlackHole) => {
                self.swallowed += bytes.len();
                return Poll::Ready(Ok(bytes.len()));
            }
            None => {}
        }
        let before = self.passed.lock().unwrap().to_helper.clone_position();
        if let Some(Fault::Before { message, act }) = &self.fault
            && before.is_before_message(*message)
        {
            act();
        }
        let mut changed = bytes[..most].to_vec();
        self.pass(Leg::ToHelper, &mut before.clone_position(), &mut changed);
        let Some(inner) = &mut self.inner else { return Poll::Pending };
        let taken = std::task::ready!(Pin::new(inner).poll_write(cx, &changed))?;
        let mut passed = std::mem::take(&mut self.passed.lock().unwrap().to_helper);
        self.pass(Leg::ToHelper, &mut passed, &mut bytes[..taken].to_vec());
        self.passed.lock().unwrap().to_helper = passed;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
