//! Whether the reference counts protect what is in use.

use serde::Serialize;

use super::header::Header;
use super::table::{Step, Tables, Target, damaged};
use crate::read::fill;
use crate::{ImageError, ReadAt};

/// How many findings are told in words.
const TOLD: usize = 16;

/// A page of the file, and how many are kept: 4 MiB.
const PAGE: usize = 4 << 10;
const PAGES: usize = 1024;

/// What a check of references found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// The clusters that the disk and its tables use.
    pub clusters: u64,
    /// The references that do not hold.
    pub errors: u64,
    /// The first of them, in words.
    pub findings: Vec<String>,
}

impl Verified {
    /// As a result: an image with errors is refused.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] with the first finding.
    pub fn into_result(self) -> Result<(), ImageError> {
        match self.findings.into_iter().next() {
            Some(first) => Err(damaged(format!("{first} ({} errors)", self.errors))),
            None => Ok(()),
        }
    }

    fn error(&mut self, what: String) {
        self.errors += 1;
        if self.findings.len() < TOLD {
            self.findings.push(what);
        }
    }
}

/// Follows every table and looks up the reference count of every cluster that the disk uses.
///
/// A cluster in use whose count is 0 would be given to somebody else by the next write; one that claims to be used once
/// but is counted more often would be overwritten for all who share it. Both are errors. Clusters that are counted but
/// not used only waste space, and internal snapshots are not followed: for these there is `qemu-img check`.
///
/// Takes a few MiB of memory; the time grows with the tables, not with the data.
///
/// # Errors
/// [`ImageError::Damaged`] when the tables cannot be followed to their end, as in a file that is cut off; and those of
/// [`Map::open`](super::Map::open).
pub fn verify(source: &dyn ReadAt) -> Result<Verified, ImageError> {
    let mut tables = Tables::open(source)?;
    let header = tables.header.clone();
    let mut counts = Counts::new(source, &header);
    let mut found = Verified::default();
    let cluster = header.cluster_size();
    let l1 = u64::from(header.l1_entries) * 8;
    let tables_of_file = [
        (0, cluster, "the header"),
        (header.l1_offset, l1, "the first-level table"),
        (
            header.refcount_table_offset,
            u64::from(header.refcount_table_clusters) * cluster,
            "the table of reference counts",
        ),
    ];
    for (offset, length, what) in tables_of_file {
        counts.expect(&mut found, offset, length, false, || what.to_owned())?;
    }
    loop {
        let guest = tables.position();
        let Some(step) = tables.step()? else { break };
        let (offset, length, copied, what) = match step {
            Step::Hole { .. } => continue,
            Step::Table { offset, copied } => (offset, cluster, copied, "the table of cluster"),
            // A data file is not counted.
            Step::Cluster { .. } if header.data_file.is_some() => continue,
            Step::Cluster { target, copied } => match target {
                Target::Unallocated | Target::Zero { host: None } | Target::Parts { host: 0, .. } => continue,
                Target::Data { host } | Target::Zero { host: Some(host) } | Target::Parts { host, .. } => {
                    (host, cluster, copied, "cluster")
                }
                Target::Compressed { host, length } => (host, length, false, "compressed cluster"),
            },
        };
        counts.expect(&mut found, offset, length, copied, || format!("{what} {guest} of the disk"))?;
    }
    Ok(found)
}

/// The reference counts of an image, with the pages of them that were read last.
struct Counts<'a> {
    source: &'a dyn ReadAt,
    header: &'a Header,
    /// Which page each slot has.
    pages: Vec<Option<u64>>,
    bytes: Vec<u8>,
}

impl<'a> Counts<'a> {
    fn new(source: &'a dyn ReadAt, header: &'a Header) -> Self {
        Self { source, header, pages: vec![None; PAGES], bytes: vec![0; PAGES * PAGE] }
    }

    /// Notes as an error when a cluster of this stretch is not counted, or counted too often for one that is written in
    /// place.
    fn expect(
        &mut self,
        found: &mut Verified,
        offset: u64,
        length: u64,
        once: bool,
        what: impl Fn() -> String,
    ) -> Result<(), ImageError> {
        let bits = self.header.cluster_bits;
        for cluster in offset >> bits..(offset + length).div_ceil(self.header.cluster_size()) {
            found.clusters += 1;
            match self.count(cluster)? {
                0 => found.error(format!("{} is in use, but not counted", what())),
                1 => {}
                many if once => found.error(format!("{} is written in place, but used {many} times", what())),
                _ => {}
            }
        }
        Ok(())
    }

    fn count(&mut self, cluster: u64) -> Result<u64, ImageError> {
        let bits = u64::from(self.header.refcount_bits);
        let per_block = self.header.cluster_size() * 8 / bits;
        let index = cluster / per_block;
        let table = u64::from(self.header.refcount_table_clusters) << self.header.cluster_bits;
        if index * 8 >= table {
            return Ok(0);
        }
        let block = self.number(self.header.refcount_table_offset + index * 8, 8)? & !0x1ff;
        if block == 0 {
            return Ok(0);
        }
        let is_inside = block.checked_add(self.header.cluster_size()).is_some_and(|end| end <= self.header.file_length);
        if !block.is_multiple_of(self.header.cluster_size()) || !is_inside {
            return Err(damaged(format!("block {index} of its reference counts is not inside the file")));
        }
        let bit = cluster % per_block * bits;
        if bits >= 8 {
            return self.number(block + bit / 8, bits / 8);
        }
        // Several to a byte, the first in the lowest bits.
        let byte = self.number(block + bit / 8, 1)?;
        Ok(byte >> (bit % 8) & ((1 << bits) - 1))
    }

    /// The number of so many bytes at an offset that is a multiple of them.
    fn number(&mut self, offset: u64, length: u64) -> Result<u64, ImageError> {
        let (page, within) = (offset / PAGE as u64, (offset % PAGE as u64) as usize);
        let slot = (page % PAGES as u64) as usize;
        let bytes = &mut self.bytes[slot * PAGE..(slot + 1) * PAGE];
        if self.pages[slot] != Some(page) {
            // Not known while it is being read: an error must not leave half a page behind.
            self.pages[slot] = None;
            bytes.fill(0);
            fill(self.source, page * PAGE as u64, bytes)?;
            self.pages[slot] = Some(page);
        }
        let bytes = bytes.get(within..within + length as usize).unwrap_or_default();
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}
