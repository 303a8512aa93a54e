//! The map of a qcow2 image, and the check of its references.

use kvm_core::Bytes;
use kvm_image::qcow2::{ExtentKind, Map, verify};
use kvm_image::{ImageError, inspect};

use crate::build::{self, CLUSTER, Counting, L1, L2, Qcow2, REFCOUNT_BLOCK, put};

fn map(image: &[u8]) -> Vec<(u64, u64, ExtentKind)> {
    let clusters = |bytes: Bytes| bytes.get() / CLUSTER as u64;
    let extents = Map::open(&image).unwrap().map(Result::unwrap);
    extents.map(|extent| (clusters(extent.start), clusters(extent.length), extent.kind)).collect()
}

fn at(cluster: usize) -> ExtentKind {
    ExtentKind::Data { host: Bytes::new((cluster * CLUSTER) as u64) }
}

#[test]
fn extents_touch_and_cover_the_disk() {
    let first = build::DATA;
    let image = Qcow2 { data: vec![0, 1, 5, 9, 8], ..Qcow2::default() }.build();
    let expected = [
        (0, 2, at(first)),
        (2, 3, ExtentKind::Unallocated),
        (5, 1, at(first + 2)),
        (6, 1, ExtentKind::Zero),
        (7, 1, ExtentKind::Unallocated),
        // They follow each other on the disk, but not in the file.
        (8, 1, at(first + 4)),
        (9, 1, at(first + 3)),
        (10, 1014, ExtentKind::Unallocated),
    ];
    assert_eq!(map(&image), expected);
    let found = verify(&image).unwrap();
    assert_eq!((found.errors, found.clusters), (0, 3 + 1 + 5));
}

#[test]
fn compressed_clusters_are_told_as_such() {
    let mut image = Qcow2::default().build();
    // 3 sectors behind the first data cluster's beginning: with clusters of 64 KiB the count begins at bit 54.
    let entry = 1_u64 << 62 | 2 << 54 | (build::DATA * CLUSTER) as u64;
    put(&mut image, L2 * CLUSTER + 3 * 8, &entry.to_be_bytes());
    assert!(map(&image).contains(&(3, 1, ExtentKind::Compressed)));
    let beyond = 1_u64 << 62 | 2 << 54 | image.len() as u64;
    put(&mut image, L2 * CLUSTER + 3 * 8, &beyond.to_be_bytes());
    assert!(matches!(Map::open(&image).unwrap().last(), Some(Err(ImageError::Damaged { .. }))));
}

#[test]
fn subclusters_are_told_one_by_one() {
    // An entry has 16 bytes: the builder's entries of 8 would be read as pairs.
    let mut image = Qcow2 { incompatible: 1 << 4, data: vec![0], zero: Vec::new(), ..Qcow2::default() }.build();
    // The first two parts are data, the third is zero, the rest is not there.
    put(&mut image, L2 * CLUSTER + 8, &(0b100_u64 << 32 | 0b11).to_be_bytes());
    let extents: Vec<_> = Map::open(&image).unwrap().map(Result::unwrap).take(3).collect();
    let told: Vec<_> = extents.iter().map(|extent| (extent.start.get(), extent.length.get(), extent.kind)).collect();
    assert_eq!(told[..2], [(0, 4096, at(build::DATA)), (4096, 2048, ExtentKind::Zero)]);
    assert_eq!((told[2].0, told[2].2), (6144, ExtentKind::Unallocated));
}

#[test]
fn tables_that_all_are_the_same_one_end_soon() {
    let entries = 4_u32 << 20;
    let mut image = Qcow2 { size: 1 << 50, l1_entries: entries, ..Qcow2::default() }.build();
    let table = image.len() as u64;
    image.resize(image.len() + entries as usize * 8, 0);
    put(&mut image, 40, &table.to_be_bytes());
    for i in 0..entries as usize {
        put(&mut image, table as usize + i * 8, &((L2 * CLUSTER) as u64).to_be_bytes());
    }
    let source = Counting::new(&image);
    assert!(matches!(Map::open(&source).unwrap().last(), Some(Err(ImageError::Damaged { .. }))));
    assert!(source.read.get() < 2 * image.len() as u64, "{}", source.read.get());
}

#[test]
fn a_table_outside_the_file_is_damage() {
    for offset in [1_u64 << 40, 512, (L1 * CLUSTER + 512) as u64] {
        let mut image = Qcow2::default().build();
        put(&mut image, L1 * CLUSTER, &offset.to_be_bytes());
        assert!(matches!(Map::open(&image).unwrap().last(), Some(Err(ImageError::Damaged { .. }))), "{offset}");
    }
}

#[test]
fn a_cluster_that_others_share_must_not_be_written_in_place() {
    let mut image = Qcow2::default().build();
    put(&mut image, REFCOUNT_BLOCK * CLUSTER + build::DATA * 2, &[0, 2]);
    let found = verify(&image).unwrap();
    assert_eq!(found.errors, 1, "{:?}", found.findings);
    // It may be shared when its entry says so, as with a snapshot.
    put(&mut image, L2 * CLUSTER, &((build::DATA * CLUSTER) as u64).to_be_bytes());
    assert_eq!(verify(&image).unwrap().errors, 0);
}

#[test]
fn a_file_is_read_without_moving_others() {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &Qcow2::default().build()).unwrap();
    assert_eq!(inspect(&file).unwrap(), inspect(&Qcow2::default().build()).unwrap());
    assert_eq!(Map::open(&file).unwrap().count(), 5);
}
