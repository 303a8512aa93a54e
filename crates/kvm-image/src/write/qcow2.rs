//! qcow2 of version 3, as QEMU's specification of it says (`docs/interop/qcow2.txt`), without any extension.

use std::io::Write;

use super::{UNIT, is_zero, unwritten};
use crate::{Disk, ImageError};

const CLUSTER: u64 = UNIT as u64;
/// Entries of 8 bytes in a cluster.
const ENTRIES: u64 = CLUSTER / 8;
/// Reference counts of 16 bits in a cluster.
const COUNTS: u64 = CLUSTER / 2;
const HEADER_LENGTH: u32 = 104;
/// Nothing else refers to it.
const COPIED: u64 = 1 << 63;

/// The plan of a qcow2 image: which clusters of the disk have data, and so where everything stands.
///
/// ```
/// use kvm_image::{Disk, Format, check, Expect, inspect, write::Qcow2};
///
/// let bytes = vec![7_u8; 100 * 512];
/// let mut disk = Disk::open(&bytes, Format::Raw)?;
/// let plan = Qcow2::plan(&mut disk)?;
/// let mut image = Vec::new();
/// plan.write(&mut disk, &mut image)?;
/// assert_eq!(image.len() as u64, plan.length());
/// assert_eq!(check(&inspect(&image)?, &Expect::any())?, Format::Qcow2);
/// # Ok::<(), kvm_image::ImageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Qcow2 {
    size: u64,
    /// One bit for each cluster of the disk.
    data: Vec<u64>,
    layout: Layout,
}

/// Numbers of clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layout {
    count_table: u64,
    count_blocks: u64,
    l1: u64,
    l2: u64,
    data: u64,
}

impl Layout {
    fn new(size: u64, l2: u64, data: u64) -> Self {
        let l1 = size.div_ceil(CLUSTER * ENTRIES).div_ceil(ENTRIES);
        let mut layout = Self { l1, l2, data, ..Self::default() };
        // What counts references is counted itself, so it may need one more.
        loop {
            let count_blocks = layout.total().div_ceil(COUNTS);
            let next = Self { count_blocks, count_table: count_blocks.div_ceil(ENTRIES), ..layout };
            if next == layout {
                return layout;
            }
            layout = next;
        }
    }

    fn count_blocks_at(&self) -> u64 {
        1 + self.count_table
    }

    fn l1_at(&self) -> u64 {
        self.count_blocks_at() + self.count_blocks
    }

    fn l2_at(&self) -> u64 {
        self.l1_at() + self.l1
    }

    fn data_at(&self) -> u64 {
        self.l2_at() + self.l2
    }

    fn total(&self) -> u64 {
        self.data_at() + self.data
    }
}

impl Qcow2 {
    /// Looks through the whole disk for what is not zero.
    ///
    /// # Errors
    /// Those of [`Disk::read`].
    pub fn plan(disk: &mut Disk<'_>) -> Result<Self, ImageError> {
        let size = disk.size().get().next_multiple_of(512);
        let clusters = size.div_ceil(CLUSTER);
        let mut data = vec![0_u64; usize::try_from(clusters.div_ceil(64)).unwrap_or(usize::MAX)];
        let mut buffer = vec![0; UNIT];
        let (mut count, mut tables, mut last) = (0, 0, None);
        let mut cluster = 0;
        while cluster < clusters {
            let offset = cluster * CLUSTER;
            let hole = disk.hole(offset)? / CLUSTER;
            if hole > 0 {
                cluster += hole;
                continue;
            }
            if !is_zero(disk, offset, &mut buffer)? {
                data[index(cluster / 64)] |= 1 << (cluster % 64);
                count += 1;
                let table = cluster / ENTRIES;
                tables += u64::from(last != Some(table));
                last = Some(table);
            }
            cluster += 1;
        }
        Ok(Self { size, data, layout: Layout::new(size, tables, count) })
    }

