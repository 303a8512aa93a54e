//! Blocks of images: packed to be sent, unpacked and checked when they come.

use kvm_wire::{Block, Cause, Compression, Digest, Encoding, FailureKind, LEAF_SIZE, leaf_digest};
use zstd::bulk::{Compressor, Decompressor};

use crate::failure::{Result, Trouble};

/// Fast enough for a network of 10 Gbit/s, and better levels gain little with disk images.
const LEVEL: i32 = 1;
/// What is tried before a whole block is compressed: little enough to be tried of each.
const SAMPLE: usize = 16 << 10;

/// Makes block frames, each from one run of leaves.
pub(crate) struct Packer {
    compressor: Option<Compressor<'static>>,
    packed: Vec<u8>,
    frame: Vec<u8>,
}

impl Packer {
    pub(crate) fn new(compression: Compression) -> Result<Self> {
        let compressor = match compression {
            Compression::Off => None,
            Compression::Zstd => Some(Compressor::new(LEVEL).map_err(|e| Trouble::io("cannot compress", e))?),
        };
        Ok(Self { compressor, packed: Vec::new(), frame: Vec::new() })
    }

    /// The frame of these leaves.
    pub(crate) fn data(&mut self, offset: u64, digests: &[Digest], bytes: &[u8]) -> Result<&[u8]> {
        let (encoding, data) = match self.compress(bytes)? {
            true => (Encoding::Zstd, &self.packed[..]),
            false => (Encoding::Raw, bytes),
        };
        encode(&mut self.frame, offset, bytes.len(), encoding, digests, data)?;
        Ok(&self.frame)
    }

    /// The frame of as many zeros.
    pub(crate) fn zeros(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let digests = vec![Digest::ZERO; length.div_ceil(LEAF_SIZE as usize)];
        encode(&mut self.frame, offset, length, Encoding::Zeros, &digests, &[])?;
        Ok(&self.frame)
    }

    /// Compresses into `packed`, and says whether that was worth it.
    fn compress(&mut self, bytes: &[u8]) -> Result<bool> {
        let Some(compressor) = &mut self.compressor else { return Ok(false) };
        let mut pack = |bytes: &[u8]| {
            self.packed.clear();
            self.packed.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
            let packed = compressor.compress_to_buffer(bytes, &mut self.packed);
            // Less than a tenth is not worth the time of who unpacks it.
            packed.map(|length| length < bytes.len() / 10 * 9).map_err(|e| Trouble::io("cannot compress", e))
        };
        let middle = bytes.len() / 2;
        let sample = bytes.get(middle..middle + SAMPLE).filter(|_| bytes.len() >= 4 * SAMPLE);
        Ok(sample.map_or(Ok(true), &mut pack)? && pack(bytes)?)
    }
}

fn encode(
    frame: &mut Vec<u8>,
    offset: u64,
    length: usize,
    encoding: Encoding,
    digests: &[Digest],
    data: &[u8],
) -> Result<()> {
    frame.clear();
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    Block::encode(frame, offset, length, encoding, digests, data)
        .map_err(|e| Trouble::new(FailureKind::Internal, e.to_string()))
}

/// Unpacks blocks, and believes only what has the right digest.
pub(crate) struct Unpacker {
    decompressor: Decompressor<'static>,
    bytes: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new() -> Result<Self> {
        let decompressor = Decompressor::new().map_err(|e| Trouble::io("cannot decompress", e))?;
        Ok(Self { decompressor, bytes: vec![0; Block::MAX as usize] })
    }

    /// The bytes of a block of an image of `length` bytes; `None` for zeros.
    pub(crate) fn unpack<'a>(&'a mut self, block: &Block<'a>, length: u64) -> Result<Option<&'a [u8]>> {
        let whole = u64::from(block.length()).is_multiple_of(LEAF_SIZE) || block.end() == length;
        if block.end() > length || !whole {
            return Err(Trouble::invalid(format!("the block at {} does not fit into the image", block.offset())));
        }
        let bytes = match block.encoding() {
            Encoding::Zeros => return Ok(None),
            Encoding::Raw => block.data(),
            Encoding::Zstd => {
                let space = &mut self.bytes[..block.length() as usize];
                match self.decompressor.decompress_to_buffer(block.data(), space) {
                    Ok(length) if length == space.len() => &*space,
                    _ => return Err(corrupt(block.offset())),
                }
            }
        };
        let mut offset = block.offset();
        for (leaf, digest) in bytes.chunks(LEAF_SIZE as usize).zip(block.digests()) {
            if leaf_digest(leaf) != digest {
                return Err(corrupt(offset));
            }
            offset += LEAF_SIZE;
        }
        Ok(Some(bytes))
    }
}

fn corrupt(offset: u64) -> Trouble {
    Trouble::new(FailureKind::Corrupt, format!("the block at {offset} is not what its digest says"))
        .because(Cause::Block { offset })
}
