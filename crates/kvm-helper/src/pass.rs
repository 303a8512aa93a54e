//! One pass over an image in several threads: each leaf with data is read once and hashed, holes are skipped.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use kvm_wire::{Block, Digest, GROUP_SIZE, LEAF_SIZE, leaf_digest, leaves_in};

use crate::failure::Result;
use crate::image::Image;
use crate::peer::{Peer, locked};

/// A part of an image, all of it in one group; it begins at a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Leaves that follow one another, as they were found.
pub(crate) enum Run<'a> {
    /// Zeros, read or not.
    Zeros(Piece),
    /// Leaves that are not zeros; at most as many as a block holds.
    Data { offset: u64, digests: &'a [Digest], bytes: &'a [u8] },
}

/// How many threads share work: enough for a fast network, few enough for a host with other things to do.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().clamp(1, 4))
}

/// The groups of an image in which there is data.
pub(crate) fn groups_with_data(image: &Image) -> impl Iterator<Item = Result<Piece>> + Send + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let data = image.data_from(at).transpose()?;
        Some(data.map(|(start, _)| {
            let start = start / GROUP_SIZE * GROUP_SIZE;
            at = start + GROUP_SIZE;
            Piece { start, end: at.min(image.length()) }
        }))
    })
}

/// Goes over pieces of an image. Each thread makes itself a visitor, which sees the runs of a piece in their order;
/// `each` gets the digests of each piece when it is done, in any order.
pub(crate) fn pass<V: FnMut(Run<'_>) -> Result<()>>(
    image: &Image,
    peer: &Peer,
    pieces: impl Iterator<Item = Result<Piece>> + Send,
    visitor: impl Fn() -> Result<V> + Sync,
    mut each: impl FnMut(Piece, &[Digest]) -> Result<()>,
) -> Result<()> {
    let pieces = Mutex::new(pieces);
    let over = AtomicBool::new(false);
    let (sender, receiver) = sync_channel(2 * threads());
    let next = || match over.load(Ordering::Relaxed) {
        true => Ok(None),
        false => locked(&pieces).next().transpose(),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            let (sender, next, visitor) = (sender.clone(), &next, &visitor);
            scope.spawn(move || {
                let work = || {
                    let (mut buffer, mut visit) = (vec![0; Block::MAX as usize], visitor()?);
                    while let Some(piece) = next()? {
                        let leaves = read(image, peer, piece, &mut buffer, &mut visit)?;
                        // Who receives stays until all threads have ended.
                        let _sent = sender.send(Ok((piece, leaves)));
                    }
                    Ok(())
                };
                if let Err(e) = work() {
                    let _sent = sender.send(Err(e));
                }
            });
        }
        drop(sender);
        let mut outcome = Ok(());
        for done in receiver {
            let done = done.and_then(|(piece, leaves): (Piece, Vec<Digest>)| each(piece, &leaves));
            if done.is_err() && outcome.is_ok() {
                over.store(true, Ordering::Relaxed);
                outcome = done;
            }
        }
        outcome
    })
}

/// Reads a piece, shows its runs and returns the digests of its leaves.
fn read(
    image: &Image,
    peer: &Peer,
    piece: Piece,
    buffer: &mut [u8],
    visit: &mut impl FnMut(Run<'_>) -> Result<()>,
) -> Result<Vec<Digest>> {
    let leaf = |offset: u64| ((offset - piece.start) / LEAF_SIZE) as usize;
    let mut leaves = vec![Digest::ZERO; leaves_in(piece.end - piece.start) as usize];
    let mut at = piece.start;
    while at < piece.end {
        let data = image.data_from(at)?.filter(|(start, _)| *start < piece.end);
        let start = data.map_or(piece.end, |(start, _)| start / LEAF_SIZE * LEAF_SIZE).max(at);
        let end = data.map_or(piece.end, |(_, end)| end.next_multiple_of(LEAF_SIZE).min(piece.end));
        if start > at {
            visit(Run::Zeros(Piece { start: at, end: start }))?;
        }
        at = start;
        while at < end {
            peer.check()?;
            let bytes = &mut buffer[..(end - at).min(Block::MAX.into()) as usize];
            image.read(bytes, at)?;
            let next = at + bytes.len() as u64;
            let digests = &mut leaves[leaf(at)..][..bytes.len().div_ceil(LEAF_SIZE as usize)];
            for (digest, bytes) in digests.iter_mut().zip(bytes.chunks(LEAF_SIZE as usize)) {
                *digest = leaf_digest(bytes);
            }
            runs(at, bytes, digests, visit)?;
            at = next;
        }
    }
    Ok(leaves)
}

/// Shows what was read, divided where zeros begin and end.
fn runs(
    mut offset: u64,
    mut bytes: &[u8],
    digests: &[Digest],
    visit: &mut impl FnMut(Run<'_>) -> Result<()>,
) -> Result<()> {
    for digests in digests.chunk_by(|a, b| a.is_zero() == b.is_zero()) {
        let (run, rest) = bytes.split_at((digests.len() * LEAF_SIZE as usize).min(bytes.len()));
        let end = offset + run.len() as u64;
        visit(match digests[0].is_zero() {
            true => Run::Zeros(Piece { start: offset, end }),
            false => Run::Data { offset, digests, bytes: run },
        })?;
        (offset, bytes) = (end, rest);
    }
    Ok(())
}
