//! What QEMU has recorded of a qcow2 image since its digests were saved, so that only that has to be read.
//!
//! A bitmap in the image marks what was written to the disk since the bitmap was made. With digests goes a file
//! `<device>-<number>.marks` that says what each bitmap marked when they were computed. What a bitmap marks neither then nor
//! now is on the disk, both times, as it was when the bitmap was made. That holds as well when the image was put back
//! from a copy meanwhile, whose bitmap tells of the copy; and when a bitmap is lost, all is read.
//!
//! Only the places of such data keep their digests. All else of the file is read: tables, bitmaps, what is free.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::path::Path;

use kvm_image::qcow2::{Map, data_outside, marked};
use kvm_wire::{BITMAP_PREFIX, Digest, GROUP_LEAVES, GROUP_SIZE, LEAF_SIZE, groups_in, leaves_in};
use serde::{Deserialize, Serialize};

use crate::failure::{Result, Trouble};
use crate::image::Image;
use crate::pass::{Piece, Run, pass};
use crate::peer::Peer;
use crate::saved;
use crate::tree::{Patch, Tree};

/// More parts of a disk are not kept: reading all is as quick.
const MOST_PARTS: usize = 1 << 16;
/// Bitmaps whose marks are kept.
const MOST_BITMAPS: usize = 4;
/// The file is no longer than this.
const MOST_BYTES: u64 = 16 << 20;

/// What the bitmaps of an image marked when its digests were computed.
#[derive(Debug, Serialize, Deserialize)]
struct Marks {
    /// The digest of the image; others mean that the marks belong to other digests.
    root: Digest,
    /// How large the disk was.
    disk: u64,
    /// What was marked, by the names of the bitmaps.
    bitmaps: BTreeMap<String, Vec<Range<u64>>>,
}

/// Saves what the bitmaps of an image mark, which nobody writes to, beside its digests. What is no qcow2 image, or has no
/// bitmaps, has nothing saved.
pub(crate) fn save(directory: &Path, image: &Image, root: Digest) -> Result<()> {
    let Some(identity) = image.identity()? else { return Ok(()) };
    let Ok(map) = Map::open(image.file()) else { return Ok(()) };
    let names = map.header().bitmaps.iter().map(|bitmap| &bitmap.name);
    let ours = names.filter(|name| name.starts_with(BITMAP_PREFIX)).take(MOST_BITMAPS);
    let marks = |name: &String| Some((name.clone(), marked(image.file(), name, MOST_PARTS).ok()??));
    let bitmaps: BTreeMap<_, _> = ours.filter_map(marks).collect();
    if bitmaps.is_empty() {
        return Ok(());
    }
    let marks = Marks { root, disk: map.header().virtual_size.get(), bitmaps };
    let wrong = |e: std::io::Error| Trouble::io("cannot save what changes", e);
    let bytes = serde_json::to_vec(&marks).map_err(|e| wrong(e.into()))?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(wrong)?;
    file.write_all(&bytes).map_err(wrong)?;
    file.persist(saved::path(directory, &identity, ".marks")).map_err(|e| wrong(e.error))?;
    Ok(())
}

/// The digests of an image that has changed since some were saved, and how many bytes were not read for that; `None` when
/// nothing says what has changed.
pub(crate) fn scan(image: &Image, directory: &Path, peer: &Peer) -> Result<Option<(Tree, u64)>> {
    let Some(old) = saved::load_old(directory, image)? else { return Ok(None) };
    let Some(unchanged) = unchanged(image, directory, &old)? else { return Ok(None) };
    let length = image.length();
    let mut patch = Patch::new(old, directory, length)?;
    let mut progress = peer.progress(length);
    let nothing = || Ok(|_: Run<'_>| Ok(()));
    pass(image, peer, unchanged.others(length).map(Ok), nothing, |piece, leaves| {
        patch.set(piece.start / LEAF_SIZE, leaves)?;
        progress.add(piece.end - piece.start)
    })?;
    Ok(Some((patch.finish()?, unchanged.count * LEAF_SIZE)))
}

/// The leaves that are what they were, as far as a bitmap can tell.
fn unchanged(image: &Image, directory: &Path, old: &Tree) -> Result<Option<Leaves>> {
    let Some(identity) = image.identity()? else { return Ok(None) };
    let path = saved::path(directory, &identity, ".marks");
    let Some(marks) = read(&path).filter(|marks| marks.root == old.root) else { return Ok(None) };
    let file = image.file();
    // What cannot be understood is read as a whole.
    if !Map::open(file).is_ok_and(|map| map.header().virtual_size.get() == marks.disk) {
        return Ok(None);
    }
    let changed = marks.bitmaps.iter().filter_map(|(name, then)| {
        let now = marked(file, name, MOST_PARTS).ok()??;
        Some(union(then, &now))
    });
    let total = |parts: &Vec<Range<u64>>| parts.iter().map(|part| part.end - part.start).sum::<u64>();
    let Some(changed) = changed.min_by_key(total) else { return Ok(None) };
    let mut leaves = Leaves::new(image.length());
    let whole = image.length().min(old.length);
    let Ok(parts) = data_outside(file, &changed) else { return Ok(None) };
    for part in parts {
        let Ok(part) = part else { return Ok(None) };
        leaves.add(part.start.div_ceil(LEAF_SIZE)..part.end.min(whole) / LEAF_SIZE);
    }
    Ok(Some(leaves))
}

fn read(path: &Path) -> Option<Marks> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What is in either, in order and apart from each other.
fn union(a: &[Range<u64>], b: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut all: Vec<_> = a.iter().chain(b).cloned().collect();
    all.sort_by_key(|part| part.start);
    let mut parts: Vec<Range<u64>> = Vec::new();
    for part in all {
        match parts.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => parts.push(part),
        }
    }
    parts
}

/// A set of leaves, a bit for each.
struct Leaves {
    bits: Vec<u64>,
    count: u64,
}

impl Leaves {
    fn new(length: u64) -> Self {
        Self { bits: vec![0; leaves_in(length).div_ceil(64) as usize], count: 0 }
    }

    fn has(&self, leaf: u64) -> bool {
        self.bits.get((leaf / 64) as usize).is_some_and(|bits| bits >> (leaf % 64) & 1 != 0)
    }

    fn add(&mut self, leaves: Range<u64>) {
        for leaf in leaves.filter(|leaf| !self.has(*leaf)).collect::<Vec<_>>() {
            if let Some(bits) = self.bits.get_mut((leaf / 64) as usize) {
                *bits |= 1 << (leaf % 64);
                self.count += 1;
            }
        }
    }

    /// The parts of the file between these leaves, each in one group.
    fn others(&self, length: u64) -> impl Iterator<Item = Piece> + Send + '_ {
        (0..groups_in(length)).flat_map(move |group| {
            let first = group * GROUP_LEAVES;
            let last = (first + GROUP_LEAVES).min(leaves_in(length));
            let mut at = first;
            std::iter::from_fn(move || {
                at = (at..last).find(|leaf| !self.has(*leaf))?;
                let end = (at..last).find(|leaf| self.has(*leaf)).unwrap_or(last);
                let start = std::mem::replace(&mut at, end) * LEAF_SIZE;
                Some(Piece { start, end: (end * LEAF_SIZE).min(length).min((group + 1) * GROUP_SIZE) })
            })
        })
    }
}
