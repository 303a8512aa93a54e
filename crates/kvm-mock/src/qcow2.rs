//! What a guest sees of a qcow2 image, and the image of what a guest is to see. Only so much of the format as a simulated
//! host needs: header, tables and clusters are where QEMU looks for them, reference counts there are none.

use kvm_core::{Error, ErrorKind, Result};

use crate::file::{Extent, SparseFile};
use crate::image;

const CLUSTER: u64 = 1 << image::CLUSTER_BITS;
/// Clusters that one table of the second level knows.
const ENTRIES: u64 = CLUSTER / 8;
/// Where the header says how many tables there are, and where the table of them is.
const L1: (u64, u64) = (36, 40);
/// A reference that nothing else shares.
const COPIED: u64 = 1 << 63;
/// The bits of a reference that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// An image with this disk in it, as small as can be.
pub(crate) fn encode(disk: &SparseFile, capacity: u64, backing: Option<&str>) -> SparseFile {
    let mut file = image::qcow2(capacity, backing);
    let tables = capacity.div_ceil(CLUSTER * ENTRIES);
    // Header, then the table of tables, then what it leads to as it comes.
    let mut end = CLUSTER + (tables * 8).next_multiple_of(CLUSTER);
    file.write(L1.0, &u32::try_from(tables).unwrap_or(u32::MAX).to_be_bytes());
    file.write(L1.1, &CLUSTER.to_be_bytes());
    for number in written(disk) {
        let data = disk.read(number * CLUSTER, CLUSTER as usize);
        if data.iter().all(|byte| *byte == 0) {
            continue;
        }
        let entry = CLUSTER + number / ENTRIES * 8;
        let table = match reference(&file, entry) {
            0 => {
                file.write(entry, &(end | COPIED).to_be_bytes());
                end += CLUSTER;
                end - CLUSTER
            }
            table => table,
        };
        file.write(table + number % ENTRIES * 8, &(end | COPIED).to_be_bytes());
        file.write(end, &data);
        end += CLUSTER;
        file.lengthen(end);
    }
    file
}

/// The disk in an image, with what the image below it shows where this one holds nothing. `Corrupt` for tables that lead
/// out of the file.
pub(crate) fn decode(file: &SparseFile, below: Option<&SparseFile>) -> Result<SparseFile> {
    let capacity = image::probe(file).capacity;
    let mut disk = SparseFile::hole(capacity);
    if let Some(below) = below {
        copy(below, &mut disk);
        disk.truncate(capacity);
        disk.lengthen(capacity);
    }
    let tables = file.read(L1.0, 4).try_into().map_or(0, u32::from_be_bytes);
    let first = number(file, L1.1);
    for table in 0..u64::from(tables) {
        let at = reference(file, first + table * 8);
        for entry in 0..if at == 0 { 0 } else { ENTRIES } {
            let cluster = reference(file, at + entry * 8);
            if cluster == 0 {
                continue;
            }
            let place = (table * ENTRIES + entry) * CLUSTER;
            if cluster >= file.len() || place >= capacity {
                return Err(Error::new(ErrorKind::Corrupt, "the tables of the image lead out of it"));
            }
            let length = usize::try_from(CLUSTER.min(capacity - place)).unwrap_or(0);
            disk.write(place, &file.read(cluster, length));
        }
    }
    Ok(disk)
}

/// Numbers of the clusters that something was written to.
fn written(disk: &SparseFile) -> Vec<u64> {
    let (mut at, mut all) = (0, Vec::new());
    while let Some(extent) = disk.extent_at(at) {
        at += match extent {
            Extent::Data(length) => {
                all.extend(at / CLUSTER..(at + length).div_ceil(CLUSTER));
                length
            }
            Extent::Hole(length) => length,
        };
    }
    all.dedup();
    all
}

/// Writes what is in one file into another, holes left out.
fn copy(from: &SparseFile, to: &mut SparseFile) {
    let mut at = 0;
    while let Some(extent) = from.extent_at(at) {
        at += match extent {
            Extent::Data(length) => {
                to.write(at, &from.read(at, usize::try_from(length).unwrap_or(0)));
                length
            }
            Extent::Hole(length) => length,
        };
    }
}

fn number(file: &SparseFile, at: u64) -> u64 {
    file.read(at, 8).try_into().map_or(0, u64::from_be_bytes)
}

fn reference(file: &SparseFile, at: u64) -> u64 {
    number(file, at) & OFFSET
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_disk_comes_out_of_its_image_as_it_went_in(
            writes in prop::collection::vec((0u64..700_000_000, prop::collection::vec(any::<u8>(), 1..200)), 0..8),
        ) {
            let capacity = 700_001_024;
            let mut disk = SparseFile::hole(capacity);
            for (at, data) in &writes {
                disk.write(*at, data);
            }
            let image = encode(&disk, capacity, None);
            prop_assert_eq!(image::probe(&image).capacity, capacity);
            prop_assert!(image.allocated() <= (writes.len() as u64 * 3 + 1) * CLUSTER);
            let again = decode(&image, None).unwrap();
            prop_assert_eq!(again.len(), capacity);
            for (at, data) in &writes {
                prop_assert_eq!(again.read(*at, data.len()), disk.read(*at, data.len()));
            }
        }
    }

    #[test]
    fn an_overlay_shows_what_is_below_it() {
        let mut below = SparseFile::hole(4 * CLUSTER);
        below.write(0, b"below");
        below.write(CLUSTER, b"hidden");
        let mut above = SparseFile::hole(4 * CLUSTER);
        above.write(CLUSTER, b"above!");
        let disk = decode(&encode(&above, 4 * CLUSTER, Some("/base")), Some(&below)).unwrap();
        assert_eq!(disk.read(0, 5), b"below");
        assert_eq!(disk.read(CLUSTER, 6), b"above!");
    }
}
