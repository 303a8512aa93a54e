//! Updates of images that exist: nothing of them is touched before all changes are there, and never is half a change left.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use kvm_wire::*;

use crate::copy::{differing, source};
use crate::peer::{Host, Peer, cause, kind, noise, text};

/// A source, and a copy of it from before the source changed; what both are, and the changes.
struct Case {
    host: Host,
    old: Vec<u8>,
    new: Vec<u8>,
    before: Digest,
    after: Digest,
    blocks: Vec<Frame>,
}

fn case() -> Case {
    let host = Host::new();
    let old = source(&host);
    std::fs::copy(host.path("source"), host.path("copy")).unwrap();
    let file = OpenOptions::new().write(true).open(host.path("source")).unwrap();
    for (at, bytes) in [(100, noise(300_000, 9)), (6 << 20, vec![0; 400_000]), (30 << 20, text(70_000))] {
        file.write_all_at(&bytes, at).unwrap();
    }
    file.set_len((41 << 20) + 77).unwrap();
    drop(file);
    let new = std::fs::read(host.path("source")).unwrap();
    let (mut theirs, mut ours) = (host.session(), host.session());
    let (after, _) = theirs.scan(&host.file("source"), Keep::Forget);
    let (before, _) = ours.scan(&host.file("copy"), Keep::Forget);
    let spans = differing(&mut theirs, &mut ours, new.len() as u64);
    let (blocks, _) = theirs.send(&host.file("source"), What::Ranges(spans));
    Case { host, old, new, before, after, blocks }
}

impl Case {
    fn update(&self, peer: &mut Peer) -> Reply {
        self.open(peer, Opening::New)
    }

    fn open(&self, peer: &mut Peer, opening: Opening) -> Reply {
        let (file, length) = (self.host.file("copy"), self.new.len() as u64);
        peer.ask(&Request::Update { file, expect: self.before, length, opening })
    }

    /// An update that is finished and not applied.
    fn ready(&self) -> Peer {
        let mut peer = self.host.session();
        assert_eq!(self.update(&mut peer), Reply::Updating { length: self.old.len() as u64, was_there: false });
        assert!(matches!(peer.receive(&self.blocks), Reply::Received { .. }));
        assert_eq!(peer.ask(&Request::Finish { root: self.after }), Reply::Ready);
        peer
    }

    fn is(&self, bytes: &[u8]) -> bool {
        std::fs::read(self.host.path("copy")).unwrap() == bytes
    }

    fn recover(&self) -> Reply {
        self.host.session().ask(&Request::Recover { file: self.host.file("copy") })
    }

