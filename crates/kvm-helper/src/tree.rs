//! The digests of an image: groups in memory, leaves in a file without a name that takes room only where there is data.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use kvm_wire::{Digest, GROUP_LEAVES, GROUP_SIZE, GroupHasher, LEAF_SIZE, groups_in, leaves_in, root_digest};

use crate::failure::{Result, Trouble};
use crate::image::Image;
use crate::pass::{Run, groups_with_data, pass};
use crate::peer::Peer;
use crate::saved;

/// The digests of a whole image.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) length: u64,
    /// Bytes in leaves that are not all zeros.
    pub(crate) data: u64,
    pub(crate) root: Digest,
    pub(crate) groups: Vec<Digest>,
    pub(crate) leaves: LeafFile,
}

impl Tree {
    /// Computes the digests of an image.
    pub(crate) fn scan(image: &Image, directory: &Path, peer: &Peer) -> Result<Self> {
        let mut tree = TreeBuilder::new(directory, image.length())?;
        let mut progress = peer.progress(image.length());
        let nothing = || Ok(|_: Run<'_>| Ok(()));
        pass(image, peer, groups_with_data(image), nothing, |piece, leaves| {
            tree.add(piece.start / GROUP_SIZE, leaves)?;
            progress.add(piece.end - piece.start)
        })?;
        Ok(tree.finish())
    }

    /// The same once more; nobody writes to its leaves.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let file = self.leaves.file.try_clone().map_err(|e| Trouble::io("cannot open the digests again", e))?;
        let leaves = LeafFile { file, start: self.leaves.start };
        Ok(Self { length: self.length, data: self.data, root: self.root, groups: self.groups.clone(), leaves })
    }

    /// The digests of the leaves of a group.
    pub(crate) fn leaves_of(&self, group: u64) -> Result<Vec<Digest>> {
        let count = leaves_of_group(self.length, group);
        match self.groups.get(group as usize) {
            Some(digest) if !digest.is_zero() => self.leaves.read(group * GROUP_LEAVES, count),
            _ => Ok(vec![Digest::ZERO; count]),
        }
    }
}

/// How many leaves a group has; fewer at the end of the image, and none behind it.
pub(crate) fn leaves_of_group(length: u64, group: u64) -> usize {
    leaves_in(length).saturating_sub(group.saturating_mul(GROUP_LEAVES)).min(GROUP_LEAVES) as usize
}

/// The digest of a group with these leaves, and how much of it is not zeros.
pub(crate) fn group_of(length: u64, group: u64, leaves: &[Digest]) -> (Digest, u64) {
    let (mut hasher, mut data) = (GroupHasher::new(), 0);
    for (index, leaf) in (group * GROUP_LEAVES..).zip(leaves) {
        hasher.add(leaf);
        if !leaf.is_zero() {
            data += LEAF_SIZE.min(length - index * LEAF_SIZE);
        }
    }
    (hasher.finish(), data)
}

/// The digests of all leaves, by their number, in a file.
#[derive(Debug)]
pub(crate) struct LeafFile {
    pub(crate) file: File,
    /// Where the first one stands.
    start: u64,
}

impl LeafFile {
    /// Digests that stand in this file, as [`saved`] lays them out.
    pub(crate) fn of(file: File, length: u64) -> Self {
        Self { file, start: saved::leaves_at(groups_in(length)) }
    }

    fn new(directory: &Path, length: u64) -> Result<Self> {
        saved::make(directory)?;
        let file = tempfile::tempfile_in(directory).map_err(|e| Trouble::io("cannot make a file for digests", e))?;
        Ok(Self::of(file, length))
    }

    fn at(&self, leaf: u64) -> u64 {
        self.start + leaf * Digest::SIZE as u64
    }

    pub(crate) fn read(&self, first: u64, count: usize) -> Result<Vec<Digest>> {
        let mut bytes = vec![0; count * Digest::SIZE];
        self.file.read_exact_at(&mut bytes, self.at(first)).map_err(|e| Trouble::io("cannot read digests", e))?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| Digest::from_bytes(*bytes)).collect())
    }

    pub(crate) fn write(&self, first: u64, leaves: &[Digest]) -> Result<()> {
        let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        self.file.write_all_at(&bytes, self.at(first)).map_err(|e| Trouble::io("cannot write digests", e))
    }
}

/// Digests that are still being computed. Groups that nobody adds are zeros.
#[derive(Debug)]
pub(crate) struct TreeBuilder {
    length: u64,
    data: u64,
    groups: Vec<Digest>,
    leaves: LeafFile,
}

impl TreeBuilder {
    pub(crate) fn new(directory: &Path, length: u64) -> Result<Self> {
        let groups = vec![Digest::ZERO; groups_in(length) as usize];
        Ok(Self { length, data: 0, groups, leaves: LeafFile::new(directory, length)? })
    }

    /// Adds a whole group.
    pub(crate) fn add(&mut self, group: u64, leaves: &[Digest]) -> Result<()> {
        let (digest, data) = group_of(self.length, group, leaves);
        if !digest.is_zero() {
            self.leaves.write(group * GROUP_LEAVES, leaves)?;
            self.data += data;
        }
        if let Some(place) = self.groups.get_mut(group as usize) {
            *place = digest;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Tree {
        let Self { length, data, groups, leaves } = self;
        Tree { length, data, root: root_digest(length, &groups), groups, leaves }
    }
}

/// A tree of which some leaves become others.
#[derive(Debug)]
pub(crate) struct Patch {
    old: Tree,
    new: TreeBuilder,
    touched: BTreeSet<u64>,
}

impl Patch {
    /// Begins with `old`, for an image that becomes `length` bytes long.
    pub(crate) fn new(old: Tree, directory: &Path, length: u64) -> Result<Self> {
        let mut patch = Self { new: TreeBuilder::new(directory, length)?, old, touched: BTreeSet::new() };
        // Where the image ends, and where it ended, a group has leaves that it had not, or has not any more.
        for end in [length, patch.old.length] {
            patch.touch(end.saturating_sub(1) / GROUP_SIZE)?;
        }
        Ok(patch)
    }

    fn touch(&mut self, group: u64) -> Result<()> {
        if group < groups_in(self.new.length) && self.touched.insert(group) {
            let mut leaves = self.old.leaves_of(group)?;
            leaves.resize(leaves_of_group(self.new.length, group), Digest::ZERO);
            self.new.leaves.write(group * GROUP_LEAVES, &leaves)?;
        }
        Ok(())
    }

    /// Sets leaves that follow one another.
    pub(crate) fn set(&mut self, first: u64, leaves: &[Digest]) -> Result<()> {
        let last = first + (leaves.len() as u64).saturating_sub(1);
        for group in first / GROUP_LEAVES..=last / GROUP_LEAVES {
            self.touch(group)?;
        }
        self.new.leaves.write(first, leaves)
    }

    /// The tree that results.
    pub(crate) fn finish(self) -> Result<Tree> {
        let Self { old, mut new, touched } = self;
        for group in 0..new.groups.len() as u64 {
            if touched.contains(&group) {
                let leaves = new.leaves.read(group * GROUP_LEAVES, leaves_of_group(new.length, group))?;
                new.add(group, &leaves)?;
            } else if old.groups.get(group as usize).is_some_and(|digest| !digest.is_zero()) {
                new.add(group, &old.leaves_of(group)?)?;
            }
        }
        Ok(new.finish())
    }
}
