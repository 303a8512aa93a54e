//! Scans: the digests are what they should be, and are kept while the image is what it was.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use kvm_wire::*;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::copy::source;
use crate::peer::{Host, kind, noise};

/// The root of these bytes, computed as the page about the format says.
fn root_of(bytes: &[u8]) -> Digest {
    let group = |bytes: &[u8]| {
        let mut group = GroupHasher::new();
        bytes.chunks(LEAF_SIZE as usize).for_each(|leaf| group.add(&leaf_digest(leaf)));
        group.finish()
    };
    let groups: Vec<Digest> = bytes.chunks(GROUP_SIZE as usize).map(group).collect();
    root_digest(bytes.len() as u64, &groups)
}

fn write(host: &Host, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(host.path("source")).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn digests_are_saved_and_used_until_the_image_changes() {
    let host = Host::new();
    let bytes = source(&host);
    let file = host.file("source");
    assert_eq!(host.session().scan(&file, Keep::Forget), (root_of(&bytes), false));
    assert_eq!(host.session().scan(&file, Keep::Remember), (root_of(&bytes), false));
    let mut peer = host.session();
    assert_eq!(peer.scan(&file, Keep::Remember), (root_of(&bytes), true));
    // Also the leaves are there.
    let leaves = peer.digests(&Request::Leaves { groups: vec![0, 1, 2] });
    let expected = (0..).zip(bytes.chunks(LEAF_SIZE as usize).map(leaf_digest));
    assert_eq!(leaves, expected.filter(|(_, digest)| !digest.is_zero()).collect());
    for group in [3, u64::MAX] {
        assert_eq!(kind(&peer.ask(&Request::Leaves { groups: vec![group] })), FailureKind::InvalidInput);
    }
    assert_eq!(host.session().scan(&file, Keep::Forget), (root_of(&bytes), false));

    write(&host, 12345, b"changed");
    let bytes = std::fs::read(host.path("source")).unwrap();
    assert_eq!(host.session().scan(&file, Keep::Remember), (root_of(&bytes), false));
    assert_eq!(host.session().scan(&file, Keep::Remember), (root_of(&bytes), true));
}

#[test]
fn sending_saves_digests_too() {
    let host = Host::new();
    let bytes = source(&host);
    let mut peer = host.session();
    let reply = peer.ask(&Request::Send {
        file: host.file("source"),
        what: What::All,
        compression: Compression::Off,
        keep: Keep::Remember,
        access: Access::Exclusive,
    });
    assert!(matches!(reply, Reply::Sent { root: Some(root), .. } if root == root_of(&bytes)), "{reply:?}");
    assert_eq!(host.session().scan(&host.file("source"), Keep::Remember), (root_of(&bytes), true));
}

#[test]
fn a_sum_is_the_one_that_anybody_computes() {
    let host = Host::new();
    let sum = |name: &str| match host.session().ask(&Request::Sum { file: host.file(name) }) {
        Reply::Summed { sha256 } => sha256.to_string(),
        other => panic!("{other:?}"),
    };
    // From the standard, FIPS 180-4.
    std::fs::write(host.path("small"), "abc").unwrap();
    assert_eq!(sum("small"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    std::fs::write(host.path("empty"), "").unwrap();
    assert_eq!(sum("empty"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    // With holes, which are not read.
    let bytes = source(&host);
    assert_eq!(sum("source"), data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)));
    let missing = host.session().ask(&Request::Sum { file: host.file("missing") });
    assert_eq!(kind(&missing), FailureKind::NotFound);
}

#[test]
fn damaged_digest_files_count_as_none() {
    let host = Host::new();
    let bytes = source(&host);
    let file = host.file("source");
    host.session().scan(&file, Keep::Remember);
    let saved = std::fs::read_dir(host.settings().digests).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&saved).unwrap();
    // Whatever is in there counts: the header, the groups, and the leaves of groups with data.
    let places = [0, 8, 16, 24, 32, 56, 60, 90, 4096, 4127, 4130].into_iter().chain((8192..8192 + 3000).step_by(311));
    for at in places.filter(|at| good[*at] != 0) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&saved, bad).unwrap();
        let request = Request::Scan { file: file.clone(), keep: Keep::Remember, access: Access::Exclusive };
        let reply = host.session().ask(&request);
        let Reply::Scanned { root, was_saved, .. } = reply else { panic!("{reply:?}") };
        assert_eq!((root, was_saved), (root_of(&bytes), false), "{at}");
    }
    for length in [0, 7, 100, 4096, 9000] {
        std::fs::write(&saved, &good[..length]).unwrap();
        assert!(!host.session().scan(&file, Keep::Remember).1, "{length}");
    }
}