    fn pending(&self) -> Option<Pending> {
        match self.host.session().ask(&Request::Stat { file: self.host.file("copy") }) {
            Reply::Stat { pending, .. } => pending,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_update_touches_nothing_before_it_is_published() {
    let case = case();
    let changed: u64 = case.blocks.iter().map(|block| u64::from(block.as_block().unwrap().length())).sum();
    assert!(changed < 1_200_000, "{changed} bytes for 770 000");
    let mut peer = case.ready();
    assert!(case.is(&case.old));
    assert_eq!(case.host.names(), ["copy", "copy.sync", "source"]);
    assert_eq!(peer.ask(&Request::Publish), Reply::Published);
    assert!(case.is(&case.new));
    assert_eq!(case.host.names(), ["copy", "source"]);
    assert_eq!(peer.scan(&case.host.file("copy"), Keep::Remember), (case.after, true));
}

#[test]
fn an_image_becomes_shorter_too() {
    let host = Host::new();
    let old = source(&host);
    let length = (17 << 20) + 6000;
    std::fs::copy(host.path("source"), host.path("copy")).unwrap();
    let new = host.image("source", length, &[(0, &old[..length as usize])]);
    let (mut theirs, mut ours) = (host.session(), host.session());
    let (after, _) = theirs.scan(&host.file("source"), Keep::Forget);
    let (expect, _) = ours.scan(&host.file("copy"), Keep::Forget);
    let spans = differing(&mut theirs, &mut ours, length);
    let (blocks, _) = theirs.send(&host.file("source"), What::Ranges(spans));
    ours.ask(&Request::Update { file: host.file("copy"), expect, length, opening: Opening::New });
    ours.receive(&blocks);
    assert_eq!(ours.ask(&Request::Finish { root: after }), Reply::Ready);
    assert_eq!(ours.ask(&Request::Publish), Reply::Published);
    assert!(std::fs::read(host.path("copy")).unwrap() == new);
}

#[test]
fn an_image_that_is_not_what_was_expected_is_not_updated() {
    let case = case();
    let mut peer = case.host.session();
    let (file, opening) = (case.host.file("copy"), Opening::New);
    let request = Request::Update { file, expect: case.after, length: 1, opening };
    let reply = peer.ask(&request);
    assert_eq!(kind(&reply), FailureKind::Corrupt);
    assert_eq!(cause(reply), Some(Cause::Differs { expected: case.after, found: case.before }));
    assert_eq!(case.host.names(), ["copy", "source"]);
}

#[test]
fn an_update_that_lacks_a_block_is_not_applied() {
    let case = case();
    let mut peer = case.host.session();
    case.update(&mut peer);
    peer.receive(&case.blocks[1..]);
    assert_eq!(kind(&peer.ask(&Request::Finish { root: case.after })), FailureKind::Corrupt);
    assert_eq!(kind(&peer.ask(&Request::Publish)), FailureKind::InvalidState);
    assert_eq!(peer.ask(&Request::Discard), Reply::Done);
    assert!(case.is(&case.old));
    assert_eq!(case.host.names(), ["copy", "source"]);
}

#[test]
fn an_unfinished_update_is_forgotten_and_another_can_begin() {
    let case = case();
    for cut in 0..=case.blocks.len() {
        let mut peer = case.host.session();
        case.update(&mut peer);
        peer.tell(&Request::Receive);
        case.blocks[..cut].iter().for_each(|block| peer.write(&block.to_bytes()));
        peer.cut();
        assert_eq!(case.pending(), None);
        assert!(case.is(&case.old), "cut after {cut}");
    }
    assert_eq!(case.recover(), Reply::Recovered { root: None });
    assert_eq!(case.host.names(), ["copy", "source"]);
    assert_eq!(case.ready().ask(&Request::Publish), Reply::Published);
    assert!(case.is(&case.new));
}

#[test]
fn an_update_that_was_cut_at_any_frame_goes_on_with_what_is_missing() {
    let case = case();
    let sizes: Vec<u64> = case.blocks.iter().map(|block| block.to_bytes().len() as u64).collect();
    let mut source = case.host.session();
    source.scan(&case.host.file("source"), Keep::Forget);
    for cut in 0..=case.blocks.len() {
        let mut first = case.host.session();
        case.update(&mut first);
        first.tell(&Request::Receive);
        case.blocks[..cut].iter().for_each(|block| first.write(&block.to_bytes()));
        // Of the next one a part arrives.
        if let Some(next) = case.blocks.get(cut) {
            first.write(&next.to_bytes()[..7]);
        }
        first.cut();
        let sync = OpenOptions::new().write(true).open(case.host.path("copy.sync")).unwrap();
        let end = sync.metadata().unwrap().len();
        assert_eq!(end, 4096.min(end) + sizes[..cut].iter().sum::<u64>(), "cut after {cut}");
        // A host that loses power keeps more or less of what was written last.
        sync.write_all_at(&[2, 40, 0, 0, 0, 9], end).unwrap();
        drop(sync);

        let mut second = case.host.session();
        let (length, was_there) = (case.old.len() as u64, true);
        assert_eq!(case.open(&mut second, Opening::Resume), Reply::Updating { length, was_there });
        assert!(matches!(second.ask(&Request::ScanPartial), Reply::Scanned { .. }));
        let spans = differing(&mut source, &mut second, case.new.len() as u64);
        let (missing, _) = source.send(&case.host.file("source"), What::Ranges(spans));
        let of = |blocks: &[Frame]| blocks.iter().map(|b| u64::from(b.as_block().unwrap().length())).sum::<u64>();
        assert_eq!(of(&missing), of(&case.blocks[cut..]), "cut after {cut}");
        assert!(matches!(second.receive(&missing), Reply::Received { .. }));
        assert_eq!(second.ask(&Request::Finish { root: case.after }), Reply::Ready, "cut after {cut}");
        assert!(case.is(&case.old));
        assert_eq!(second.ask(&Request::Publish), Reply::Published);
        assert!(case.is(&case.new), "cut after {cut}");
        assert_eq!(case.host.names(), ["copy", "source"]);
        std::fs::write(case.host.path("copy"), &case.old).unwrap();
    }
}

#[test]
fn an_update_is_gone_on_with_only_while_it_is_of_the_same_change() {
    let case = case();
    case.ready().cut();
    // A finished one has nothing to wait for; nobody applies it before it is finished again.
    let mut second = case.host.session();
    let (length, was_there) = (case.old.len() as u64, true);
    assert_eq!(case.open(&mut second, Opening::Resume), Reply::Updating { length, was_there });
    assert_eq!(case.pending(), None);
    second.ask(&Request::ScanPartial);
    assert_eq!(second.ask(&Request::Finish { root: case.after }), Reply::Ready);
    second.cut();
    // One that is being applied can only be recovered.
    mark_applying(&case);
    assert_eq!(kind(&case.open(&mut case.host.session(), Opening::Resume)), FailureKind::InvalidState);
    assert_eq!(case.recover(), Reply::Recovered { root: Some(case.after) });

    // Of another change nothing is taken over.
    std::fs::write(case.host.path("copy"), &case.old).unwrap();
    case.ready().cut();
    let mut third = case.host.session();
    let (file, expect, opening) = (case.host.file("copy"), case.before, Opening::Resume);
    let request = Request::Update { file, expect, length: length + 1, opening };
    assert_eq!(third.ask(&request), Reply::Updating { length, was_there: false });
    assert_eq!(kind(&third.ask(&Request::ScanPartial)), FailureKind::InvalidState);
    assert_eq!(third.ask(&Request::Discard), Reply::Done);

    // Nor of one of which nothing had become durable when its host lost power.
    std::fs::write(case.host.path("copy.sync"), vec![0; 9000]).unwrap();
    let mut fourth = case.host.session();
    assert_eq!(case.open(&mut fourth, Opening::Resume), Reply::Updating { length, was_there: false });
    fourth.receive(&case.blocks);
    assert_eq!(fourth.ask(&Request::Finish { root: case.after }), Reply::Ready);
}

#[test]
fn a_finished_update_waits_and_is_applied_by_the_next_session() {
    let case = case();
    case.ready().cut();
    assert!(case.is(&case.old));
    assert_eq!(case.pending(), Some(Pending { before: case.before, after: case.after }));
    let mut other = case.host.session();
    assert_eq!(kind(&case.update(&mut other)), FailureKind::InvalidState);
    assert_eq!(case.recover(), Reply::Recovered { root: Some(case.after) });
    assert!(case.is(&case.new));
    assert_eq!(case.pending(), None);
    assert_eq!(case.recover(), Reply::Recovered { root: None });
}

#[test]
fn a_half_applied_update_is_applied_again() {
    let case = case();
    case.ready().cut();
    // As a crash in the middle leaves it: marked, and some of the blocks written.
    mark_applying(&case);
    let file = OpenOptions::new().write(true).open(case.host.path("copy")).unwrap();
    file.write_all_at(&case.new[..200_000], 0).unwrap();
    file.set_len(case.new.len() as u64).unwrap();
    drop(file);
    assert_eq!(case.recover(), Reply::Recovered { root: Some(case.after) });
    assert!(case.is(&case.new));
    assert_eq!(case.host.names(), ["copy", "source"]);
}

/// Sets the state on the first page, as the page about the format has it.
fn mark_applying(case: &Case) {
    let file = OpenOptions::new().read(true).write(true).open(case.host.path("copy.sync")).unwrap();
    let mut head = [0; 136];
    file.read_exact_at(&mut head, 0).unwrap();
    head[8] = 2;
    let sum = leaf_digest(&head[..104]);
    head[104..].copy_from_slice(sum.as_bytes());
    file.write_all_at(&head, 0).unwrap();
}

#[test]
fn a_finished_update_of_an_image_that_was_written_to_is_forgotten() {
    let case = case();
    case.ready().cut();
    let file = OpenOptions::new().write(true).open(case.host.path("copy")).unwrap();
    file.write_all_at(b"the guest was started", 0).unwrap();
    let now = std::fs::read(case.host.path("copy")).unwrap();
    assert_eq!(case.recover(), Reply::Recovered { root: None });
    assert!(case.is(&now));
    assert_eq!(case.host.names(), ["copy", "source"]);
}

#[test]
fn a_half_applied_update_that_was_written_to_is_told() {
    let case = case();
    case.ready().cut();
    mark_applying(&case);
    let file = OpenOptions::new().write(true).open(case.host.path("copy")).unwrap();
    file.write_all_at(b"the guest was started", 20 << 20).unwrap();
    let reply = case.recover();
    assert_eq!(kind(&reply), FailureKind::Corrupt);
    assert!(case.pending().is_some());
}

#[test]
fn an_image_in_use_is_not_written_and_the_update_waits() {
    use nix::fcntl::{FcntlArg, fcntl};
    let case = case();
    let mut peer = case.ready();
    // As QEMU does with an image that a guest only reads.
    let qemu = OpenOptions::new().read(true).open(case.host.path("copy")).unwrap();
    let lock = nix::libc::flock { l_type: 0, l_whence: 0, l_start: 100, l_len: 1, l_pid: 0 };
    fcntl(&qemu, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    let reply = peer.ask(&Request::Publish);
    assert_eq!(kind(&reply), FailureKind::Busy);
    assert_eq!(cause(reply), Some(Cause::InUse));
    assert!(case.is(&case.old));
    drop(qemu);
    assert_eq!(peer.ask(&Request::Publish), Reply::Published);
    assert!(case.is(&case.new));
}

#[test]
fn an_image_that_changed_since_the_update_began_is_not_written() {
    let case = case();
    let mut peer = case.ready();
    let file = OpenOptions::new().write(true).open(case.host.path("copy")).unwrap();
    file.write_all_at(b"!", 1 << 20).unwrap();
    assert_eq!(cause(peer.ask(&Request::Publish)), Some(Cause::Changed));
    assert_eq!(peer.ask(&Request::Discard), Reply::Done);
    assert_eq!(case.host.names(), ["copy", "source"]);
}

#[test]
fn a_damaged_update_is_never_applied() {
    let case = case();
    case.ready().cut();
    let path = case.host.path("copy.sync");
    let good = std::fs::read(&path).unwrap();
    // The page, and a block's data.
    for at in [0, 8, 20, 60, 120, good.len() - 5] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert_eq!(kind(&case.recover()), FailureKind::Corrupt, "{at}");
        assert!(case.is(&case.old), "{at}");
    }
    std::fs::write(&path, good).unwrap();
    assert_eq!(case.recover(), Reply::Recovered { root: Some(case.after) });
    assert!(case.is(&case.new));
}

#[test]
fn one_session_updates_an_image_at_a_time() {
    let case = case();
    let (mut first, mut second) = (case.host.session(), case.host.session());
    assert!(matches!(case.update(&mut first), Reply::Updating { .. }));
    assert_eq!(kind(&case.update(&mut second)), FailureKind::Busy);
}

#[test]
fn a_second_greeting_lets_go_of_everything() {
    let case = case();
    let mut peer = case.ready();
    assert!(matches!(peer.ask(&Request::Hello { version: VERSION }), Reply::Hello { .. }));
    // Both files are open for others, in this session as in any.
    assert_eq!(kind(&peer.ask(&Request::Publish)), FailureKind::InvalidState);
    assert_eq!(kind(&peer.ask(&Request::Groups)), FailureKind::InvalidState);
    assert_eq!(case.recover(), Reply::Recovered { root: Some(case.after) });
    assert!(case.is(&case.new));
    // And it is a session as before.
    assert_eq!(peer.scan(&case.host.file("copy"), Keep::Remember).0, case.after);
    assert_eq!(kind(&peer.ask(&Request::Hello { version: VERSION + 1 })), FailureKind::Unsupported);
}
