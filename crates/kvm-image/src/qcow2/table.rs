//! The tables of an image, walked entry by entry in bounded memory and time.

use super::header::Header;
use crate::read::{Fault, Fields, READ_MAX, Source, fill};
use crate::{Format, ImageError, ReadAt, Risk};

/// How much of a table is in memory at once, in bytes.
const SLICE: u64 = 64 << 10;

/// Where an entry points.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// Whoever writes may write in place: nothing else refers to it.
const COPIED: u64 = 1 << 63;
const ZERO: u64 = 1;

/// What is met on the way through the tables, in the order of the guest's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many clusters without a table.
    Hole { clusters: u64 },
    /// A second-level table begins.
    Table { offset: u64, copied: bool },
    /// A cluster of the disk.
    Cluster { target: Target, copied: bool },
}

/// What a cluster of the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Not here; the image below has it, or it is zero.
    Unallocated,
    /// Zero; perhaps with a place to write to.
    Zero { host: Option<u64> },
    /// At this place.
    Data { host: u64 },
    /// Compressed, at this place and of at most this length.
    Compressed { host: u64, length: u64 },
    /// Each of 32 parts by itself: allocated or zero by their bits, at this place.
    Parts { host: u64, allocated: u32, zero: u32 },
}

/// A walk through the tables of an image.
pub(super) struct Tables<'a> {
    pub(super) bytes: &'a dyn ReadAt,
    pub(super) header: Header,
    /// The next cluster of the disk, and how many there are.
    next: u64,
    end: u64,
    l1: Slice,
    l2: Slice,
    /// The table that belongs to `next`, once it was looked up.
    table: Option<u64>,
    /// The number and the place of the table that was looked up last.
    entered: (u64, u64),
    /// What the second-level tables may still take. They all have their own place in the file, so together they are not
    /// longer than it; without this limit, entries that all name one table would be read for hours.
    left: u64,
}

/// A part of a table.
#[derive(Default)]
struct Slice {
    start: u64,
    bytes: Vec<u8>,
}

impl Slice {
    /// The entry at `at`, which is in the table from `start` to `end`.
    fn entry<const N: usize>(&mut self, from: &dyn ReadAt, at: u64, end: u64) -> Result<[u8; N], ImageError> {
        let is_here = at >= self.start && at + N as u64 <= self.start + self.bytes.len() as u64;
        if !is_here {
            let length = usize::try_from(SLICE.min(end - at)).unwrap_or(N);
            self.bytes.resize(length, 0);
            let read = fill(from, at, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = at;
        }
        let at = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(Fields(&self.bytes).array(at))
    }
}

/// An image whose tables cannot be followed.
pub(super) fn damaged(what: impl Into<String>) -> ImageError {
    ImageError::Damaged { format: Format::Qcow2, what: what.into() }
}

impl<'a> Tables<'a> {
    pub(super) fn open(bytes: &'a dyn ReadAt) -> Result<Self, ImageError> {
        let mut source = Source::new(bytes, READ_MAX)?;
        let header = match Header::read(&mut source) {
            Ok(header) => header,
            Err(Fault::Source(error)) => return Err(error),
            Err(Fault::Malformed(what)) => return Err(damaged(what)),
            Err(Fault::Unsupported(what)) => {
                return Err(ImageError::Refused { risks: vec![Risk::Unsupported { what }] });
            }
        };
        let unknown = header.unknown_features();
        if !unknown.is_empty() {
            return Err(ImageError::Refused { risks: unknown });
        }
        let end = header.virtual_size.get().div_ceil(header.cluster_size());
        let left = header.file_length.next_multiple_of(header.cluster_size());
        let (l1, l2, entered) = (Slice::default(), Slice::default(), (u64::MAX, 0));
        Ok(Self { bytes, header, next: 0, end, l1, l2, table: None, entered, left })
    }

    /// Goes on at another cluster. Whoever goes back to another table begins a new walk under the same limit.
    pub(super) fn seek(&mut self, cluster: u64) {
        if cluster == self.next {
            return;
        }
        let table = cluster / self.header.l2_entries();
        let is_entered = self.entered.0 == table;
        if !is_entered && cluster < self.next {
            self.left = self.header.file_length.next_multiple_of(self.header.cluster_size());
        }
        self.table = is_entered.then_some(self.entered.1);
        self.next = cluster;
    }

