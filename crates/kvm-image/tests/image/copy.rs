//! The disk of one image in another.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use kvm_image::write::{Qcow2, stream_vmdk};
use kvm_image::{Disk, Expect, Format, ImageError, check, inspect, qcow2};
use proptest::prelude::*;

use crate::build::{self, CLUSTER, DATA, L2, put};

/// What a guest sees, piece by piece.
fn all(disk: &mut Disk<'_>) -> Vec<u8> {
    let mut bytes = vec![0xee; disk.size().get() as usize];
    // Pieces that end nowhere in particular.
    for (i, piece) in bytes.chunks_mut(100_003).enumerate() {
        disk.read((i * 100_003) as u64, piece).unwrap();
    }
    bytes
}

fn as_qcow2(disk: &mut Disk<'_>) -> Vec<u8> {
    let plan = Qcow2::plan(disk).unwrap();
    let mut image = Vec::new();
    plan.write(disk, &mut image).unwrap();
    assert_eq!(image.len() as u64, plan.length());
    assert_eq!(check(&inspect(&image).unwrap(), &Expect::format(Format::Qcow2)).unwrap(), Format::Qcow2);
    let found = qcow2::verify(&image).unwrap();
    assert_eq!(found.errors, 0, "{found:?}");
    image
}

fn as_vmdk(disk: &mut Disk<'_>) -> Vec<u8> {
    let mut image = Vec::new();
    stream_vmdk(disk, &mut image).unwrap();
    assert_eq!(check(&inspect(&image).unwrap(), &Expect::format(Format::Vmdk)).unwrap(), Format::Vmdk);
    image
}

