//! The lists of internal snapshots and of bitmaps.

use serde::Serialize;

use crate::read::{Fault, Fields, Source, malformed};

/// As many as QEMU takes.
const SNAPSHOTS_MAX: u32 = 65_536;
const BITMAPS_MAX: u32 = 65_535;

/// How much of each list is read, in bytes. Names are for people; the counts are complete.
const LIST_MAX: u64 = 256 << 10;

/// What an entry may carry besides its name. QEMU writes 24 bytes.
const EXTRA_MAX: u64 = 1024;

/// An internal snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// QEMU's own number of it.
    pub id: String,
    /// The name that somebody gave to it.
    pub name: String,
    /// The size of the machine's saved memory, in bytes.
    pub vm_state: u64,
    /// When it was made, in seconds since 1970.
    pub seconds: u32,
}

/// A bitmap of what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Bitmap {
    /// Its name.
    pub name: String,
    /// It was not closed properly, so its contents mean nothing.
    pub in_use: bool,
    /// Changes are recorded whenever the image is open.
    pub auto: bool,
    /// Each bit stands for 2 to this power bytes.
    pub granularity_bits: u8,
    /// Where the table is that names the parts of its bits.
    #[serde(skip)]
    pub table_offset: u64,
    /// The number of its entries.
    #[serde(skip)]
    pub table_entries: u32,
}

pub(super) fn snapshots(
    source: &mut Source<'_>,
    count: u32,
    offset: u64,
    cluster: u64,
) -> Result<Vec<Snapshot>, Fault> {
    if count > SNAPSHOTS_MAX {
        return Err(malformed(format!("it has {count} snapshots")));
    }
    list(source, (count, offset, cluster), "the list of snapshots", |entry| {
        let fields = Fields(entry);
        let (id, name) = (u64::from(fields.be16(12)), u64::from(fields.be16(14)));
        let extra = u64::from(fields.be32(36));
        Shape { head: 40, extra, text: id + name }.check(entry, |texts, extra| {
            let (id, name) = texts.split_at(usize::try_from(id).unwrap_or(texts.len()).min(texts.len()));
            // The larger field of version 3, where there is one.
            let vm_state = if extra.len() >= 8 { Fields(extra).be64(0) } else { fields.be32(32).into() };
            Snapshot { id: lossy(id), name: lossy(name), vm_state, seconds: fields.be32(16) }
        })
    })
}

pub(super) fn bitmaps(
    source: &mut Source<'_>,
    extension: Fields<'_>,
    cluster: u64,
) -> Result<(u32, Vec<Bitmap>), Fault> {
    let (count, offset) = (extension.be32(0), extension.be64(16));
    if count > BITMAPS_MAX {
        return Err(malformed(format!("it has {count} bitmaps")));
    }
    let bitmaps = list(source, (count, offset, cluster), "the list of bitmaps", |entry| {
        let fields = Fields(entry);
        let flags = fields.be32(12);
        let shape = Shape { head: 24, extra: fields.be32(20).into(), text: fields.be16(18).into() };
        shape.check(entry, |name, _extra| Bitmap {
            name: lossy(name),
            in_use: flags & 1 != 0,
            auto: flags & 2 != 0,
            granularity_bits: fields.array::<1>(17)[0],
            table_offset: fields.be64(0),
            table_entries: fields.be32(8),
        })
    })?;
    Ok((count, bitmaps))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The parts of an entry, by their lengths: fixed fields, extra data, text.
struct Shape {
    head: u64,
    extra: u64,
    text: u64,
}

/// An entry and its length; `None` when it reaches behind what was read.
type Entry<T> = Result<Option<(T, usize)>, Fault>;

impl Shape {
    fn check<T>(self, entry: &[u8], make: impl FnOnce(&[u8], &[u8]) -> T) -> Entry<T> {
        let Self { head, extra, text } = self;
        if extra > EXTRA_MAX {
            return Err(malformed(format!("an entry of a list has {extra} bytes of extra data")));
        }
        let at = |offset: u64| usize::try_from(offset).ok();
        let part = |start: u64, length: u64| entry.get(at(start)?..at(start + length)?);
        let (Some(extra_data), Some(texts)) = (part(head, extra), part(head + extra, text)) else { return Ok(None) };
        let length = at((head + extra + text).next_multiple_of(8));
        Ok(length.map(|length| (make(texts, extra_data), length)))
    }
}

/// The entries at `offset`, as many as were read of `count`.
fn list<T>(
    source: &mut Source<'_>,
    (count, offset, cluster): (u32, u64, u64),
    what: &str,
    entry: impl Fn(&[u8]) -> Entry<T>,
) -> Result<Vec<T>, Fault> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if offset == 0 || !offset.is_multiple_of(cluster) || offset >= source.length {
        return Err(malformed(format!("{what} is not inside the file")));
    }
    let bytes = source.some(offset, LIST_MAX, what)?;
    let was_cut = bytes.len() as u64 == LIST_MAX;
    let (mut entries, mut at) = (Vec::new(), 0);
    for _ in 0..count {
        match entry(bytes.get(at..).unwrap_or_default())? {
            Some((read, length)) => {
                entries.push(read);
                at += length;
            }
            None if was_cut => break,
            None => return Err(malformed(format!("{what} is beyond the end of the file"))),
        }
    }
    Ok(entries)
}
