//! The file in which the changes of an image wait until they are whole: `<name>.sync` beside it.
//!
//! It begins with a page: `KVMSYNC1`, its state (8 bytes), the image's length before and afterwards, where the last block ends,
//! the roots before and afterwards, and a digest of all of that. From the second page on there are block frames, as they came.
//!
//! | state | the image | after a crash |
//! |---|---|---|
//! | 0 open | untouched | the changes are forgotten, or gone on with |
//! | 1 ready | untouched | applied, if the image is still what it was; else forgotten |
//! | 2 applying | in between | applied again, as often as it takes |

use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt as _;

use kvm_wire::{Digest, FailureKind, FileRef, Frame, FrameKind, Header, Opening, Pending, leaf_digest};
use rustix::fs::{Mode, OFlags};

use crate::block::Unpacker;
use crate::failure::{Result, Trouble};
use crate::place::{Place, SYNC};

const PAGE: u64 = 4096;
const MAGIC: &[u8; 8] = b"KVMSYNC1";
const FIXED: usize = MAGIC.len() + 4 * 8 + 2 * Digest::SIZE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Ready,
    Applying,
}

/// What the first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) state: State,
    pub(crate) length: u64,
    pub(crate) end: u64,
    pub(crate) before: Digest,
    pub(crate) after: Digest,
}

/// The file, open and locked by us.
#[derive(Debug)]
pub(crate) struct Redo {
    file: File,
    name: FileRef,
    pub(crate) head: Head,
}

impl Redo {
    /// Begins one, or goes on with that of an earlier session where it is of the same change, and says whether it was there.
    /// What is not gone on with goes; `invalid_state` when it waits to be applied.
    pub(crate) fn create(place: &Place, before: Digest, length: u64, opening: Opening) -> Result<(Self, bool)> {
        if let Some(mut old) = Self::open(place)? {
            match (opening, old.head.state) {
                (_, State::Open) | (Opening::Resume, State::Ready) => {}
                (_, State::Applying) | (Opening::New, State::Ready) => {
                    let text = "an earlier update of the file waits to be recovered";
                    return Err(Trouble::new(FailureKind::InvalidState, text).of(place.file()));
                }
            }
            if opening == Opening::Resume && (old.head.before, old.head.length) == (before, length) {
                old.reopen()?;
                return Ok((old, true));
            }
            old.remove(place)?;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = place.open(&place.beside(SYNC), flags, Mode::RUSR | Mode::WUSR)?;
        lock(&file, place.file())?;
        let head = Head { state: State::Open, length, end: PAGE, before, after: Digest::ZERO };
        let redo = Self { file, name: place.file().clone(), head };
        redo.write_head()?;
        Ok((redo, false))
    }

    /// Has more come behind the blocks that are whole; what is left of one that was cut goes.
    fn reopen(&mut self) -> Result<()> {
        if self.head.state == State::Ready {
            // Until it is finished again nobody is to apply it.
            self.set(State::Open)?;
        }
        let length = self.file.metadata().map_err(|e| self.failed("cannot look at the update", e))?.len();
        let (mut at, mut unpacker) = (PAGE, Unpacker::new()?);
        while let Some(frame) = self.frame_within(at, length)? {
            let is_whole = frame.as_block().is_ok_and(|block| unpacker.unpack(&block, self.head.length).is_ok());
            if !is_whole {
                break;
            }
            at += (Header::SIZE + frame.payload().len()) as u64;
        }
        self.file.set_len(at).map_err(|e| self.failed("cannot write changes", e))?;
        self.head.end = at;
        Ok(())
    }

    /// The block frame that stands here, if there is one up to `end`.
    fn frame_within(&self, at: u64, end: u64) -> Result<Option<Frame>> {
        let read = |bytes: &mut [u8], at| {
            self.file.read_exact_at(bytes, at).map_err(|e| self.failed("cannot read changes", e))
        };
        let data = at + Header::SIZE as u64;
        if data > end {
            return Ok(None);
        }
        let mut head = [0; Header::SIZE];
        read(&mut head, at)?;
        let Ok(header) = Header::decode(head) else { return Ok(None) };
        if header.kind() != FrameKind::Block || data + header.length() as u64 > end {
            return Ok(None);
        }
        let mut payload = vec![0; header.length()];
        read(&mut payload, data)?;
        Ok(Frame::new(header.kind(), payload).ok())
    }

    /// The one that is there, if there is one.
    pub(crate) fn open(place: &Place) -> Result<Option<Self>> {
        let name = place.beside(SYNC);
        if !place.has(&name)? {
            return Ok(None);
        }
        let file = place.open(&name, OFlags::RDWR, Mode::empty())?;
        lock(&file, place.file())?;
        let head = read_head(&file, place.file())?;
        Ok(Some(Self { file, name: place.file().clone(), head }))
    }

    pub(crate) fn append(&mut self, frame: &Frame) -> Result<()> {
        let bytes = frame.to_bytes();
        self.file.write_all_at(&bytes, self.head.end).map_err(|e| self.failed("cannot write changes", e))?;
        self.head.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes what was written durable, and then that it is in this state.
    pub(crate) fn set(&mut self, state: State) -> Result<()> {
        self.head.state = state;
        let sync = || self.file.sync_all().map_err(|e| self.failed("cannot make changes durable", e));
        sync()?;
        self.write_head()?;
        sync()
    }

    /// Hands over one block frame after the other, in the order in which they came.
    pub(crate) fn each(&self, mut each: impl FnMut(&Frame) -> Result<()>) -> Result<()> {
        let mut at = PAGE;
        while at < self.head.end {
            let Some(frame) = self.frame_within(at, self.head.end)? else {
                let text = format!("the changes that wait beside the file are damaged at {at}");
                return Err(Trouble::new(FailureKind::Corrupt, text).of(&self.name));
            };
            at += (Header::SIZE + frame.payload().len()) as u64;
            each(&frame).map_err(|e| e.of(&self.name))?;
        }
        Ok(())
    }

    pub(crate) fn remove(&self, place: &Place) -> Result<()> {
        place.remove(&place.beside(SYNC))
    }

    fn write_head(&self) -> Result<()> {
        let Head { state, length, end, before, after } = self.head;
        let mut page = MAGIC.to_vec();
        // The third number is for what a later release may need.
        for number in [state as u64, length, 0, end] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        page.extend_from_slice(before.as_bytes());
        page.extend_from_slice(after.as_bytes());
        let sum = leaf_digest(&page);
        page.extend_from_slice(sum.as_bytes());
        self.file.write_all_at(&page, 0).map_err(|e| self.failed("cannot write changes", e))
    }

    fn failed(&self, doing: &str, error: std::io::Error) -> Trouble {
        Trouble::io(doing, error).of(&self.name)
    }
}

/// The finished update that waits beside a file, if there is one.
pub(crate) fn pending(place: &Place) -> Result<Option<Pending>> {
    let name = place.beside(SYNC);
    if !place.has(&name)? {
        return Ok(None);
    }
    let head = read_head(&place.open(&name, OFlags::RDONLY, Mode::empty())?, place.file())?;
    let Head { state, before, after, .. } = head;
    Ok((state != State::Open).then_some(Pending { before, after }))
}

fn lock(file: &File, name: &FileRef) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Trouble::new(FailureKind::Busy, "another session updates the file").of(name))
        }
        Err(TryLockError::Error(e)) => Err(Trouble::io("cannot lock the update", e).of(name)),
    }
}

