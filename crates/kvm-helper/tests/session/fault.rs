//! Faults: damaged blocks, wrong digests, nonsense, and somebody who hangs up.

use kvm_wire::*;
use proptest::prelude::*;

use crate::copy::source;
use crate::peer::{Host, cause, kind, noise};

#[test]
fn every_flipped_bit_of_a_block_is_found_and_nothing_is_published() {
    let host = Host::new();
    let data = noise(LEAF_SIZE as usize * 2, 3);
    let digests: Vec<Digest> = data.chunks(LEAF_SIZE as usize).map(leaf_digest).collect();
    let length = 2 * LEAF_SIZE;
    let good = Block::frame(0, length as u32, Encoding::Raw, &digests, &data).unwrap();
    let packed = zstd::bulk::compress(&data[..4096].repeat(32), 1).unwrap();
    let same: Vec<Digest> = data[..4096].repeat(32).chunks(LEAF_SIZE as usize).map(leaf_digest).collect();
    let small = Block::frame(0, length as u32, Encoding::Zstd, &same, &packed).unwrap();
    let mut peer = host.session();
    peer.create(&host.file("copy"), length, Opening::New);
    let mut found = 0;
    for (frame, step) in [(&good, 997), (&small, 13)] {
        for bit in (0..frame.payload().len() * 8).step_by(step) {
            let mut payload = frame.payload().to_vec();
            payload[bit / 8] ^= 1 << (bit % 8);
            let flipped = Frame::new(FrameKind::Block, payload).unwrap();
            let reply = peer.receive(&[flipped]);
            assert!(matches!(kind(&reply), FailureKind::Corrupt | FailureKind::InvalidInput), "bit {bit}: {reply:?}");
            found += 1;
        }
    }
    assert!(found > 1000, "{found}");
    assert!(matches!(peer.receive(&[good]), Reply::Received { .. }));
    assert_eq!(host.names(), ["copy.partial"]);
}

#[test]
fn a_damaged_block_is_named_at_once_and_the_session_goes_on() {
    let host = Host::new();
    let mut peer = host.session();
    peer.create(&host.file("copy"), 4 << 20, Opening::New);
    let wrong = Block::frame(1 << 20, 4, Encoding::Raw, &[leaf_digest(b"good")], b"evil").unwrap();
    assert_eq!(kind(&peer.receive(std::slice::from_ref(&wrong))), FailureKind::InvalidInput, "it ends within a leaf");
    let bytes = noise(LEAF_SIZE as usize, 1);
    let wrong = Block::frame(1 << 20, 65536, Encoding::Raw, &[leaf_digest(b"good")], &bytes).unwrap();
    peer.tell(&Request::Receive);
    peer.write(&wrong.to_bytes());
    // It answers before the end.
    let reply = peer.reply();
    assert_eq!(cause(reply), Some(Cause::Block { offset: 1 << 20 }));
    (0..40).for_each(|_| peer.write(&wrong.to_bytes()));
    peer.tell(&Request::End);
    assert!(matches!(peer.ask(&Request::Space { root: "/".to_owned() }), Reply::Space { .. }));
}

#[test]
fn a_block_beyond_the_image_is_refused() {
    let host = Host::new();
    let mut peer = host.session();
    peer.create(&host.file("copy"), LEAF_SIZE, Opening::New);
    let beyond = Block::frame(LEAF_SIZE, 65536, Encoding::Zeros, &[Digest::ZERO], b"").unwrap();
    assert_eq!(kind(&peer.receive(&[beyond])), FailureKind::InvalidInput);
    assert_eq!(std::fs::metadata(host.path("copy.partial")).unwrap().len(), LEAF_SIZE);
}

#[test]
fn a_copy_that_lacks_a_block_does_not_finish() {
    let host = Host::new();
    let length = source(&host).len() as u64;
    let mut peer = host.session();
    let (blocks, sent) = peer.send(&host.file("source"), What::All);
    let Reply::Sent { root: Some(root), .. } = sent else { panic!("{sent:?}") };
    peer.create(&host.file("copy"), length, Opening::New);
    peer.receive(&blocks[1..]);
    let reply = peer.ask(&Request::Finish { root });
    assert_eq!(kind(&reply), FailureKind::Corrupt);
    assert!(matches!(cause(reply), Some(Cause::Differs { expected, found }) if expected == root && found != root));
    assert_eq!(kind(&peer.ask(&Request::Publish)), FailureKind::InvalidState);
    assert!(!host.path("copy").exists());
    // What is missing can still come.
    peer.receive(&blocks[..1]);
    assert_eq!(peer.ask(&Request::Finish { root }), Reply::Ready);
}

