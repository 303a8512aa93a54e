//! Copies: whole, sparse, resumed, published once.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use kvm_wire::*;

use crate::peer::{Host, Peer, kind, noise, text};

const LENGTH: u64 = 40 << 20;

/// An image with all that an image may have: text, noise, written zeros, holes, and an end within a leaf.
pub(crate) fn source(host: &Host) -> Vec<u8> {
    let (text, noise, zeros) = (text(3 << 20), noise(2_500_000, 7), vec![0; 1 << 20]);
    let parts =
        [(0, &text[..]), (5 << 20, &noise), (9 << 20, &zeros), ((17 << 20) + 5000, b"island"), (LENGTH, b"end")];
    host.image("source", LENGTH + 3, &parts)
}

fn root_of(sent: &Reply) -> Digest {
    match sent {
        Reply::Sent { root: Some(root), .. } => *root,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copy_has_the_bytes_and_the_holes_and_little_goes_over_the_wire() {
    let host = Host::new();
    let bytes = source(&host);
    let mut peer = host.session();
    let (blocks, sent) = peer.send(&host.file("source"), What::All);
    let Reply::Sent { length, data, wire, blocks: count, .. } = sent else { panic!("{sent:?}") };
    assert_eq!((length, count), (LENGTH + 3, blocks.len() as u64));
    assert!(wire < 2_800_000 && data < 5_800_000, "{sent:?}");

    let copy = host.file("copy");
    assert_eq!(peer.create(&copy, length, Opening::New), Reply::Created { was_there: false });
    assert_eq!(peer.receive(&blocks), Reply::Received { blocks: count, data });
    assert_eq!(host.names(), ["copy.partial", "source"]);
    assert_eq!(peer.ask(&Request::Finish { root: root_of(&sent) }), Reply::Ready);
    assert_eq!(host.names(), ["copy.partial", "source"]);
    assert_eq!(peer.ask(&Request::Publish), Reply::Published);
    assert_eq!(host.names(), ["copy", "source"]);

    assert!(std::fs::read(host.path("copy")).unwrap() == bytes);
    let it = std::fs::metadata(host.path("copy")).unwrap();
    assert_eq!(it.permissions().mode() & 0o777, 0o640);
    assert!(it.blocks() * 512 <= data + (1 << 20), "{} blocks", it.blocks());
    // What was published is known without being read.
    assert_eq!(peer.scan(&copy, Keep::Remember), (root_of(&sent), true));
}

#[test]
fn an_image_of_any_length_is_copied() {
    for length in [0, 1, 65535, 65536, 65537, (1 << 20) + 1, 16 << 20, (16 << 20) + 1] {
        let host = Host::new();
        let bytes = host.image("source", length, &[(length.saturating_sub(1), &b"x"[..length.min(1) as usize])]);
        let mut peer = host.session();
        let (blocks, sent) = peer.send(&host.file("source"), What::All);
        assert_eq!(blocks.len() as u64, length.min(1), "{length}");
        peer.create(&host.file("copy"), length, Opening::New);
        peer.receive(&blocks);
        assert_eq!(peer.ask(&Request::Finish { root: root_of(&sent) }), Reply::Ready, "{length}");
        assert_eq!(peer.ask(&Request::Publish), Reply::Published);
        assert!(std::fs::read(host.path("copy")).unwrap() == bytes, "{length}");
    }
}

/// What differs between a scan there and a scan here, in leaves.
pub(crate) fn differing(source: &mut Peer, target: &mut Peer, length: u64) -> Vec<Span> {
    let (theirs, ours) = (source.digests(&Request::Groups), target.digests(&Request::Groups));
    let groups: Vec<u64> = (0..groups_in(length)).filter(|group| theirs.get(group) != ours.get(group)).collect();
    let leaves = Request::Leaves { groups };
    let (theirs, ours) = (source.digests(&leaves), target.digests(&leaves));
    let leaves = (0..leaves_in(length)).filter(|leaf| theirs.get(leaf) != ours.get(leaf));
    leaves.map(|leaf| leaf * LEAF_SIZE).map(|offset| Span { offset, length: LEAF_SIZE.min(length - offset) }).collect()
}

#[test]
fn a_copy_that_was_cut_at_any_frame_goes_on_with_what_is_missing() {
    let host = Host::new();
    let bytes = source(&host);
    let length = bytes.len() as u64;
    let mut source = host.session();
    let (blocks, sent) = source.send(&host.file("source"), What::All);
    let copy = host.file("copy");
    for cut in 0..=blocks.len() {
        let mut first = host.session();
        first.create(&copy, length, Opening::New);
        first.tell(&Request::Receive);
        blocks[..cut].iter().for_each(|block| first.write(&block.to_bytes()));
        first.cut();
        assert_eq!(host.names(), ["copy.partial", "source"], "cut after {cut}");

        let mut second = host.session();
        assert_eq!(second.create(&copy, length, Opening::Resume), Reply::Created { was_there: true });
        assert!(matches!(second.ask(&Request::ScanPartial), Reply::Scanned { .. }));
        let spans = differing(&mut source, &mut second, length);
        let (missing, again) = source.send(&host.file("source"), What::Ranges(spans));
        assert_eq!(root_of(&again), root_of(&sent));
        assert!(matches!(second.receive(&missing), Reply::Received { .. }));
        assert_eq!(second.ask(&Request::Finish { root: root_of(&sent) }), Reply::Ready, "cut after {cut}");
        assert_eq!(second.ask(&Request::Publish), Reply::Published);
        assert!(std::fs::read(host.path("copy")).unwrap() == bytes, "cut after {cut}");
        std::fs::remove_file(host.path("copy")).unwrap();
    }
}

#[test]
fn what_became_zeros_is_cleared_in_a_partial_file_that_goes_on() {
    let host = Host::new();
    let bytes = host.image("source", 3 << 20, &[(1 << 20, &text(100))]);
    host.image("copy.partial", 3 << 20, &[(0, &noise(2 << 20, 1))]);
    let (mut source, mut target) = (host.session(), host.session());
    let (root, _) = source.scan(&host.file("source"), Keep::Forget);
    target.create(&host.file("copy"), 3 << 20, Opening::Resume);
    target.ask(&Request::ScanPartial);
    let spans = differing(&mut source, &mut target, 3 << 20);
    let (blocks, _) = source.send(&host.file("source"), What::Ranges(spans));
    target.receive(&blocks);
    assert_eq!(target.ask(&Request::Finish { root }), Reply::Ready);
    assert_eq!(target.ask(&Request::Publish), Reply::Published);
    assert!(std::fs::read(host.path("copy")).unwrap() == bytes);
    assert!(std::fs::metadata(host.path("copy")).unwrap().blocks() <= 256);
}

#[test]
fn a_name_that_is_taken_is_refused_first_and_last() {
    let host = Host::new();
    host.image("taken", 5, &[(0, b"mine!")]);
    let mut peer = host.session();
    assert_eq!(kind(&peer.create(&host.file("taken"), 5, Opening::New)), FailureKind::AlreadyExists);
    assert_eq!(host.names(), ["taken"]);

    peer.create(&host.file("late"), 0, Opening::New);
    assert_eq!(peer.ask(&Request::Finish { root: root_digest(0, []) }), Reply::Ready);
    host.image("late", 5, &[(0, b"mine!")]);
    assert_eq!(kind(&peer.ask(&Request::Publish)), FailureKind::AlreadyExists);
    assert_eq!(std::fs::read(host.path("late")).unwrap(), b"mine!");
    assert_eq!(host.names(), ["late", "late.partial", "taken"]);
    assert_eq!(peer.ask(&Request::Discard), Reply::Done);
    assert_eq!(host.names(), ["late", "taken"]);
}

#[test]
fn a_partial_file_is_begun_once_and_written_by_one() {
    let host = Host::new();
    let (mut first, mut second) = (host.session(), host.session());
    first.create(&host.file("copy"), 10, Opening::New);
    assert_eq!(kind(&second.create(&host.file("copy"), 10, Opening::New)), FailureKind::AlreadyExists);
    assert_eq!(kind(&second.create(&host.file("copy"), 10, Opening::Resume)), FailureKind::Busy);
    first.cut();
    assert_eq!(second.create(&host.file("copy"), 10, Opening::Resume), Reply::Created { was_there: true });
}

#[test]
fn nothing_is_published_before_it_is_finished_or_after_more_was_written() {
    let host = Host::new();
    let mut peer = host.session();
    for request in [Request::Publish, Request::Discard, Request::Finish { root: Digest::ZERO }, Request::Receive] {
        assert_eq!(kind(&peer.ask(&request)), FailureKind::InvalidState, "{request:?}");
    }
    peer.create(&host.file("copy"), LEAF_SIZE, Opening::New);
    assert_eq!(kind(&peer.ask(&Request::Publish)), FailureKind::InvalidState);
    assert_eq!(peer.ask(&Request::Finish { root: root_digest(LEAF_SIZE, [&Digest::ZERO]) }), Reply::Ready);
    peer.receive(&[Block::frame(0, 65536, Encoding::Zeros, &[Digest::ZERO], b"").unwrap()]);
    assert_eq!(kind(&peer.ask(&Request::Publish)), FailureKind::InvalidState);
    assert_eq!(host.names(), ["copy.partial"]);
}
