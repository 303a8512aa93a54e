//! Whether two sides hold the same, whatever their holes are.

use std::fmt;

use kvm_core::Piece;
use sha2::{Digest as _, Sha256};

/// Blocks that are all zeros count by their place alone, so that a terabyte of holes costs nothing.
const BLOCK: usize = 64 << 10;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The digest of a volume's content: equal exactly when all bytes are, holes read as zeros.
///
/// It is of the numbers and the bytes of all blocks that are not zeros, and of the length; no other program's.
pub(crate) struct ContentDigest {
    hasher: Sha256,
    /// What there is of the present block.
    block: Vec<u8>,
    /// The number of the present block.
    number: u64,
}

impl ContentDigest {
    pub(crate) fn new() -> Self {
        Self { hasher: Sha256::new(), block: Vec::with_capacity(BLOCK), number: 0 }
    }

    pub(crate) fn add(&mut self, piece: &Piece) {
        match piece {
            Piece::Data(data) => self.data(data),
            Piece::Hole(length) => self.hole(length.get()),
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        let rest = self.block.len() as u64;
        self.close_block();
        self.hasher.update(self.number.to_le_bytes());
        self.hasher.update(rest.to_le_bytes());
        self.hasher.finalize().into()
    }

    fn data(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.block.is_empty()
                && let Some((whole, rest)) = data.split_at_checked(BLOCK)
            {
                Self::hash(&mut self.hasher, self.number, whole);
                self.number += 1;
                data = rest;
                continue;
            }
            let (now, rest) = data.split_at(data.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            if self.block.len() == BLOCK {
                self.close_block();
                self.number += 1;
            }
            data = rest;
        }
    }

    fn hole(&mut self, mut length: u64) {
        if !self.block.is_empty() {
            let fill = length.min((BLOCK - self.block.len()) as u64);
            self.data(&ZEROS[..fill as usize]);
            length -= fill;
        }
        self.number += length / BLOCK as u64;
        self.data(&ZEROS[..(length % BLOCK as u64) as usize]);
    }

    fn close_block(&mut self) {
        Self::hash(&mut self.hasher, self.number, &self.block);
        self.block.clear();
    }

    fn hash(hasher: &mut Sha256, number: u64, block: &[u8]) {
        if *block != ZEROS[..block.len()] {
            hasher.update(number.to_le_bytes());
            hasher.update(block);
        }
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentDigest").field("block", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use kvm_core::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn digest(pieces: &[Piece]) -> [u8; 32] {
        let mut digest = ContentDigest::new();
        pieces.iter().for_each(|piece| digest.add(piece));
        digest.finish()
    }

    fn hole(length: usize) -> Piece {
        Piece::Hole(Bytes::new(length as u64))
    }

    proptest! {
        #[test]
        fn only_the_bytes_count_and_not_how_they_come(
            parts in prop::collection::vec((any::<bool>(), 0usize..200_000), 0..6),
            cuts in prop::collection::vec(1usize..150_000, 1..6),
            flip in any::<prop::sample::Index>(),
        ) {
            let pieces: Vec<_> =
                parts.iter().map(|(data, n)| if *data { Piece::Data(vec![7; *n]) } else { hole(*n) }).collect();
            let mut plain: Vec<u8> = Vec::new();
            for (data, n) in &parts {
                plain.resize(plain.len() + n, if *data { 7 } else { 0 });
            }
            let (mut again, mut rest) = (Vec::new(), &plain[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                again.push(Piece::Data(now.to_vec()));
                rest = later;
            }
            prop_assert_eq!(digest(&pieces), digest(&again));
            prop_assert_ne!(digest(&pieces), digest(&[Piece::Data(plain.clone()), hole(1)]));
            if !plain.is_empty() {
                let at = flip.index(plain.len());
                plain[at] ^= 1;
                prop_assert_ne!(digest(&pieces), digest(&[Piece::Data(plain)]));
            }
        }
    }
}
