//! What bitmaps mark, and where the data of the rest of the disk is.

use std::ops::Range;

use super::header::Header;
use super::map::{Extent, ExtentKind, Map};
use super::snapshot::Bitmap;
use super::table::damaged;
use crate::read::fill;
use crate::{ImageError, ReadAt};

/// Of the autoclear bits: nobody has written to the image who does not know bitmaps.
const BITMAPS_HOLD: u64 = 1;

/// Of an entry of a bitmap's table: where its part of the bits is.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Of an entry without an offset: all bits are set.
const ALL_ONES: u64 = 1;

/// Granularities that QEMU makes: 512 bytes to 2 GiB.
const GRANULARITY: std::ops::RangeInclusive<u8> = 9..=31;

/// The parts of the disk that a bitmap marks: in order, not empty, and apart from each other.
///
/// `None` when the bitmap says nothing: it is not there, was not closed properly, does not record all changes, or somebody
/// wrote to the image who does not know bitmaps; and when there are more than `most` parts.
///
/// # Errors
/// Those of [`Map::open`]; [`ImageError::Damaged`] when the bitmap's table is not what the specification says.
pub fn marked(source: &dyn ReadAt, name: &str, most: usize) -> Result<Option<Vec<Range<u64>>>, ImageError> {
    let map = Map::open(source)?;
    let header = map.header();
    let found = header.bitmaps.iter().find(|bitmap| bitmap.name == name && bitmap.auto && !bitmap.in_use);
    match found.filter(|_| header.autoclear & BITMAPS_HOLD != 0) {
        Some(bitmap) => read(source, header, bitmap, most),
        None => Ok(None),
    }
}

fn read(
    source: &dyn ReadAt,
    header: &Header,
    bitmap: &Bitmap,
    most: usize,
) -> Result<Option<Vec<Range<u64>>>, ImageError> {
    let wrong = |what: &str| damaged(format!("bitmap {} {what}", bitmap.name));
    let (size, cluster) = (header.virtual_size.get(), header.cluster_size());
    if !GRANULARITY.contains(&bitmap.granularity_bits) {
        return Err(wrong("has a granularity that nobody makes"));
    }
    let granularity = 1 << bitmap.granularity_bits;
    // How much of the disk one cluster of bits stands for.
    let reach = cluster * 8 * granularity;
    let (table, entries) = (bitmap.table_offset, u64::from(bitmap.table_entries));
    let end = table.checked_add(entries * 8).filter(|end| *end <= header.file_length);
    if entries != size.div_ceil(reach) || !table.is_multiple_of(cluster) || end.is_none() {
        return Err(wrong("has a table that does not fit"));
    }
    let mut marks = Marks { parts: Vec::new(), size };
    let mut bits = vec![0; usize::try_from(cluster).unwrap_or(usize::MAX)];
    for index in 0..entries {
        let mut entry = [0; 8];
        fill(source, table + index * 8, &mut entry)?;
        let entry = u64::from_be_bytes(entry);
        let start = index * reach;
        match (entry & OFFSET, entry & ALL_ONES) {
            (0, 0) => {}
            (0, _) => marks.add(start, reach),
            (offset, _) => {
                let is_inside = offset.checked_add(cluster).is_some_and(|end| end <= header.file_length);
                if !is_inside || !offset.is_multiple_of(cluster) {
                    return Err(wrong("has bits outside of the file"));
                }
                bits.fill(0);
                fill(source, offset, &mut bits)?;
                for (byte, value) in (0_u64..).zip(&bits).filter(|(_, value)| **value != 0) {
                    for bit in (0..8).filter(|bit| value >> bit & 1 != 0) {
                        marks.add(start + (byte * 8 + bit) * granularity, granularity);
                    }
                }
            }
        }
        if marks.parts.len() > most {
            return Ok(None);
        }
    }
    Ok(Some(marks.parts))
}

struct Marks {
    parts: Vec<Range<u64>>,
    size: u64,
}

impl Marks {
    /// Marks come in their order.
    fn add(&mut self, start: u64, length: u64) {
        let end = start.saturating_add(length).min(self.size);
        match self.parts.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ if start < end => self.parts.push(start..end),
            _ => {}
        }
    }
}

/// Where the image has the data of the disk that lies outside of some parts of it, as parts of the file in the order of
/// the disk. A cluster that one of the parts touches counts to it as a whole, for a write may have moved it.
///
/// Compressed data is left out, and so is all of an image whose data is in another file or that has internal snapshots,
/// between which a disk changes without any write.
///
/// # Errors
/// Those of [`Map`], each ending it.
pub fn data_outside<'a>(
    source: &'a dyn ReadAt,
    parts: &'a [Range<u64>],
) -> Result<impl Iterator<Item = Result<Range<u64>, ImageError>> + 'a, ImageError> {
    let map = Map::open(source)?;
    let header = map.header();
    let cluster = header.cluster_size();
    let holds = header.data_file.is_none() && header.snapshot_count == 0;
    let mut rest = parts;
    let outside = move |extent: Extent| {
        let (Extent { start, length, kind: ExtentKind::Data { host } }, true) = (extent, holds) else {
            return Vec::new();
        };
        let (mut at, end) = (start.get(), start.get() + length.get());
        let host = |disk: u64| host.get() + (disk - start.get());
        let mut found = Vec::new();
        while at < end {
            // What ends before can matter to nothing that follows.
            let past = rest.iter().take_while(|part| part.end.next_multiple_of(cluster) <= at).count();
            rest = &rest[past..];
            let next = rest
                .first()
                .map_or(end..end, |part| part.start / cluster * cluster..part.end.next_multiple_of(cluster));
            let until = next.start.clamp(at, end);
            if until > at {
                found.push(host(at)..host(until));
            }
            at = if next.start >= end { end } else { next.end.max(at) };
        }
        found
    };
    let mut outside = outside;
    Ok(map.flat_map(move |extent| match extent {
        Ok(extent) => outside(extent).into_iter().map(Ok).collect::<Vec<_>>(),
        Err(e) => vec![Err(e)],
    }))
}
