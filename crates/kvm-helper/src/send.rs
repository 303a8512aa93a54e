//! Sends an image, or parts of it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use kvm_wire::{Block, Compression, GROUP_LEAVES, GROUP_SIZE, LEAF_SIZE, Reply, Span};

use crate::block::Packer;
use crate::failure::{Result, Trouble};
use crate::image::Image;
use crate::pass::{Piece, Run, groups_with_data, pass};
use crate::peer::Peer;
use crate::tree::{Tree, TreeBuilder};

/// What went out.
#[derive(Debug, Default)]
struct Count {
    blocks: AtomicU64,
    data: AtomicU64,
    wire: AtomicU64,
}

impl Count {
    fn add(&self, data: u64, frame: &[u8]) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.data.fetch_add(data, Ordering::Relaxed);
        self.wire.fetch_add(frame.len() as u64, Ordering::Relaxed);
    }

    fn reply(self, tree: Option<&Tree>, length: u64) -> Reply {
        let [blocks, data, wire] = [self.blocks, self.data, self.wire].map(AtomicU64::into_inner);
        Reply::Sent { root: tree.map(|tree| tree.root), length, blocks, data, wire }
    }
}

/// Sends all that is not zeros, and returns the digests that were computed on the way.
pub(crate) fn all(image: &Image, peer: &Peer, compression: Compression, directory: &Path) -> Result<(Tree, Reply)> {
    let (count, mut tree) = (Count::default(), TreeBuilder::new(directory, image.length())?);
    let visitor = || {
        let (mut packer, count) = (Packer::new(compression)?, &count);
        Ok(move |run: Run<'_>| match run {
            Run::Zeros(_) => Ok(()),
            Run::Data { offset, digests, bytes } => {
                let frame = packer.data(offset, digests, bytes)?;
                count.add(bytes.len() as u64, frame);
                peer.write(frame)
            }
        })
    };
    pass(image, peer, groups_with_data(image), visitor, |piece, leaves| tree.add(piece.start / GROUP_SIZE, leaves))?;
    let tree = tree.finish();
    let reply = count.reply(Some(&tree), image.length());
    Ok((tree, reply))
}

/// Sends these parts, zeros among them. With the digests of a scan each leaf must still have its own.
pub(crate) fn ranges(
    image: &Image,
    peer: &Peer,
    compression: Compression,
    spans: &[Span],
    tree: Option<&Tree>,
) -> Result<Reply> {
    spans.iter().try_for_each(|span| check(span, image.length()))?;
    let count = Count::default();
    let visitor = || {
        let (mut packer, count) = (Packer::new(compression)?, &count);
        Ok(move |run: Run<'_>| match run {
            Run::Zeros(Piece { mut start, end }) => {
                while start < end {
                    let length = (end - start).min(Block::MAX.into());
                    let frame = packer.zeros(start, length as usize)?;
                    count.add(length, frame);
                    peer.write(frame)?;
                    start += length;
                }
                Ok(())
            }
            Run::Data { offset, digests, bytes } => {
                let frame = packer.data(offset, digests, bytes)?;
                count.add(bytes.len() as u64, frame);
                peer.write(frame)
            }
        })
    };
    let pieces = spans.iter().flat_map(pieces).map(Ok);
    pass(image, peer, pieces, visitor, |piece, leaves| {
        let Some(tree) = tree else { return Ok(()) };
        let group = tree.leaves_of(piece.start / GROUP_SIZE)?;
        let first = (piece.start / LEAF_SIZE % GROUP_LEAVES) as usize;
        match group.get(first..first + leaves.len()) == Some(leaves) {
            true => Ok(()),
            false => Err(Trouble::changed().of(image.name())),
        }
    })?;
    Ok(count.reply(tree, image.length()))
}

fn check(span: &Span, length: u64) -> Result<()> {
    let end = span.offset.checked_add(span.length).filter(|end| *end <= length);
    let whole = |offset: u64| offset.is_multiple_of(LEAF_SIZE);
    match end.is_some_and(|end| whole(span.offset) && (whole(end) || end == length)) {
        true => Ok(()),
        false => Err(Trouble::invalid(format!("ranges: {} bytes at {} are no leaves", span.length, span.offset))),
    }
}

/// Divides a part where groups end.
fn pieces(span: &Span) -> impl Iterator<Item = Piece> + use<> {
    let (mut at, end) = (span.offset, span.offset + span.length);
    std::iter::from_fn(move || {
        let start = at;
        at = end.min((start / GROUP_SIZE + 1) * GROUP_SIZE);
        (start < end).then_some(Piece { start, end: at })
    })
}
