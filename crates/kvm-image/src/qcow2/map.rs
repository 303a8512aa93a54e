//! Which parts of the disk are where.

use kvm_core::Bytes;
use serde::Serialize;

use super::header::Header;
use super::table::{Step, Tables, Target};
use crate::{ImageError, ReadAt};

/// A part of the guest's disk that is of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Where it begins on the disk.
    pub start: Bytes,
    /// How long it is; never 0.
    pub length: Bytes,
    /// What is there.
    #[serde(flatten)]
    pub kind: ExtentKind,
}

/// What is in a part of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExtentKind {
    /// Nothing in this image: the one below has it, and without one it is zero.
    Unallocated,
    /// Zeros, whatever the image below has.
    Zero,
    /// Data, in one piece.
    Data {
        /// Where it begins in the image, or in its data file.
        host: Bytes,
    },
    /// Compressed data.
    Compressed,
}

/// The map of a qcow2 image: its disk from the beginning to the end, as extents that touch and do not overlap.
///
/// It is read as it is asked for and takes less than 1 MiB of memory, however large the image is. An error ends it.
///
/// ```no_run
/// # fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// let image = std::fs::File::open("disk.qcow2")?;
/// for extent in kvm_image::qcow2::Map::open(&image)? {
///     let extent = extent?;
///     println!("{:#} {:#} {:?}", extent.start, extent.length, extent.kind);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Map<'a> {
    tables: Tables<'a>,
    /// The parts of a cluster that are still to be told.
    parts: Option<Parts>,
    /// What may grow by the next piece.
    held: Option<Extent>,
    over: bool,
}

/// A cluster of 32 parts, and the next of them.
struct Parts {
    start: u64,
    host: u64,
    allocated: u32,
    zero: u32,
    next: u32,
}

impl<'a> Map<'a> {
    /// Begins at the start of the disk.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when it is not a qcow2 image that can be read, [`ImageError::Refused`] for features that are
    /// not known, [`ImageError::Read`] for those of the source.
    pub fn open(source: &'a dyn ReadAt) -> Result<Self, ImageError> {
        Ok(Self { tables: Tables::open(source)?, parts: None, held: None, over: false })
    }

    /// The header of the image.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.tables.header
    }

    /// The next piece as the tables have it: a hole, a cluster, or a part of one.
    fn piece(&mut self) -> Result<Option<Extent>, ImageError> {
        let cluster = self.tables.header.cluster_size();
        loop {
            if let Some(piece) = self.parts.as_mut().and_then(|parts| parts.piece(cluster / 32)) {
                return Ok(self.cut(piece.0, cluster / 32, piece.1));
            }
            self.parts = None;
            let start = self.tables.position().saturating_mul(cluster);
            let Some(step) = self.tables.step()? else { return Ok(None) };
            let raw = self.tables.header.has_raw_data_file();
            let at = |host| ExtentKind::Data { host: Bytes::new(if raw { start } else { host }) };
            let (length, kind) = match step {
                Step::Table { .. } => continue,
                Step::Hole { clusters } => (clusters.saturating_mul(cluster), ExtentKind::Unallocated),
                Step::Cluster { target, .. } => match target {
                    Target::Parts { host, allocated, zero } => {
                        self.parts = Some(Parts { start, host, allocated, zero, next: 0 });
                        continue;
                    }
                    Target::Unallocated => (cluster, ExtentKind::Unallocated),
                    Target::Zero { .. } => (cluster, ExtentKind::Zero),
                    Target::Data { host } => (cluster, at(host)),
                    Target::Compressed { .. } => (cluster, ExtentKind::Compressed),
                },
            };
            return Ok(self.cut(start, length, kind));
        }
    }

    /// The part of it that the guest sees.
    fn cut(&self, start: u64, length: u64, kind: ExtentKind) -> Option<Extent> {
        let length = length.min(self.tables.header.virtual_size.get().saturating_sub(start));
        (length > 0).then(|| Extent { start: Bytes::new(start), length: Bytes::new(length), kind })
    }
}

impl Parts {
    fn piece(&mut self, size: u64) -> Option<(u64, ExtentKind)> {
        let part = self.next;
        if part == 32 {
            return None;
        }
        self.next += 1;
        let offset = u64::from(part) * size;
        let kind = match (self.allocated >> part & 1, self.zero >> part & 1) {
            (1, _) => ExtentKind::Data { host: Bytes::new(self.host + offset) },
            (_, 1) => ExtentKind::Zero,
            _ => ExtentKind::Unallocated,
        };
        Some((self.start + offset, kind))
    }
}

impl Extent {
    /// Takes in what follows when it is of the same kind and, for data, also follows in the file.
    fn grow(&mut self, next: &Self) -> bool {
        let follows = match (self.kind, next.kind) {
            (ExtentKind::Data { host }, ExtentKind::Data { host: then }) => {
                host.get().checked_add(self.length.get()) == Some(then.get())
            }
            (kind, then) => kind == then,
        };
        if follows {
            self.length = Bytes::new(self.length.get() + next.length.get());
        }
        follows
    }
}

impl Iterator for Map<'_> {
    type Item = Result<Extent, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            match self.piece() {
                Ok(Some(piece)) => {
                    let has_grown = self.held.as_mut().is_some_and(|held| held.grow(&piece));
                    let whole = if has_grown { None } else { self.held.replace(piece) };
                    if whole.is_some() {
                        return whole.map(Ok);
                    }
                }
                Ok(None) => self.over = true,
                Err(error) => {
                    (self.over, self.held) = (true, None);
                    return Some(Err(error));
                }
            }
        }
        self.held.take().map(Ok)
    }
}
