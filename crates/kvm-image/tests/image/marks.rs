//! What bitmaps mark, and where the rest of the data is.

#![expect(clippy::single_range_in_vec_init, reason = "lists of ranges, some with one")]

use std::ops::Range;

use kvm_image::ImageError;
use kvm_image::qcow2::{data_outside, marked};

use crate::build::{BITMAPS, CLUSTER, DATA, Qcow2, put};

const SIZE: u64 = 64 << 20;

/// An image with one bitmap, whose table and bits are its last clusters.
fn image(qcow2: Qcow2, entry: impl Fn(u64) -> u64, bits: &[usize]) -> Vec<u8> {
    let mut image = Qcow2 { autoclear: 1, bitmaps: vec![("b", 2)], ..qcow2 }.build();
    image.resize(image.len().next_multiple_of(CLUSTER), 0);
    let table = image.len();
    image.resize(table + 2 * CLUSTER, 0);
    put(&mut image, BITMAPS * CLUSTER, &(table as u64).to_be_bytes());
    put(&mut image, BITMAPS * CLUSTER + 8, &1_u32.to_be_bytes());
    put(&mut image, table, &entry((table + CLUSTER) as u64).to_be_bytes());
    for bit in bits {
        image[table + CLUSTER + bit / 8] |= 1 << (bit % 8);
    }
    image
}

fn clusters(parts: &[Range<u64>]) -> Vec<Range<u64>> {
    let cluster = CLUSTER as u64;
    parts.iter().map(|part| part.start / cluster..part.end / cluster).collect()
}

#[test]
fn marks_that_touch_are_one_part() {
    let image = image(Qcow2::default(), |bits| bits, &[0, 1, 7, 8, 9, 1023]);
    let parts = marked(&image, "b", 10).unwrap().unwrap();
    assert_eq!(clusters(&parts), [0..2, 7..10, 1023..1024]);
    assert_eq!(marked(&image, "b", 2).unwrap(), None, "more than are wanted");
    assert_eq!(marked(&image, "c", 10).unwrap(), None, "no such bitmap");
}

#[test]
fn a_table_can_say_all_or_nothing_without_bits() {
    let all = image(Qcow2::default(), |_| 1, &[]);
    assert_eq!(marked(&all, "b", 10).unwrap(), Some(vec![0..SIZE]));
    let none = image(Qcow2::default(), |_| 0, &[]);
    assert_eq!(marked(&none, "b", 10).unwrap(), Some(vec![]));
}

#[test]
fn a_bitmap_that_was_not_closed_or_does_not_record_says_nothing() {
    for flags in [0_u32, 1, 3] {
        let mut image = image(Qcow2::default(), |bits| bits, &[3]);
        put(&mut image, BITMAPS * CLUSTER + 12, &flags.to_be_bytes());
        assert_eq!(marked(&image, "b", 10).unwrap(), None, "{flags}");
    }
    // Somebody wrote who does not know bitmaps.
    let mut image = image(Qcow2::default(), |bits| bits, &[3]);
    put(&mut image, 88, &0_u64.to_be_bytes());
    assert_eq!(marked(&image, "b", 10).unwrap(), None);
}

#[test]
fn a_table_that_does_not_fit_is_damage() {
    let good = || image(Qcow2::default(), |bits| bits, &[3]);
    let at = BITMAPS * CLUSTER;
    for (offset, bytes) in [
        (at, u64::MAX.to_be_bytes().to_vec()),
        (at, 512_u64.to_be_bytes().to_vec()),
        (at + 8, 2_u32.to_be_bytes().to_vec()),
        (at + 8, u32::MAX.to_be_bytes().to_vec()),
        (at + 17, vec![0]),
        (at + 17, vec![63]),
    ] {
        let mut image = good();
        put(&mut image, offset, &bytes);
        assert!(matches!(marked(&image, "b", 10), Err(ImageError::Damaged { .. })), "{offset} {bytes:?}");
    }
    let beyond = image(Qcow2::default(), |bits| bits + (1 << 40), &[]);
    assert!(matches!(marked(&beyond, "b", 10), Err(ImageError::Damaged { .. })));
}

#[test]
fn data_outside_leaves_out_clusters_that_are_touched() {
    // Clusters 0 and 1 of the disk, then 5, 9 and 8 in this order in the file.
    let image = image(Qcow2 { data: vec![0, 1, 5, 9, 8], ..Qcow2::default() }, |bits| bits, &[]);
    let outside = |parts: &[Range<u64>]| {
        let found: Vec<_> = data_outside(&image, parts).unwrap().map(Result::unwrap).collect();
        let data = DATA as u64;
        clusters(&found).into_iter().map(|part| part.start - data..part.end - data).collect::<Vec<_>>()
    };
    let cluster = CLUSTER as u64;
    assert_eq!(outside(&[]), [0..2, 2..3, 4..5, 3..4]);
    assert_eq!(outside(&[0..1]), [1..2, 2..3, 4..5, 3..4], "a byte of it");
    assert_eq!(outside(&[cluster - 1..cluster + 1]), [2..3, 4..5, 3..4], "a byte of either");
    assert_eq!(outside(&[2 * cluster..9 * cluster, 9 * cluster + 5..9 * cluster + 6]), [0..2]);
    assert_eq!(outside(&[0..SIZE]), []);
}

#[test]
fn an_image_with_snapshots_or_a_data_file_keeps_nothing() {
    for qcow2 in [
        Qcow2 { snapshots: vec!["a"], ..Qcow2::default() },
        Qcow2 { incompatible: 1 << 2, data_file: Some("other"), ..Qcow2::default() },
    ] {
        let image = image(qcow2, |bits| bits, &[]);
        assert_eq!(data_outside(&image, &[]).unwrap().count(), 0);
    }
}