#[test]
fn a_target_changed_behind_our_back_does_not_finish() {
    let host = Host::new();
    let length = source(&host).len() as u64;
    let mut peer = host.session();
    let (blocks, sent) = peer.send(&host.file("source"), What::All);
    let Reply::Sent { root: Some(root), .. } = sent else { panic!("{sent:?}") };
    peer.create(&host.file("copy"), length, Opening::New);
    peer.receive(&blocks);
    let file = std::fs::OpenOptions::new().write(true).open(host.path("copy.partial")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"!", length / 2).unwrap();
    assert_eq!(kind(&peer.ask(&Request::Finish { root })), FailureKind::Corrupt);
}

#[test]
fn who_does_not_greet_is_not_served() {
    let host = Host::new();
    for (request, expected) in [
        (Request::Hello { version: VERSION + 1 }, FailureKind::Unsupported),
        (Request::Groups, FailureKind::InvalidInput),
    ] {
        let mut peer = host.silent();
        assert_eq!(kind(&peer.ask(&request)), expected);
        assert_eq!(peer.frame(), None);
    }
}

#[test]
fn nonsense_is_answered_and_unreadable_bytes_end_the_session() {
    let host = Host::new();
    let mut peer = host.session();
    peer.write(&Frame::new(FrameKind::Message, b"{\"type\":\"fly\"}".to_vec()).unwrap().to_bytes());
    let reply = peer.reply();
    assert_eq!(kind(&reply), FailureKind::InvalidInput);
    let Reply::Error { message, .. } = reply else { panic!() };
    assert!(message.contains("fly"), "{message}");
    assert_eq!(kind(&peer.ask(&Request::End)), FailureKind::InvalidInput);
    assert_eq!(kind(&peer.ask(&Request::Groups)), FailureKind::InvalidState);
    peer.write(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(kind(&peer.reply()), FailureKind::InvalidInput);
    assert_eq!(peer.frame(), None);
}

#[test]
fn signs_of_life_come_while_something_is_expected_and_only_then() {
    let host = Host::new();
    let often = std::time::Duration::from_millis(5);
    let mut peer = host.silent_with(kvm_helper::Settings { sign_of_life: often, ..host.settings() });
    assert!(matches!(peer.ask(&Request::Hello { version: VERSION }), Reply::Hello { .. }));
    peer.create(&host.file("copy"), LEAF_SIZE, Opening::New);
    peer.tell(&Request::Receive);
    for _ in 0..3 {
        let frame = peer.frame().unwrap();
        assert!(matches!(frame.as_reply().unwrap(), Reply::Progress { .. }), "{frame:?}");
    }
    assert!(matches!(peer.ask(&Request::End), Reply::Received { .. }));
    // What was on its way when it answered comes first; then it waits, and says nothing.
    std::thread::park_timeout(often * 20);
    assert_eq!(peer.ask(&Request::Discard), Reply::Done);
    assert!(peer.signs <= 2, "{}", peer.signs);
}

#[test]
fn who_hangs_up_leaves_no_work_behind() {
    let host = Host::new();
    source(&host);
    let mut peer = host.session();
    peer.tell(&Request::Send {
        file: host.file("source"),
        what: What::All,
        compression: Compression::Off,
        keep: Keep::Forget,
        access: Access::Exclusive,
    });
    // The pipe is full by now, or will be: the helper ends although nobody reads what it sends.
    drop(peer.frame());
    peer.hang_up();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_bytes_end_in_an_answer_or_the_end(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 1u8..4) {
        let host = Host::new();
        let mut peer = host.session();
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        peer.write(&[&[kind][..], &length, &bytes].concat());
        peer.cut();
        prop_assert_eq!(host.names(), Vec::<String>::new());
    }
}
