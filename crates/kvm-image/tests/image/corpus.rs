//! Every case of `testdata/inputs/images.tsv`.

use std::collections::BTreeMap;

use kvm_core::Bytes;
use kvm_image::{Chain, Content, Expect, Format, Header, ImageError, Opened, READ_MAX, ReadAt, Risk};
use kvm_image::{check, inspect, inspect_as, qcow2};

use crate::build::{self, CLUSTER, Counting, Qcow2, REFCOUNT_BLOCK, put};

const FILE: &str = include_str!("../../../../testdata/inputs/images.tsv");
const SECRET: &str = "/srv/secret";

/// Everything that is done with an image from elsewhere before it is used; the format by which it is used.
fn judge(source: &dyn ReadAt, expect: &Expect) -> Result<Format, ImageError> {
    let format = check(&inspect_as(source, expect.format)?, expect)?;
    if format == Format::Qcow2 {
        qcow2::Map::open(source)?.try_for_each(|extent| extent.map(drop))?;
        qcow2::verify(source)?.into_result()?;
    }
    Ok(format)
}

fn chain(images: &BTreeMap<String, Vec<u8>>, top: &str) -> Result<Format, ImageError> {
    let open = |name: &str| Opened { identity: name.to_owned(), source: Box::new(images[name].clone()) };
    let chain = Chain::read(open(top), &Expect::any(), &mut |_, reference| Ok(open(&reference.name)))?;
    Ok(chain.links()[0].format)
}

fn links(count: usize, below_the_last: Option<&str>) -> BTreeMap<String, Vec<u8>> {
    let name = |i: usize| format!("{i}.qcow2");
    let image = |i: usize| {
        let below = if i + 1 < count { Some(name(i + 1)) } else { below_the_last.map(str::to_owned) };
        let backing = below.map(|name| (name, Some("qcow2")));
        Qcow2 { backing, data: Vec::new(), ..Qcow2::default() }.build()
    };
    (0..count).map(|i| (name(i), image(i))).collect()
}

fn run(case: &str) -> Result<Format, ImageError> {
    let any = Expect::any();
    let qcow2 = |image: Qcow2| judge(&image.build(), &any);
    match case {
        "qcow2, complete by itself" => qcow2(Qcow2::default()),
        "qcow2 v3: zstd, lazy refcounts, dirty bitmaps" => qcow2(Qcow2 {
            incompatible: 1 << 3,
            compatible: 1,
            autoclear: 1,
            compression: 1,
            bitmaps: vec![("monday", 3), ("tuesday", 2)],
            ..Qcow2::default()
        }),
        "raw, no signature" => {
            let image = vec![b'x'; 5000];
            assert!(matches!(
                check(&inspect(&image)?, &Expect::format(Format::Qcow2)),
                Err(ImageError::WrongFormat { expected: Format::Qcow2, found: Format::Raw })
            ));
            judge(&image, &any)
        }
        "ISO 9660 with a partition table" => {
            let mut image = build::iso();
            build::mbr(&mut image);
            judge(&image, &any)
        }
        "qcow2 upon SECRET" => qcow2(Qcow2::backed(SECRET, Some("raw"))),
        "qcow2 upon a file without a format" => {
            let image = Qcow2::backed("base.qcow2", None).build();
            // Not even in a chain of ours.
            assert!(judge(&image, &any.clone().in_a_chain()).is_err());
            judge(&image, &any)
        }
        "qcow2 with its data in SECRET" => {
            qcow2(Qcow2 { incompatible: 1 << 2, autoclear: 2, data_file: Some(SECRET), ..Qcow2::default() })
        }
        "qcow2 upon json: options that name SECRET" => {
            let json =
                format!("json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{SECRET}\"}}}}");
            let image = Qcow2::backed(&json, Some("raw")).build();
            assert!(judge(&image, &any.clone().in_a_chain()).is_err());
            judge(&image, &any)
        }
        "qcow2 upon http" => qcow2(Qcow2::backed("http://127.0.0.1:9/x", Some("raw"))),
        "qcow2 upon nbd" => {
            let image = Qcow2::backed("nbd://127.0.0.1:9/x", Some("raw")).build();
            assert!(judge(&image, &any.clone().in_a_chain()).is_err());
            judge(&image, &any)
        }
        "raw on record, the guest wrote a qcow2 header upon SECRET" => {
            let image = Qcow2::backed(SECRET, Some("raw")).build();
            let source = Counting::new(&image);
            let format = judge(&source, &Expect::format(Format::Raw));
            assert_eq!(source.read.get(), 0, "nobody looked");
            // Also for a caller who has looked already.
            assert_eq!(check(&inspect(&image)?, &Expect::format(Format::Raw)).ok(), Some(Format::Raw));
            format
        }
        "vmdk descriptor with SECRET as flat extent" => {
            let text = build::vmdk_descriptor("monolithicFlat", &format!("RW 2048 FLAT \"{SECRET}\" 0"));
            // The same inside of a file that says it has no sectors of its own.
            assert!(judge(&build::vmdk(0, &text, false), &any).is_err());
            judge(&text.into_bytes(), &any)
        }
        "vmdk stream in one file" => {
            let text = build::vmdk_descriptor("streamOptimized", "RW 2048 SPARSE \"disk.vmdk\"");
            judge(&build::vmdk(2048, &text, true), &any)
        }
        "ISO 9660 and qcow2 at once" => {
            let mut image = build::iso();
            let qcow2 = Qcow2::default().build();
            put(&mut image, 0, &qcow2[..1024]);
            judge(&image, &any)
        }
        "qcow2 chain that returns to its first image" => chain(&links(2, Some("0.qcow2")), "0.qcow2"),
        "qcow2 chain of 300 images" => chain(&links(300, None), "0.qcow2"),
        "qcow2 with incompatible bit 63" => qcow2(Qcow2 { incompatible: 1 << 63, ..Qcow2::default() }),
        "qcow2 with a first-level table of 2^32 - 1 entries" => {
            qcow2(Qcow2 { l1_entries: u32::MAX, ..Qcow2::default() })
        }
        "qcow2 with a disk of 2^63 - 1 bytes" => qcow2(Qcow2 { size: i64::MAX as u64, ..Qcow2::default() }),
        "qcow2 with LUKS, no key" => {
            let image = Qcow2 { encryption: 2, ..Qcow2::default() }.build();
            assert_eq!(judge(&image, &any.clone().with_secret()).ok(), Some(Format::Qcow2));
            judge(&image, &any)
        }
        "qcow2 whose reference counts forget a cluster" => {
            let mut image = Qcow2::default().build();
            put(&mut image, REFCOUNT_BLOCK * CLUSTER + build::DATA * 2, &[0, 0]);
            judge(&image, &any)
        }
        "qcow2 cut off by one byte" => {
            let mut image = Qcow2::default().build();
            image.pop();
            judge(&image, &any)
        }
        "vhdx with a log to replay" => {
            assert_eq!(judge(&build::vhdx(false, None), &any).ok(), Some(Format::Vhdx));
            judge(&build::vhdx(true, None), &any)
        }
        "raw with a LUKS header" => {
            let image = build::luks();
            assert!(matches!(inspect(&image)?.contents[..], [Content::Luks(_)]));
            judge(&image, &any)
        }
        "empty file" => {
            assert!(judge(&Vec::new(), &Expect::format(Format::Raw)).is_err());
            judge(&Vec::new(), &any)
        }
        "raw of 16 TiB with 1 MiB of data" => {
            let data = vec![1; 1 << 20];
            let source = Counting { length: 16 << 40, ..Counting::new(&data) };
            let format = judge(&source, &any);
            assert!(source.read.get() <= READ_MAX);
            format
        }
        other => panic!("no test builds the image \"{other}\""),
    }
}

