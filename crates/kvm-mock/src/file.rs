//! Files of the simulated host: sparse, so that a disk of a terabyte costs what was written to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

/// A file of the simulated host. What was never written reads as zeros and takes no space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SparseFile {
    length: u64,
    mode: u32,
    /// Space that is set aside for what will be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    reserved: u64,
    /// What was written, by offset; neighbours neither overlap nor touch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "hex_extents")]
    extents: BTreeMap<u64, Vec<u8>>,
    /// What a qcow2 image holds beside its present content: internal snapshots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    kept: BTreeMap<String, Kept>,
}

/// A part of a file, with its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It was written.
    Data(u64),
    /// It was not.
    Hole(u64),
}

/// Content that an image had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    length: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "hex_extents")]
    extents: BTreeMap<u64, Vec<u8>>,
    /// Space for the memory of the machine beside it.
    memory: u64,
}

/// The unit in which changes are counted, and the first of which is an image's header.
pub(crate) const CLUSTER: u64 = 1 << crate::image::CLUSTER_BITS;

impl SparseFile {
    /// A hole of this length.
    pub(crate) fn hole(length: u64) -> Self {
        Self { length, mode: 0o600, ..Self::default() }
    }

    /// Sets space aside: the file takes at least so much.
    pub(crate) fn reserving(mut self, bytes: u64) -> Self {
        self.reserved = bytes;
        self
    }

    /// A file with this content.
    pub(crate) fn of(data: &[u8], mode: u32) -> Self {
        let mut file = Self { mode, ..Self::default() };
        file.write(0, data);
        file
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Space that it takes.
    pub(crate) fn allocated(&self) -> u64 {
        // What is still as it was then takes no space of its own.
        let kept = self.kept.values().map(|kept| match kept.extents == self.extents {
            true => kept.memory,
            false => kept.memory + written(&kept.extents),
        });
        written(&self.extents).max(self.reserved) + kept.sum::<u64>()
    }

    /// Keeps the present content under a name, with so much memory beside it.
    pub(crate) fn keep(&mut self, name: &str, memory: u64) {
        let kept = Kept { length: self.length, extents: self.extents.clone(), memory };
        self.kept.insert(name.to_owned(), kept);
    }

    /// Whether there is content under this name.
    pub(crate) fn has_kept(&self, name: &str) -> bool {
        self.kept.contains_key(name)
    }

    /// Has the content again that was kept under this name.
    pub(crate) fn put_back(&mut self, name: &str) {
        if let Some(kept) = self.kept.get(name) {
            (self.length, self.extents) = (kept.length, kept.extents.clone());
        }
    }

    /// Drops what was kept under this name.
    pub(crate) fn forget(&mut self, name: &str) {
        self.kept.remove(name);
    }

    /// What was written behind an image's header, by offset.
    pub(crate) fn data(&self) -> Vec<(u64, Vec<u8>)> {
        let behind = |(start, data): (&u64, &Vec<u8>)| {
            let skip = usize::try_from(CLUSTER.saturating_sub(*start)).ok()?;
            Some((start + skip as u64, data.get(skip..)?.to_vec())).filter(|(_, data)| !data.is_empty())
        };
        self.extents.iter().filter_map(behind).collect()
    }

    /// How much of the data differs from what it was, in whole clusters.
    pub(crate) fn changed_since(&self, before: &Self) -> u64 {
        let clusters = |file: &Self| {
            let spans = file.data().into_iter().map(|(start, data)| (start, start + data.len() as u64 - 1));
            spans.flat_map(|(first, last)| first / CLUSTER..=last / CLUSTER).collect::<BTreeSet<_>>()
        };
        let differs = |cluster: &&u64| {
            let read = |file: &Self| {
                let mut data = file.read(*cluster * CLUSTER, CLUSTER as usize);
                data.resize(CLUSTER as usize, 0);
                data
            };
            read(self) != read(before)
        };
        let all: BTreeSet<u64> = clusters(self).union(&clusters(before)).copied().collect();
        all.iter().filter(differs).count() as u64 * CLUSTER
    }

    /// Adds a hole at the end until it has this length.
    pub(crate) fn lengthen(&mut self, length: u64) {
        self.length = self.length.max(length);
    }

    /// The same with other permission bits.
    pub(crate) fn with_mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Makes a hole.
    pub(crate) fn clear(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length).min(self.length);
        let mut tail = self.clone();
        let length = self.length;
        self.truncate(offset);
        self.lengthen(length);
        tail.truncate(length);
        for (start, data) in tail.extents {
            let skip = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
            if let Some(rest) = data.get(skip..) {
                self.write(start.max(end), rest);
            }
        }
    }

    /// Permission bits.
    pub(crate) fn mode(&self) -> u32 {
        self.mode
    }

