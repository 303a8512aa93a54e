//! Frames: one byte of kind, four of length, and the payload.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Block, DigestRun, Reply, Request, WireError};

/// The most that a frame carries.
pub const MAX_PAYLOAD: u32 = 16 << 20;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A [`Request`] or [`Reply`], as JSON.
    Message,
    /// A [`Block`] of an image.
    Block,
    /// A [`DigestRun`].
    Digests,
}

impl FrameKind {
    // None of them can be printed, so that a login that prints something is noticed at its first letter.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Block => 2,
            Self::Digests => 3,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, WireError> {
        let kinds = [Self::Message, Self::Block, Self::Digests];
        kinds.into_iter().find(|kind| kind.byte() == byte).ok_or(WireError::Kind(byte))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Block => "block",
            Self::Digests => "digests",
        }
    }
}

/// The first bytes of a frame: what follows, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    kind: FrameKind,
    length: u32,
}

impl Header {
    /// How long it is.
    pub const SIZE: usize = 5;

    /// Reads a header. An unknown kind or a length above [`MAX_PAYLOAD`] is an error, so that whoever allocates what a
    /// header announces needs no bound of its own.
    pub fn decode(bytes: [u8; Self::SIZE]) -> Result<Self, WireError> {
        let [kind, length @ ..] = bytes;
        let kind = FrameKind::from_byte(kind)?;
        match u32::from_le_bytes(length) {
            length if length > MAX_PAYLOAD => Err(WireError::TooLong(length.into())),
            length => Ok(Self { kind, length }),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        let [a, b, c, d] = self.length.to_le_bytes();
        [self.kind.byte(), a, b, c, d]
    }

    /// What follows.
    #[must_use]
    pub fn kind(self) -> FrameKind {
        self.kind
    }

    /// How many bytes follow.
    #[must_use]
    pub fn length(self) -> usize {
        self.length as usize
    }
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    kind: FrameKind,
    payload: Vec<u8>,
}

impl Frame {
    /// A frame of this kind. `TooLong` when the payload is.
    pub fn new(kind: FrameKind, payload: Vec<u8>) -> Result<Self, WireError> {
        length(&payload)?;
        Ok(Self { kind, payload })
    }

    /// A message to the helper.
    pub fn request(request: &Request) -> Result<Self, WireError> {
        Self::message(request)
    }

    /// A message from the helper.
    pub fn reply(reply: &Reply) -> Result<Self, WireError> {
        Self::message(reply)
    }

    fn message(message: &impl Serialize) -> Result<Self, WireError> {
        Self::new(FrameKind::Message, serde_json::to_vec(message)?)
    }

    /// What the frame carries.
    #[must_use]
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// What it carries, undecoded.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload alone, so that its memory can be used again.
    #[must_use]
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// The header that stands before the payload.
    #[must_use]
    pub fn header(&self) -> Header {
        // A frame is only made of what fits.
        Header { kind: self.kind, length: u32::try_from(self.payload.len()).unwrap_or(MAX_PAYLOAD) }
    }

    /// The bytes of the whole frame.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.header().encode()[..], &self.payload].concat()
    }

    /// Reads a message to the helper.
    pub fn as_request(&self) -> Result<Request, WireError> {
        self.as_message()
    }

    /// Reads a message from the helper.
    pub fn as_reply(&self) -> Result<Reply, WireError> {
        self.as_message()
    }

    /// Reads a block.
    pub fn as_block(&self) -> Result<Block<'_>, WireError> {
        self.expect(FrameKind::Block)?;
        Block::decode(&self.payload)
    }

    /// Reads a run of digests.
    pub fn as_digests(&self) -> Result<DigestRun, WireError> {
        self.expect(FrameKind::Digests)?;
        DigestRun::decode(&self.payload)
    }

    fn as_message<M: DeserializeOwned>(&self) -> Result<M, WireError> {
        self.expect(FrameKind::Message)?;
        Ok(serde_json::from_slice(&self.payload)?)
    }

    fn expect(&self, kind: FrameKind) -> Result<(), WireError> {
        match self.kind == kind {
            true => Ok(()),
            false => Err(WireError::Unexpected { expected: kind.name(), found: self.kind.name() }),
        }
    }
}

fn length(payload: &[u8]) -> Result<u32, WireError> {
    let length = u32::try_from(payload.len()).ok().filter(|length| *length <= MAX_PAYLOAD);
    length.ok_or(WireError::TooLong(payload.len() as u64))
}

/// Puts frames together from bytes as they come.
///
/// It holds one frame at most, and of that no more than has come.
#[derive(Debug, Default)]
pub struct Decoder {
    head: Vec<u8>,
    frame: Option<(Header, Vec<u8>)>,
}

impl Decoder {
    /// A decoder at the beginning of a frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `bytes` up to the end of a frame and returns that frame; `None` when all were taken
    /// and more are needed. After an error the stream is of no use any more.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, WireError> {
        let (header, mut payload) = match self.frame.take() {
            Some(begun) => begun,
            None => {
                self.head.extend_from_slice(take(bytes, Header::SIZE - self.head.len()));
                if let Some(first) = self.head.first() {
                    FrameKind::from_byte(*first)?;
                }
                let Ok(head) = <[u8; Header::SIZE]>::try_from(&*self.head) else { return Ok(None) };
                self.head.clear();
                (Header::decode(head)?, Vec::new())
            }
        };
        payload.extend_from_slice(take(bytes, header.length() - payload.len()));
        if payload.len() < header.length() {
            self.frame = Some((header, payload));
            return Ok(None);
        }
        Ok(Some(Frame { kind: header.kind, payload }))
    }

    /// Whether the last frame was whole: an end of the stream here cuts nothing in two.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.head.is_empty() && self.frame.is_none()
    }
}

fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}