    /// The cluster of the disk that the next step is about.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    pub(super) fn step(&mut self) -> Result<Option<Step>, ImageError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let per_table = self.header.l2_entries();
        let Some(table) = self.table else { return self.enter(per_table).map(Some) };
        let size = self.header.l2_entry_size();
        let at = table + (self.next % per_table) * size;
        let entry = if size == 16 {
            let entry: [u8; 16] = self.l2.entry(self.bytes, at, table + self.header.cluster_size())?;
            (Fields(&entry).be64(0), Some(Fields(&entry).be64(8)))
        } else {
            let entry: [u8; 8] = self.l2.entry(self.bytes, at, table + self.header.cluster_size())?;
            (u64::from_be_bytes(entry), None)
        };
        let target = self.target(entry.0, entry.1)?;
        self.next += 1;
        if self.next.is_multiple_of(per_table) {
            self.table = None;
        }
        Ok(Some(Step::Cluster { target, copied: entry.0 & COPIED != 0 }))
    }

    /// Looks up the table of the next cluster.
    fn enter(&mut self, per_table: u64) -> Result<Step, ImageError> {
        let index = self.next / per_table;
        let start = self.header.l1_offset;
        let end = start + u64::from(self.header.l1_entries) * 8;
        let entry = u64::from_be_bytes(self.l1.entry(self.bytes, start + index * 8, end)?);
        let offset = entry & OFFSET;
        if offset == 0 {
            let clusters = (per_table - self.next % per_table).min(self.end - self.next);
            self.next += clusters;
            return Ok(Step::Hole { clusters });
        }
        let cluster = self.header.cluster_size();
        if !offset.is_multiple_of(cluster) || offset + cluster > self.header.file_length {
            return Err(damaged(format!("second-level table {index} is not inside the file")));
        }
        self.left = self.left.checked_sub(cluster).ok_or_else(|| damaged("its second-level tables overlap"))?;
        self.table = Some(offset);
        self.entered = (index, offset);
        Ok(Step::Table { offset, copied: entry & COPIED != 0 })
    }

    fn target(&self, entry: u64, parts: Option<u64>) -> Result<Target, ImageError> {
        let (header, guest) = (&self.header, self.next);
        let wrong = |what: &str| damaged(format!("cluster {guest} of the disk {what}"));
        if entry & COMPRESSED != 0 {
            let bits = 62 - (header.cluster_bits - 8);
            let host = entry & ((1 << bits) - 1);
            let sectors = ((entry & (COMPRESSED - 1)) >> bits) + 1;
            let length = sectors * 512 - host % 512;
            if header.data_file.is_some() || parts.is_some_and(|parts| parts != 0) {
                return Err(wrong("is compressed where nothing can be"));
            }
            // The last one may end within a sector that the file does not have as a whole.
            let is_inside = host < header.file_length && host + length <= header.file_length.next_multiple_of(512);
            return if is_inside {
                Ok(Target::Compressed { host, length })
            } else {
                Err(wrong("is beyond the end of the file"))
            };
        }
        let host = entry & OFFSET;
        if !host.is_multiple_of(header.cluster_size()) {
            return Err(wrong("is not at the beginning of a cluster of the file"));
        }
        // In a data file the first cluster has the offset 0 as well.
        let is_somewhere = host != 0 || (header.data_file.is_some() && entry & COPIED != 0);
        let target = match parts {
            Some(parts) => {
                let (allocated, zero) = (low(parts), low(parts >> 32));
                if allocated & zero != 0 || (allocated != 0 && !is_somewhere) {
                    return Err(wrong("has parts that contradict each other"));
                }
                Target::Parts { host, allocated, zero }
            }
            None if entry & ZERO != 0 && header.version < 3 => return Err(wrong("is zero in a way of version 3")),
            None if entry & ZERO != 0 => Target::Zero { host: is_somewhere.then_some(host) },
            None if is_somewhere => Target::Data { host },
            None => Target::Unallocated,
        };
        let seen = header.virtual_size.get().saturating_sub(guest << header.cluster_bits).min(header.cluster_size());
        let needed = match target {
            Target::Data { .. } => seen,
            Target::Parts { allocated, .. } if allocated != 0 => {
                let part = header.cluster_size() / 32;
                seen.min(u64::from(32 - allocated.leading_zeros()) * part)
            }
            _ => 0,
        };
        if needed > 0 && header.data_file.is_none() && host + needed > header.file_length {
            return Err(wrong("is beyond the end of the file"));
        }
        Ok(target)
    }
}

/// The lower half.
fn low(bits: u64) -> u32 {
    (bits & u64::from(u32::MAX)) as u32
}
