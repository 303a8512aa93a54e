//! Frames that are not JSON: parts of images, and digests.

use crate::{Digest, Frame, FrameKind, LEAF_SIZE, WireError};

/// How the bytes of a [`Block`] are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// As one zstd frame that unpacks to exactly the length of the block.
    Zstd,
    /// Not at all: they are zeros.
    Zeros,
}

/// A part of an image: one leaf or several in a row, with the digest of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    offset: u64,
    length: u32,
    encoding: Encoding,
    digests: &'a [u8],
    data: &'a [u8],
}

impl<'a> Block<'a> {
    /// The most that a block holds: 16 leaves, 1 MiB.
    pub const MAX: u32 = 1 << 20;
    /// What stands before the digests: offset, length and encoding.
    const FIXED: usize = 13;

    /// Appends a whole block frame to `out`, so that one buffer serves for many.
    ///
    /// `digests` are those of the leaves, `data` is written as `encoding` says.
    pub fn encode(
        out: &mut Vec<u8>,
        offset: u64,
        length: u32,
        encoding: Encoding,
        digests: &[Digest],
        data: &[u8],
    ) -> Result<(), WireError> {
        let size = Self::FIXED + digests.len() * Digest::SIZE + data.len();
        let size = u32::try_from(size).map_err(|_| WireError::TooLong(size as u64))?;
        let start = out.len();
        out.push(FrameKind::Block.byte());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.push(match encoding {
            Encoding::Raw => 0,
            Encoding::Zstd => 1,
            Encoding::Zeros => 2,
        });
        digests.iter().for_each(|digest| out.extend_from_slice(digest.as_bytes()));
        out.extend_from_slice(data);
        // What a reader would refuse is not written in the first place.
        let payload = &out[start + crate::Header::SIZE..];
        if let Err(e) = Block::decode(payload) {
            out.truncate(start);
            return Err(e);
        }
        Ok(())
    }

    /// A block frame of its own; see [`encode`](Self::encode).
    pub fn frame(
        offset: u64,
        length: u32,
        encoding: Encoding,
        digests: &[Digest],
        data: &[u8],
    ) -> Result<Frame, WireError> {
        let mut bytes = Vec::new();
        Self::encode(&mut bytes, offset, length, encoding, digests, data)?;
        Frame::new(FrameKind::Block, bytes.split_off(crate::Header::SIZE))
    }

    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let wrong = WireError::Damaged;
        let short = || wrong("a block that ends too early");
        let (offset, rest) = payload.split_first_chunk().ok_or_else(short)?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (encoding, rest) = rest.split_first().ok_or_else(short)?;
        let (offset, length) = (u64::from_le_bytes(*offset), u32::from_le_bytes(*length));
        let encoding = match encoding {
            0 => Encoding::Raw,
            1 => Encoding::Zstd,
            2 => Encoding::Zeros,
            _ => return Err(wrong("a block in an unknown encoding")),
        };
        if !offset.is_multiple_of(LEAF_SIZE) || i64::try_from(offset).is_err() {
            return Err(wrong("a block that does not begin at a leaf"));
        }
        if length == 0 || length > Self::MAX {
            return Err(wrong("a block of no length or of too much"));
        }
        let leaves = u64::from(length).div_ceil(LEAF_SIZE) as usize;
        let (digests, data) = rest.split_at_checked(leaves * Digest::SIZE).ok_or_else(short)?;
        let fits = match encoding {
            Encoding::Raw => data.len() == length as usize,
            Encoding::Zstd => !data.is_empty() && data.len() <= length as usize,
            Encoding::Zeros => data.is_empty() && digests.iter().all(|byte| *byte == 0),
        };
        match fits {
            true => Ok(Self { offset, length, encoding, digests, data }),
            false => Err(wrong("a block whose data does not fit its length")),
        }
    }

    /// Where in the image it begins: at a leaf.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes of the image it is; not a multiple of a leaf only at the end of the image.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The first byte behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }

    /// How its data is written.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The digests of its leaves.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = Digest> + 'a {
        Digest::all_in(self.digests)
    }

    /// Its bytes, as the encoding says.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

/// Digests of groups or leaves that follow one another. What no run of an answer names is [`Digest::ZERO`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestRun {
    /// The number of the first one, counted in the whole image.
    pub first: u64,
    /// The digests.
    pub digests: Vec<Digest>,
}

impl DigestRun {
    /// The most that fit into a frame of a quarter MiB; longer answers are several runs.
    pub const MAX: usize = 8192;

    /// The frame of this run. `TooLong` when it does not fit into one.
    pub fn to_frame(&self) -> Result<Frame, WireError> {
        let mut payload = Vec::with_capacity(8 + self.digests.len() * Digest::SIZE);
        payload.extend_from_slice(&self.first.to_le_bytes());
        self.digests.iter().for_each(|digest| payload.extend_from_slice(digest.as_bytes()));
        Frame::new(FrameKind::Digests, payload)
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let (first, digests) = payload.split_first_chunk().ok_or(WireError::Damaged("a run without its number"))?;
        if !digests.len().is_multiple_of(Digest::SIZE) {
            return Err(WireError::Damaged("a run that ends within a digest"));
        }
        let (first, digests) = (u64::from_le_bytes(*first), Digest::all_in(digests).collect::<Vec<_>>());
        match first.checked_add(digests.len() as u64) {
            Some(_) => Ok(Self { first, digests }),
            None => Err(WireError::Damaged("a run beyond all numbers")),
        }
    }
}
