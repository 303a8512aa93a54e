//! qcow2 of version 3, as QEMU's specification of it says (`docs/interop/qcow2.txt`), without any extension.

use std::io::Write;
use std::ops::Range;

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
    /// The clusters of the disk that have data.
    runs: Vec<Range<u64>>,
    /// The second-level tables that they need, by their place in the first-level table.
    tables: Vec<u64>,
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
        let (mut runs, mut tables) = (Vec::<Range<u64>>::new(), Vec::new());
        let mut buffer = vec![0; UNIT];
        let mut cluster = 0;
        while cluster < size.div_ceil(CLUSTER) {
            let hole = disk.hole(cluster * CLUSTER, u64::MAX)? / CLUSTER;
            if hole > 0 {
                cluster += hole;
                continue;
            }
            if !is_zero(disk, cluster * CLUSTER, &mut buffer)? {
                match runs.last_mut() {
                    Some(run) if run.end == cluster => run.end += 1,
                    _ => runs.push(cluster..cluster + 1),
                }
                if tables.last() != Some(&(cluster / ENTRIES)) {
                    tables.push(cluster / ENTRIES);
                }
            }
            cluster += 1;
        }
        let data = runs.iter().map(|run| run.end - run.start).sum();
        let layout = Layout::new(size, tables.len() as u64, data);
        Ok(Self { size, runs, tables, layout })
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
        let mut firsts = vec![0; index(self.l1_entries())];
        for (number, at) in self.tables.iter().zip(layout.l2_at()..) {
            firsts[index(*number)] = COPIED | (at * CLUSTER);
        }
        table(layout.l1, firsts.into_iter(), &mut put)?;
        let (mut data, mut next) = (self.data().peekable(), layout.data_at());
        for number in &self.tables {
            let mut seconds = vec![0; index(ENTRIES)];
            while let Some(cluster) = data.next_if(|cluster| cluster / ENTRIES == *number) {
                seconds[index(cluster % ENTRIES)] = COPIED | (next * CLUSTER);
                next += 1;
            }
            table(1, seconds.into_iter(), &mut put)?;
        }
        let mut buffer = vec![0; UNIT];
        for cluster in self.data() {
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
        header.extend(u32::try_from(self.l1_entries()).unwrap_or(u32::MAX).to_be_bytes());
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

    fn l1_entries(&self) -> u64 {
        self.size.div_ceil(CLUSTER).div_ceil(ENTRIES)
    }

    /// The clusters that have data, in order.
    fn data(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(Clone::clone)
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