    /// The length of the image in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.layout.total() * CLUSTER
    }

    /// Writes the image of the same disk. What was zero when it was planned is zero in the image.
    ///
    /// # Errors
    /// Those of [`Disk::read`], and [`ImageError::Write`].
    pub fn write(&self, disk: &mut Disk<'_>, out: &mut dyn Write) -> Result<(), ImageError> {
        let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(unwritten);
        put(&self.header())?;
        let layout = &self.layout;
        let blocks = layout.count_blocks_at()..layout.l1_at();
        table(layout.count_table, blocks.map(|cluster| cluster * CLUSTER), &mut put)?;
        let counts: Vec<u8> = [0, 1].repeat(UNIT / 2);
        for block in 0..layout.count_blocks {
            let used = (layout.total() - block * COUNTS).min(COUNTS);
            let mut counts = counts.clone();
            counts[index(used) * 2..].fill(0);
            put(&counts)?;
        }
        let mut next = layout.l2_at();
        let firsts = (0..self.tables()).map(|table| {
            let is_there = self.entries(table).any(|has_data| has_data);
            next += u64::from(is_there);
            if is_there { COPIED | (next - 1) * CLUSTER } else { 0 }
        });
        table(layout.l1, firsts, &mut put)?;
        let mut next = layout.data_at();
        for number in 0..self.tables() {
            if self.entries(number).any(|has_data| has_data) {
                let seconds = self.entries(number).map(|has_data| {
                    next += u64::from(has_data);
                    if has_data { COPIED | (next - 1) * CLUSTER } else { 0 }
                });
                table(1, seconds, &mut put)?;
            }
        }
        let mut buffer = vec![0; UNIT];
        for cluster in (0..self.clusters()).filter(|cluster| self.has(*cluster)) {
            disk.read(cluster * CLUSTER, &mut buffer)?;
            put(&buffer)?;
        }
        Ok(())
    }

    fn header(&self) -> Vec<u8> {
        let layout = &self.layout;
        let mut header = Vec::with_capacity(UNIT);
        header.extend(b"QFI\xfb");
        header.extend(3_u32.to_be_bytes());
        header.extend([0; 12]); // no image below
        header.extend(16_u32.to_be_bytes()); // 64 KiB
        header.extend(self.size.to_be_bytes());
        header.extend(0_u32.to_be_bytes()); // not encrypted
        header.extend(u32::try_from(self.tables()).unwrap_or(u32::MAX).to_be_bytes());
        header.extend((layout.l1_at() * CLUSTER).to_be_bytes());
        header.extend(CLUSTER.to_be_bytes());
        header.extend(u32::try_from(layout.count_table).unwrap_or(u32::MAX).to_be_bytes());
        header.extend([0; 12]); // no snapshots
        header.extend([0; 24]); // no features
        header.extend(4_u32.to_be_bytes()); // counts of 16 bits
        header.extend(HEADER_LENGTH.to_be_bytes());
        header.resize(UNIT, 0);
        header
    }

    fn clusters(&self) -> u64 {
        self.size.div_ceil(CLUSTER)
    }

    fn tables(&self) -> u64 {
        self.clusters().div_ceil(ENTRIES)
    }

    fn has(&self, cluster: u64) -> bool {
        self.data[index(cluster / 64)] >> (cluster % 64) & 1 == 1
    }

    /// Whether each cluster of a second-level table has data.
    fn entries(&self, table: u64) -> impl Iterator<Item = bool> {
        (table * ENTRIES..self.clusters().min((table + 1) * ENTRIES)).map(|cluster| self.has(cluster))
    }
}

/// Writes a table of so many clusters; what has no entry is 0.
fn table(
    clusters: u64,
    entries: impl Iterator<Item = u64>,
    put: &mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut written = 0;
    for entry in entries {
        put(&entry.to_be_bytes())?;
        written += 8;
    }
    put(&vec![0; index(clusters * CLUSTER) - written])
}

/// A number that was made from the length of a vector in memory.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