fn read_head(file: &File, name: &FileRef) -> Result<Head> {
    let mut bytes = [0; FIXED + Digest::SIZE];
    let damaged =
        || Trouble::new(FailureKind::Corrupt, format!("what lies beside the file as {SYNC} is no update of ours"));
    let length = file.metadata().map_err(|e| Trouble::io("cannot look at the update", e).of(name))?.len();
    let empty = Head { state: State::Open, length: 0, end: PAGE, before: Digest::ZERO, after: Digest::ZERO };
    if length == 0 {
        // Its maker ended before it wrote anything.
        return Ok(empty);
    }
    file.read_exact_at(&mut bytes, 0).map_err(|_| damaged().of(name))?;
    if bytes.iter().all(|byte| *byte == 0) {
        // Its host ended before the page was durable, which it is in every other state.
        return Ok(empty);
    }
    let (fixed, sum) = bytes.split_at(FIXED);
    let (numbers, digests) = fixed[MAGIC.len()..].split_at(4 * 8);
    let mut numbers = numbers.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let mut digests = digests.as_chunks().0.iter().map(|bytes| Digest::from_bytes(*bytes));
    let mut read = || {
        let state = match numbers.next()? {
            0 => State::Open,
            1 => State::Ready,
            2 => State::Applying,
            _ => return None,
        };
        let (length, _, end) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(Head { state, length, end, before: digests.next()?, after: digests.next()? })
    };
    let whole = fixed.starts_with(MAGIC) && leaf_digest(fixed).as_bytes() == sum;
    read().filter(|_| whole).ok_or_else(|| damaged().of(name))
}