    /// What stands from `offset` on; shorter than asked at the end of the file.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let end = offset.saturating_add(length as u64).min(self.length);
        let Ok(length) = usize::try_from(end.saturating_sub(offset)) else { return Vec::new() };
        let mut out = vec![0; length];
        for (&start, data) in self.extents.range(..end) {
            let from = start.max(offset);
            let to = (start + data.len() as u64).min(end);
            if from < to {
                out[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&data[(from - start) as usize..(to - start) as usize]);
            }
        }
        out
    }

    /// What begins at this place, and how far it goes; `None` at the end of the file.
    pub(crate) fn extent_at(&self, offset: u64) -> Option<Extent> {
        if offset >= self.length {
            return None;
        }
        let before = self.extents.range(..=offset).next_back();
        let inside = before.map(|(start, data)| start + data.len() as u64).filter(|end| *end > offset);
        Some(match inside {
            Some(end) => Extent::Data(end.min(self.length) - offset),
            None => {
                let next = self.extents.range(offset..).next().map_or(self.length, |(start, _)| *start);
                Extent::Hole(next.min(self.length) - offset)
            }
        })
    }

    /// Cuts the file off at this length.
    pub(crate) fn truncate(&mut self, length: u64) {
        drop(self.extents.split_off(&length));
        if let Some((start, data)) = self.extents.iter_mut().next_back() {
            data.truncate(usize::try_from(length.saturating_sub(*start)).unwrap_or(usize::MAX));
        }
        self.length = self.length.min(length);
        self.reserved = self.reserved.min(length);
    }

    /// Writes, and makes the file longer where that reaches beyond its end.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = offset.saturating_add(data.len() as u64);
        // Everything that the new bytes overlap or touch becomes one extent with them.
        let first = self
            .extents
            .range(..=offset)
            .next_back()
            .filter(|(start, old)| **start + old.len() as u64 >= offset)
            .map_or(offset, |(start, _)| *start);
        let touched: Vec<u64> =
            self.extents.range((Bound::Included(first), Bound::Included(end))).map(|(start, _)| *start).collect();
        let mut merged = Vec::new();
        for start in touched {
            let old = self.extents.remove(&start).unwrap_or_default();
            place(&mut merged, (start - first) as usize, &old);
        }
        place(&mut merged, (offset - first) as usize, data);
        self.extents.insert(first, merged);
        self.length = self.length.max(end);
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn written(extents: &BTreeMap<u64, Vec<u8>>) -> u64 {
    extents.values().map(|data| data.len() as u64).sum()
}

fn place(buffer: &mut Vec<u8>, at: usize, data: &[u8]) {
    if buffer.len() < at + data.len() {
        buffer.resize(at + data.len(), 0);
    }
    buffer[at..at + data.len()].copy_from_slice(data);
}

/// Extents as hexadecimal text: JSON has no bytes.
mod hex_extents {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(extents: &BTreeMap<u64, Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(extents.iter().map(|(offset, data)| {
            let hex = data.iter().fold(String::with_capacity(data.len() * 2), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            (offset, hex)
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u64, Vec<u8>>, D::Error> {
        let texts = BTreeMap::<u64, String>::deserialize(from)?;
        texts
            .into_iter()
            .map(|(offset, hex)| Ok((offset, bytes(&hex).ok_or_else(|| D::Error::custom("not hexadecimal"))?)))
            .collect()
    }

    fn bytes(hex: &str) -> Option<Vec<u8>> {
        let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
        let digits = digits.filter(|d| d.len() % 2 == 0)?;
        Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sparse_file_reads_like_a_plain_one(
            writes in prop::collection::vec((0u64..200, prop::collection::vec(1u8.., 0..40)), 0..20),
            (offset, length) in (0u64..260, 0usize..260),
        ) {
            let (mut sparse, mut plain) = (SparseFile::hole(50), vec![0u8; 50]);
            for (at, data) in &writes {
                sparse.write(*at, data);
                if !data.is_empty() {
                    place(&mut plain, *at as usize, data);
                }
            }
            let end = plain.len().min(offset as usize + length);
            prop_assert_eq!(sparse.read(offset, length), plain.get(offset as usize..end).unwrap_or_default());
            prop_assert_eq!(sparse.len(), plain.len() as u64);
            let (mut at, mut walked) = (0, Vec::new());
            while let Some(extent) = sparse.extent_at(at) {
                match extent {
                    Extent::Data(length) => walked.extend(sparse.read(at, length as usize)),
                    Extent::Hole(length) => walked.resize(walked.len() + length as usize, 0),
                }
                at = walked.len() as u64;
            }
            prop_assert_eq!(&walked, &plain);
            let mut short = sparse.clone();
            short.truncate(offset);
            prop_assert_eq!(short.read(0, plain.len()), &plain[..plain.len().min(offset as usize)]);
            short.lengthen(plain.len() as u64);
            prop_assert!(short.read(offset, plain.len()).iter().all(|byte| *byte == 0));
            prop_assert_eq!(sparse.allocated(), plain.iter().filter(|b| **b != 0).count() as u64);
            let mut cleared = sparse.clone();
            cleared.clear(offset, length as u64);
            let mut zeroed = plain.clone();
            let end = plain.len().min(offset as usize + length);
            zeroed.get_mut(offset as usize..end).into_iter().flatten().for_each(|byte| *byte = 0);
            prop_assert_eq!(cleared.read(0, plain.len()), zeroed);
            prop_assert_eq!(cleared.len(), sparse.len());
            let text = serde_json::to_string(&sparse).unwrap();
            prop_assert_eq!(serde_json::from_str::<SparseFile>(&text).unwrap(), sparse);
        }
    }
}
