//! What a sparse extent has at a place of the disk, compressed or not.

use super::{AT_END, MAGIC, SECTOR};
use crate::disk::{Packing, Piece};
use crate::read::{Fields, fill};
use crate::{Format, ImageError, ReadAt};

/// How much of a table is in memory at once, in bytes.
const SLICE: usize = 64 << 10;
/// More entries in one table has no writer, and QEMU reads none.
const TABLE_MAX: u64 = 512;
/// As far as grains go that are worth compressing: 2 MiB.
const GRAIN_MAX: u64 = 4096;

const COMPRESSED: u32 = 1 << 16;
const MARKERS: u32 = 1 << 17;
const DEFLATE: u16 = 1;
/// An entry that says zero by itself, where the header allows it.
const ZEROED: u64 = 1;
/// A marker's address and length, in front of what it announces.
const MARKER: u64 = 12;

/// The data of an extent, looked up by its place on the disk.
pub(crate) struct Data<'a> {
    source: &'a dyn ReadAt,
    size: u64,
    /// In bytes.
    grain: u64,
    per_table: u64,
    directory: u64,
    is_compressed: bool,
    directory_slice: Slice,
    table_slice: Slice,
}

#[derive(Default)]
struct Slice {
    start: u64,
    bytes: Vec<u8>,
}

impl Slice {
    /// The entry at `at`; behind the end of the file it is 0.
    fn entry(&mut self, source: &dyn ReadAt, at: u64) -> Result<u64, ImageError> {
        if at < self.start || at + 4 > self.start + self.bytes.len() as u64 {
            self.bytes.resize(SLICE, 0);
            let read = fill(source, at, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = at;
        }
        Ok(Fields(&self.bytes).le32(usize::try_from(at - self.start).unwrap_or(usize::MAX)).into())
    }
}

fn damaged(what: impl Into<String>) -> ImageError {
    ImageError::Damaged { format: Format::Vmdk, what: what.into() }
}

impl<'a> Data<'a> {
    pub(crate) fn open(source: &'a dyn ReadAt) -> Result<Self, ImageError> {
        let mut head = [0; 512];
        fill(source, 0, &mut head)?;
        let fields = Fields(&head);
        if !fields.has(0, MAGIC) {
            return Err(damaged("it is not a sparse extent"));
        }
        let (flags, capacity, grain) = (fields.le32(8), fields.le64(12), fields.le64(20));
        let per_table = u64::from(fields.le32(44));
        let mut directory = fields.le64(56);
        if directory == AT_END {
            let length = source.len().map_err(|source| ImageError::Read { offset: 0, source })?;
            let mut footer = [0; 512];
            fill(source, length.saturating_sub(2 * SECTOR), &mut footer)?;
            if !Fields(&footer).has(0, MAGIC) {
                return Err(damaged("it has no footer"));
            }
            directory = Fields(&footer).le64(56);
        }
        let is_compressed = flags & COMPRESSED != 0;
        if is_compressed && (flags & MARKERS == 0 || fields.le16(77) != DEFLATE) {
            return Err(damaged("it is compressed in a way that is not known"));
        }
        if grain == 0 || grain > GRAIN_MAX || per_table == 0 || per_table > TABLE_MAX {
            return Err(damaged(format!("grains of {grain} sectors, {per_table} of them in a table")));
        }
        let bytes = |sectors: u64| sectors.checked_mul(SECTOR).ok_or_else(|| damaged(format!("{sectors} sectors")));
        Ok(Self {
            source,
            size: bytes(capacity)?,
            grain: grain * SECTOR,
            per_table,
            directory: bytes(directory)?,
            is_compressed,
            directory_slice: Slice::default(),
            table_slice: Slice::default(),
        })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// What is at `offset`, and how far that reaches.
    pub(crate) fn piece(&mut self, offset: u64) -> Result<(Piece, u64), ImageError> {
        let (index, within) = (offset / self.grain, offset % self.grain);
        let of_table = index % self.per_table;
        let at = (index / self.per_table).saturating_mul(4).saturating_add(self.directory);
        let table = self.directory_slice.entry(self.source, at)?;
        if table == 0 {
            return Ok((Piece::Absent, (self.per_table - of_table) * self.grain - within));
        }
        let entry = self.table_slice.entry(self.source, table * SECTOR + of_table * 4)?;
        let rest = self.grain - within;
        let host = entry * SECTOR;
        match entry {
            0 => Ok((Piece::Absent, rest)),
            ZEROED => Ok((Piece::Zero, rest)),
            _ if self.is_compressed => self.packed(host, offset - within).map(|piece| (piece, rest)),
            _ => Ok((Piece::Plain { host: host + within }, rest)),
        }
    }

    /// The grain that a marker announces.
    fn packed(&self, host: u64, start: u64) -> Result<Piece, ImageError> {
        let mut marker = [0; MARKER as usize];
        let read = fill(self.source, host, &mut marker)?;
        let (sector, length) = (Fields(&marker).le64(0), u64::from(Fields(&marker).le32(8)));
        if read < marker.len() || sector.checked_mul(SECTOR) != Some(start) || length == 0 || length > 2 * self.grain {
            return Err(damaged(format!("at {start} of the disk there is another grain than its table says")));
        }
        Ok(Piece::Packed { start, size: self.grain, host: host + MARKER, length, packing: Packing::Zlib })
    }
}
