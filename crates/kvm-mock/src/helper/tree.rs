//! Digests of simulated files.

use std::collections::BTreeMap;

use kvm_wire::{Digest, GROUP_LEAVES, GroupHasher, LEAF_SIZE, groups_in, leaf_digest, root_digest};

use crate::file::{Extent, SparseFile};

/// The digests of a file.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) length: u64,
    /// Those that are not zero.
    pub(super) leaves: BTreeMap<u64, Digest>,
    pub(super) groups: Vec<Digest>,
    pub(super) root: Digest,
}

impl Tree {
    pub(super) fn of(file: &SparseFile) -> Self {
        let mut leaves = BTreeMap::new();
        let mut at = 0;
        while let Some(extent) = file.extent_at(at) {
            let (Extent::Data(length) | Extent::Hole(length)) = extent;
            if matches!(extent, Extent::Data(_)) {
                for leaf in at / LEAF_SIZE..=(at + length - 1) / LEAF_SIZE {
                    let digest = leaf_digest(&file.read(leaf * LEAF_SIZE, LEAF_SIZE as usize));
                    if !digest.is_zero() {
                        leaves.insert(leaf, digest);
                    }
                }
            }
            at += length;
        }
        let length = file.len();
        let group = |group: u64| {
            let mut hasher = GroupHasher::new();
            for leaf in group * GROUP_LEAVES..((group + 1) * GROUP_LEAVES).min(kvm_wire::leaves_in(length)) {
                hasher.add(leaves.get(&leaf).unwrap_or(&Digest::ZERO));
            }
            hasher.finish()
        };
        let groups: Vec<_> = (0..groups_in(length)).map(group).collect();
        Self { length, root: root_digest(length, &groups), leaves, groups }
    }

    /// How much of the file is in leaves that are not zeros.
    pub(super) fn data(&self) -> u64 {
        self.leaves.len() as u64 * LEAF_SIZE
    }
}
