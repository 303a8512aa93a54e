//! Headers of the other formats, and what must hold for every header.

use kvm_core::Bytes;
use kvm_image::{Expect, Format, Inspection, READ_MAX, Risk, check, inspect, qcow2};
use proptest::prelude::*;

use crate::build::{self, Counting, Qcow2, put};

fn look(image: &[u8]) -> Inspection {
    let source = Counting::new(image);
    let seen = inspect(&source).unwrap();
    assert!(source.read.get() <= READ_MAX);
    seen
}

fn vdi(link: u8) -> Vec<u8> {
    let mut image = vec![0; 4096];
    let word = |image: &mut [u8], at, value: u32| put(image, at, &value.to_le_bytes());
    word(&mut image, 64, 0xbeda_107f);
    word(&mut image, 68, 0x0001_0001);
    word(&mut image, 76, 1);
    word(&mut image, 340, 512);
    put(&mut image, 368, &(8_u64 << 20).to_le_bytes());
    word(&mut image, 376, 1 << 20);
    word(&mut image, 384, 8);
    put(&mut image, 424, &[link; 16]);
    image
}

fn vpc(creator: &[u8]) -> Vec<u8> {
    let mut image = vec![0; (1 << 20) + 512];
    let at = 1 << 20;
    put(&mut image, at, b"conectix");
    put(&mut image, at + 28, creator);
    put(&mut image, at + 48, &(1_u64 << 20).to_be_bytes());
    put(&mut image, at + 56, &[0, 30, 4, 17]);
    put(&mut image, at + 60, &2_u32.to_be_bytes());
    let sum: u32 = image[at..].iter().map(|byte| u32::from(*byte)).sum();
    put(&mut image, at + 64, &(!sum).to_be_bytes());
    image
}

fn qed(features: u64) -> Vec<u8> {
    let mut image = vec![0; 64 << 10];
    put(&mut image, 0, b"QED\0");
    put(&mut image, 4, &(64_u32 << 10).to_le_bytes());
    put(&mut image, 16, &features.to_le_bytes());
    put(&mut image, 48, &(1_u64 << 30).to_le_bytes());
    put(&mut image, 56, &64_u32.to_le_bytes());
    put(&mut image, 60, &8_u32.to_le_bytes());
    put(&mut image, 64, b"base.img");
    image
}

#[test]
fn each_format_says_its_size() {
    let stream = build::vmdk(2048, &build::vmdk_descriptor("streamOptimized", "RW 2048 SPARSE \"a.vmdk\""), true);
    let images = [
        (Qcow2::default().build(), Format::Qcow2, 64 << 20),
        (Qcow2 { version: 2, zero: Vec::new(), ..Qcow2::default() }.build(), Format::Qcow2, 64 << 20),
        (qed(0), Format::Qed, 1 << 30),
        (stream, Format::Vmdk, 1 << 20),
        (build::vhdx(false, None), Format::Vhdx, 1 << 30),
        (vpc(b"win "), Format::Vpc, 1 << 20),
        (vpc(b"vpc "), Format::Vpc, 30 * 4 * 17 * 512),
        (vdi(0), Format::Vdi, 8 << 20),
        (build::iso(), Format::Iso, 128 << 10),
        (build::luks(), Format::Raw, 1 << 20),
    ];
    for (image, format, size) in images {
        let seen = look(&image);
        assert_eq!(seen.risks, [], "{format}");
        assert_eq!((seen.format, seen.virtual_size), (Some(format), Some(Bytes::new(size))));
        assert_eq!(check(&seen, &Expect::any()).ok(), Some(format));
        assert_eq!(check(&seen, &Expect::format(format)).ok(), Some(format));
        assert!(serde_json::to_value(&seen).is_ok());
    }
}

