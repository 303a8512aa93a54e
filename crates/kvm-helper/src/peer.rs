//! The other side: what it said, and how it is answered.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvm_wire::{DigestRun, FailureKind, Frame, Header, Reply, WireError};

use crate::failure::{Result, Trouble};

/// Frames that may wait to be looked at.
const WAITING: usize = 2;
/// After how much work the other side hears about it.
const PROGRESS: u64 = 64 << 20;

/// Who asks, and is answered.
pub(crate) struct Peer {
    output: Arc<Mutex<Box<dyn Write + Send>>>,
    work: Arc<Work>,
    /// Ends the signs of life when it is dropped.
    _living: SyncSender<()>,
    input: Mutex<Receiver<Result<Frame, WireError>>>,
    gone: Arc<AtomicBool>,
    /// Memory of frames that were dealt with, for those to come.
    used: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Peer {
    /// Begins to read. The thread that does so ends when the input does, or at the next frame when nobody waits for it.
    pub(crate) fn new(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        sign_of_life: Duration,
    ) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let (gone, used) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (sees, takes) = (Arc::clone(&gone), Arc::clone(&used));
        std::thread::spawn(move || {
            read_frames(input, &sender, &takes);
            // Work that is under way has nobody to work for.
            sees.store(true, Ordering::Relaxed);
        });
        let output: Arc<Mutex<Box<dyn Write + Send>>> = Arc::new(Mutex::new(Box::new(output)));
        let (living, ends) = sync_channel(0);
        let work = Arc::new(Work::default());
        let (says, of) = (Arc::clone(&output), Arc::clone(&work));
        std::thread::spawn(move || {
            while ends.recv_timeout(sign_of_life) == Err(RecvTimeoutError::Timeout) {
                of.tell(&says);
            }
        });
        Self { output, work, _living: living, input: Mutex::new(receiver), gone, used }
    }

    /// The next request; `Gone` at the end of the input.
    pub(crate) fn next(&self) -> Result<Frame> {
        self.work.is_expected.store(false, Ordering::Relaxed);
        let frame = self.next_of_same()?;
        self.work.is_expected.store(true, Ordering::Relaxed);
        Ok(frame)
    }

    /// The next frame that belongs to a request. Signs of life go on meanwhile: on a way that was cut they are what its
    /// ends notice the cut by, and whatever is locked here is free again.
    pub(crate) fn next_of_same(&self) -> Result<Frame> {
        let received = locked(&self.input).recv().map_err(|_| Trouble::Gone)?;
        received.map_err(|e| Trouble::new(FailureKind::InvalidInput, e.to_string()))
    }

    /// Fails when nobody listens any more.
    pub(crate) fn check(&self) -> Result<()> {
        match self.gone.load(Ordering::Relaxed) {
            true => Err(Trouble::Gone),
            false => Ok(()),
        }
    }

    /// Writes bytes of whole frames.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        locked(&self.output).write_all(bytes).map_err(|_| Trouble::Gone)
    }

    pub(crate) fn frame(&self, frame: &Frame) -> Result<()> {
        self.write(&frame.to_bytes())
    }

    pub(crate) fn reply(&self, reply: &Reply) -> Result<()> {
        let frame = Frame::reply(reply).map_err(|e| Trouble::new(FailureKind::Internal, e.to_string()))?;
        self.frame(&frame)?;
        locked(&self.output).flush().map_err(|_| Trouble::Gone)
    }

    pub(crate) fn digests(&self, run: &DigestRun) -> Result<()> {
        self.frame(&run.to_frame().map_err(|e| Trouble::new(FailureKind::Internal, e.to_string()))?)
    }

    /// Gives memory of a frame back.
    pub(crate) fn recycle(&self, frame: Frame) {
        let mut used = locked(&self.used);
        if used.len() < 2 * WAITING {
            used.push(frame.into_payload());
        }
    }

    /// A report on work of `total` bytes.
    pub(crate) fn progress(&self, total: u64) -> Progress<'_> {
        *locked(&self.work.progress) = (0, total);
        Progress { peer: self, done: 0, told: 0, total }
    }
}

/// What the other side waits for.
#[derive(Default)]
struct Work {
    /// Whether it waits at all, and we not for it.
    is_expected: AtomicBool,
    /// How far the last work was that took a while.
    progress: Mutex<(u64, u64)>,
}

impl Work {
    /// Gives a sign of life. Nobody is there for it when it cannot be written, which others notice.
    fn tell(&self, output: &Mutex<Box<dyn Write + Send>>) {
        let (done, total) = *locked(&self.progress);
        let Ok(frame) = Frame::reply(&Reply::Progress { done, total }) else { return };
        let mut output = locked(output);
        // Looked at last: what was answered meanwhile needs no sign behind it.
        if self.is_expected.load(Ordering::Relaxed) {
            let _nobody = output.write_all(&frame.to_bytes()).and_then(|()| output.flush());
        }
    }
}

/// Tells the other side now and then how far the work is.
pub(crate) struct Progress<'a> {
    peer: &'a Peer,
    done: u64,
    told: u64,
    total: u64,
}

impl Progress<'_> {
    pub(crate) fn add(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        if self.done - self.told < PROGRESS {
            return Ok(());
        }
        self.told = self.done;
        *locked(&self.peer.work.progress) = (self.done, self.total);
        self.peer.reply(&Reply::Progress { done: self.done, total: self.total })
    }
}

/// A lock of ours is never held across a panic that leaves half a change.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_frames(mut input: impl Read, to: &SyncSender<Result<Frame, WireError>>, used: &Mutex<Vec<Vec<u8>>>) {
    loop {
        let mut head = [0; Header::SIZE];
        if input.read_exact(&mut head).is_err() {
            return;
        }
        let frame = Header::decode(head).and_then(|header| {
            let mut payload = locked(used).pop().unwrap_or_default();
            payload.clear();
            payload.reserve(header.length());
            let length = header.length() as u64;
            match (&mut input).take(length).read_to_end(&mut payload) {
                Ok(read) if read as u64 == length => Frame::new(header.kind(), payload).map(Some),
                _ => Ok(None),
            }
        });
        let Some(frame) = frame.transpose() else { return };
        let broken = frame.is_err();
        if to.send(frame).is_err() || broken {
            return;
        }
    }
}