#[test]
fn every_image_of_the_corpus_gets_its_verdict() {
    let mut count = 0;
    for line in FILE.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<_> = line.split('\t').collect();
        let [case, verdict, why] = columns[..] else { panic!("not three columns: {line}") };
        let result = run(case);
        let got = if result.is_ok() { "accept" } else { "reject" };
        assert_eq!(got, verdict, "{case} ({why}): {result:?}");
        if let Err(error) = result {
            let text = error.to_string();
            assert!(!text.ends_with('.') && !text.chars().any(char::is_control), "{text:?}");
        }
        count += 1;
    }
    assert_eq!(count, 26);
}

#[test]
fn what_an_ambiguous_image_names_is_told_as_well() {
    let mut image = build::iso();
    let qcow2 = Qcow2::backed(SECRET, Some("raw")).build();
    put(&mut image, 0, &qcow2[..1024]);
    let seen = inspect(&image).unwrap();
    assert_eq!((seen.format, seen.header), (None, None));
    assert_eq!(seen.candidates, [Format::Qcow2, Format::Iso]);
    assert!(matches!(seen.risks[0], Risk::Ambiguous { .. }), "{:?}", seen.risks);
}

#[test]
fn a_partition_table_in_front_of_another_format_is_ambiguous() {
    let mut image = Qcow2::default().build();
    build::mbr(&mut image);
    assert!(matches!(inspect(&image).unwrap().risks[0], Risk::Ambiguous { .. }));
}

#[test]
fn a_disk_beyond_the_limit_is_refused() {
    let seen = inspect(&Qcow2::default().build()).unwrap();
    let small = Expect::any().up_to(Bytes::from_mib(63));
    assert!(matches!(check(&seen, &small), Err(ImageError::TooLarge { .. })));
}

#[test]
fn a_chain_of_ours_is_followed_by_the_formats_that_its_headers_give() {
    let mut images = links(64, None);
    assert_eq!(chain(&images, "0.qcow2").ok(), Some(Format::Qcow2));
    // A raw base stays raw: the header in it names a file that there is not.
    images.insert("1.qcow2".into(), Qcow2::backed(SECRET, Some("raw")).build());
    images.insert("0.qcow2".into(), Qcow2::backed("1.qcow2", Some("raw")).build());
    assert_eq!(chain(&images, "0.qcow2").ok(), Some(Format::Qcow2));
    assert!(matches!(chain(&links(65, None), "0.qcow2"), Err(ImageError::TooDeep { max: 64 })));
}

#[test]
fn the_header_says_everything_of_a_large_image() {
    let image = Qcow2 {
        snapshots: vec!["before the upgrade", "数据"],
        bitmaps: vec![("monday", 3)],
        ..Qcow2::backed("base.img", Some("raw"))
    };
    let bytes = image.build();
    let seen = inspect(&bytes).unwrap();
    let Some(Header::Qcow2(header)) = seen.header else { panic!("{:?}", seen.risks) };
    let names: Vec<_> = header.snapshots.iter().map(|snapshot| (&*snapshot.name, snapshot.vm_state)).collect();
    assert_eq!(names, [("before the upgrade", 4096), ("数据", 4096)]);
    assert_eq!((header.bitmap_count, header.bitmaps[0].in_use, header.bitmaps[0].auto), (1, true, true));
    assert_eq!((header.refcount_bits, header.virtual_size), (16, Bytes::from_mib(64)));
    assert_eq!(seen.backing.and_then(|backing| backing.format).as_deref(), Some("raw"));
}