#[test]
fn an_image_below_is_found_in_every_format() {
    let descriptor = build::vmdk_descriptor("monolithicSparse", "RW 2048 SPARSE \"a.vmdk\"");
    let child = descriptor.replace("createType", "parentFileNameHint=\"base.vmdk\"\ncreateType");
    let images = [
        (Qcow2::backed("base", Some("raw")).build(), "base"),
        (qed(1), "base.img"),
        (build::vmdk(2048, &child, false), "base.vmdk"),
        (build::vhdx(false, Some("..\\base.vhdx")), "..\\base.vhdx"),
        (vdi(0xab), "abababababababababababababababab"),
    ];
    for (image, name) in images {
        let seen = look(&image);
        assert!(matches!(seen.risks[..], [Risk::Backing { .. }]), "{name}: {:?}", seen.risks);
        assert_eq!(seen.backing.map(|backing| backing.name).as_deref(), Some(name));
    }
}

#[test]
fn a_luks_volume_that_is_expected_needs_its_key() {
    let seen = look(&build::luks());
    let luks = Expect::format(Format::Luks);
    assert!(check(&seen, &luks).is_err());
    assert_eq!(check(&seen, &luks.with_secret()).ok(), Some(Format::Luks));
    assert!(check(&look(&[1; 4096]), &Expect::format(Format::Luks).with_secret()).is_err());
}

#[test]
fn a_header_and_a_footer_that_differ_are_refused() {
    let text = build::vmdk_descriptor("streamOptimized", "RW 2048 SPARSE \"a.vmdk\"");
    let mut image = build::vmdk(2048, &text, true);
    let at = image.len() - 1024;
    put(&mut image, at + 12, &0_u64.to_le_bytes());
    assert!(matches!(look(&image).risks[..], [Risk::Malformed { format: Format::Vmdk, .. }]));
}

#[test]
fn what_is_not_read_does_not_pass_as_raw() {
    let magics: [&[u8]; 4] = [b"WithoutFreeSpace", b"Bochs Virtual HD Image", b"COWD", b"QFI\xfb\0\0\0\x01"];
    for magic in magics {
        let mut image = vec![0; 4096];
        put(&mut image, 0, magic);
        assert!(check(&look(&image), &Expect::any()).is_err(), "{magic:?}");
        assert!(check(&look(&image), &Expect::format(Format::Raw)).is_ok());
    }
}

/// Images of all formats with a parser behind them.
fn samples() -> Vec<Vec<u8>> {
    let text = build::vmdk_descriptor("streamOptimized", "RW 2048 SPARSE \"a.vmdk\"");
    let lists = Qcow2 { snapshots: vec!["a"], bitmaps: vec![("b", 1)], ..Qcow2::backed("base", Some("raw")) };
    vec![
        lists.build(),
        qed(1),
        build::vmdk(2048, &text, true),
        text.into_bytes(),
        build::vhdx(true, Some("p")),
        vpc(b"win "),
        vdi(1),
        build::iso(),
        build::luks(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_damaged_header_is_read_or_refused_within_the_limit(
        sample in 0..9_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, any::<[u8; 8]>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in prop::bool::weighted(0.2),
    ) {
        let mut image = samples().swap_remove(sample);
        // Where the tables are, rather than anywhere in the data.
        let places = [0..512.min(image.len()), 0..image.len(), (build::L1 * build::CLUSTER)..(build::L2 + 1) * build::CLUSTER, 192 << 10..image.len()];
        for (at, place, bytes) in edits {
            let place = places[place].start.min(image.len() - 8)..places[place].end.min(image.len());
            let at = place.start + at.index(place.len().max(1));
            let length = bytes.len().min(image.len() - at);
            put(&mut image, at, &bytes[..length]);
        }
        if is_cut {
            image.truncate(cut.index(image.len()));
        }
        let seen = look(&image);
        let _verdict = check(&seen, &Expect::any());
        if let Ok(map) = qcow2::Map::open(&image) {
            let size = map.header().virtual_size;
            let mut end = Bytes::ZERO;
            let mut failed = false;
            for extent in map.take(100_000) {
                match extent {
                    Ok(extent) => {
                        prop_assert_eq!(extent.start, end);
                        end = Bytes::new(end.get() + extent.length.get());
                    }
                    Err(_) => failed = true,
                }
            }
            prop_assert!(failed || end == size);
            let _found = qcow2::verify(&image);
        }
    }
}