#[test]
fn a_file_that_changed_since_its_scan_is_not_sent_in_parts() {
    let host = Host::new();
    source(&host);
    let file = host.file("source");
    let mut peer = host.session();
    peer.scan(&file, Keep::Forget);
    write(&host, 0, b"changed");
    let (_, reply) = peer.send(&file, What::Ranges(vec![Span { offset: 0, length: LEAF_SIZE }]));
    assert!(matches!(reply, Reply::Error { cause: Some(Cause::Changed), .. }), "{reply:?}");
}

#[test]
fn an_image_in_use_is_not_read_unless_shared() {
    use nix::fcntl::{FcntlArg, fcntl};
    let host = Host::new();
    source(&host);
    // As QEMU does while a guest may write.
    let qemu = OpenOptions::new().read(true).write(true).open(host.path("source")).unwrap();
    let lock = nix::libc::flock { l_type: 0, l_whence: 0, l_start: 101, l_len: 1, l_pid: 0 };
    fcntl(&qemu, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    let scan = |access| host.session().ask(&Request::Scan { file: host.file("source"), keep: Keep::Forget, access });
    let reply = scan(Access::Exclusive);
    assert_eq!(kind(&reply), FailureKind::Busy);
    assert!(matches!(reply, Reply::Error { cause: Some(Cause::InUse), file: Some(_), .. }), "{reply:?}");
    assert!(matches!(scan(Access::Shared), Reply::Scanned { .. }));
}

#[test]
fn parts_that_are_no_leaves_are_refused() {
    let host = Host::new();
    let length = source(&host).len() as u64;
    for (offset, size) in [(1, LEAF_SIZE), (0, 1), (length, 1), (0, length + 1), (LEAF_SIZE, u64::MAX)] {
        let (_, reply) = host.session().send(&host.file("source"), What::Ranges(vec![Span { offset, length: size }]));
        assert_eq!(kind(&reply), FailureKind::InvalidInput, "{offset} {size}");
    }
    let (blocks, _) = host.session().send(&host.file("source"), What::Ranges(vec![Span { offset: 0, length }]));
    let covered: u64 = blocks.iter().map(|frame| u64::from(frame.as_block().unwrap().length())).sum();
    assert_eq!(covered, length);
}

#[test]
fn a_tebibyte_of_which_little_is_allocated_costs_little() {
    let host = Host::new();
    let mebibyte = noise(1 << 20, 5);
    let parts: Vec<(u64, &[u8])> = (0..64).map(|n| (n << 34, &mebibyte[..])).collect();
    let file = std::fs::File::create(host.path("source")).unwrap();
    file.set_len(1 << 40).unwrap();
    parts.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
    drop(file);
    let mut peer = host.session();
    let reply = peer.ask(&Request::Scan { file: host.file("source"), keep: Keep::Remember, access: Access::Exclusive });
    assert!(matches!(reply, Reply::Scanned { data, .. } if data == 64 << 20), "{reply:?}");
    assert_eq!(peer.digests(&Request::Groups).len(), 64);
    // What is not named is zeros: most frames are never sent.
    assert!(peer.frames.len() <= 8);
    assert!(peer.scan(&host.file("source"), Keep::Remember).1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_root_is_that_of_the_bytes_wherever_the_holes_are(
        length in 0u64..40 << 20,
        parts in prop::collection::vec((0u64..40 << 20, 0usize..300_000, 0u8..3), 0..8),
    ) {
        let host = Host::new();
        let parts: Vec<(u64, Vec<u8>)> = parts.into_iter().filter(|(at, ..)| *at < length).map(|(at, size, value)| {
            (at, vec![value; size.min((length - at) as usize)])
        }).collect();
        let parts: Vec<(u64, &[u8])> = parts.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
        let bytes = host.image("source", length, &parts);
        prop_assert_eq!(host.session().scan(&host.file("source"), Keep::Forget).0, root_of(&bytes));
    }
}