/// A disk of up to 4 MiB that is mostly zero.
fn sparse() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::collection::btree_map(0_usize..8192, (1_usize..200_000, 1_u8..), 0..6);
    (1_usize..8193, pieces).prop_map(|(sectors, pieces): (usize, BTreeMap<usize, (usize, u8)>)| {
        let mut bytes = vec![0; sectors * 512];
        for (sector, (length, value)) in pieces {
            let start = (sector * 512).min(bytes.len());
            let end = (start + length).min(bytes.len());
            // Not one value alone: what is compressed should be some work.
            bytes[start..end].iter_mut().zip(0_u32..).for_each(|(byte, i)| *byte = value ^ (i / 300) as u8);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_disk_is_the_same_through_every_format(bytes in sparse()) {
        let mut raw = Disk::open(&bytes, Format::Raw).unwrap();
        let first = as_qcow2(&mut raw);
        let mut first_disk = Disk::open(&first, Format::Qcow2).unwrap();
        prop_assert!(all(&mut first_disk) == bytes);
        let stream = as_vmdk(&mut first_disk);
        let mut stream_disk = Disk::open(&stream, Format::Vmdk).unwrap();
        prop_assert!(all(&mut stream_disk) == bytes);
        // Nothing is different on the way back, not even where it stands.
        prop_assert!(as_qcow2(&mut stream_disk) == first);
    }

    #[test]
    fn a_damaged_image_is_an_error_or_another_disk_and_no_panic(at in 0_usize..200_000, value: u8) {
        let bytes: Vec<u8> = (0..150_000_u32).map(|i| (i / 7) as u8).collect();
        let mut raw = Disk::open(&bytes, Format::Raw).unwrap();
        for (format, mut image) in [(Format::Qcow2, as_qcow2(&mut raw)), (Format::Vmdk, as_vmdk(&mut raw))] {
            let at = at % image.len();
            image[at] = value;
            if let Ok(mut disk) = Disk::open(&image, format) {
                let mut piece = vec![0; 4096];
                for offset in (0..disk.size().get().min(1 << 20)).step_by(4096) {
                    let _damaged = disk.read(offset, &mut piece);
                }
            }
        }
    }
}

#[test]
fn what_an_overlay_lacks_comes_from_below_and_behind_its_end_are_zeros() {
    let overlay =
        build::Qcow2 { data: vec![1], zero: vec![2], ..build::Qcow2::backed("base.img", Some("raw")) }.build();
    let base = vec![9_u8; 3 * CLUSTER + 100];
    let disk = Disk::open(&overlay, Format::Qcow2).unwrap();
    let mut disk = disk.over(Disk::open(&base, Format::Raw).unwrap()).unwrap();
    let mut bytes = vec![0; 5 * CLUSTER];
    disk.read(0, &mut bytes).unwrap();
    assert!(bytes[..CLUSTER].iter().all(|byte| *byte == 9));
    assert!(bytes[CLUSTER..2 * CLUSTER].iter().all(|byte| *byte == 2), "the overlay's own");
    assert!(bytes[2 * CLUSTER..3 * CLUSTER].iter().all(|byte| *byte == 0), "zero in the overlay hides what is below");
    assert!(bytes[3 * CLUSTER..3 * CLUSTER + 100].iter().all(|byte| *byte == 9));
    assert!(bytes[3 * CLUSTER + 100..].iter().all(|byte| *byte == 0));
    assert_eq!(disk.hole(2 * CLUSTER as u64, u64::MAX).unwrap(), CLUSTER as u64);
    assert_eq!(disk.hole(0, u64::MAX).unwrap(), 0);
}

#[test]
fn compressed_clusters_are_unpacked_and_damaged_ones_are_errors() {
    let mut image = build::Qcow2 { data: vec![0], ..build::Qcow2::default() }.build();
    let bytes: Vec<u8> = (0..CLUSTER).map(|i| (i / 11) as u8).collect();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&bytes).unwrap();
    let packed = encoder.finish().unwrap();
    let host = DATA * CLUSTER;
    put(&mut image, host, &packed);
    let sectors = (packed.len() as u64).div_ceil(512) - 1;
    let entry = 1 << 62 | sectors << (62 - 8) | host as u64;
    put(&mut image, L2 * CLUSTER, &entry.to_be_bytes());
    let mut disk = Disk::open(&image, Format::Qcow2).unwrap();
    let mut read = vec![0; CLUSTER];
    disk.read(0, &mut read).unwrap();
    assert!(read == bytes);
    image[host] = 0xff;
    let mut disk = Disk::open(&image, Format::Qcow2).unwrap();
    assert!(matches!(disk.read(0, &mut read), Err(ImageError::Damaged { format: Format::Qcow2, .. })));
}

#[test]
fn a_terabyte_of_nothing_is_a_small_image() {
    let empty = build::Qcow2 { size: 1 << 40, l1_entries: 2048, data: vec![], zero: vec![], ..Default::default() };
    let mut image = empty.build();
    put(&mut image, build::L1 * CLUSTER, &[0; 8]);
    image.resize(5 * CLUSTER, 0);
    let mut disk = Disk::open(&image, Format::Qcow2).unwrap();
    assert_eq!(disk.hole(0, u64::MAX).unwrap(), 1 << 40);
    let plan = Qcow2::plan(&mut disk).unwrap();
    assert!(plan.length() < 1 << 20, "{}", plan.length());
}

#[test]
fn other_formats_and_other_grains_are_refused() {
    let empty = vec![0; 4096];
    assert!(matches!(Disk::open(&empty, Format::Vdi), Err(ImageError::Refused { .. })));
    assert!(matches!(Disk::open(&empty, Format::Vmdk), Err(ImageError::Damaged { .. })));
    let bytes = vec![5_u8; 1 << 17];
    let stream = as_vmdk(&mut Disk::open(&bytes, Format::Raw).unwrap());
    // The marker of the first grain says that it is the second one.
    let mut swapped = stream.clone();
    swapped[128 * 512] = 128;
    let mut disk = Disk::open(&swapped, Format::Vmdk).unwrap();
    assert!(matches!(disk.read(0, &mut [0; 512]), Err(ImageError::Damaged { format: Format::Vmdk, .. })));
}
