//! Directories: made, listed, renamed and removed; and files that begin as copies.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use kvm_wire::*;

use crate::peer::{Host, kind, noise};

fn listed(host: &Host, name: &str) -> Vec<(String, EntryKind, u64)> {
    match host.session().ask(&Request::List { file: host.file(name) }) {
        Reply::Listing { entries } => {
            let mut all: Vec<_> = entries.into_iter().map(|entry| (entry.name, entry.kind, entry.length)).collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        }
        other => panic!("{other:?}"),
    }
}

fn make(host: &Host, name: &str) -> Request {
    Request::MakeDirectory { file: host.file(name), mode: 0o700 }
}

#[test]
fn a_directory_is_made_filled_renamed_and_removed_and_nobody_else_enters_it() {
    let host = Host::new();
    let mut peer = host.session();
    assert_eq!(peer.ask(&make(&host, "web")), Reply::Done);
    assert_eq!(kind(&peer.ask(&make(&host, "web"))), FailureKind::AlreadyExists);
    assert_eq!(kind(&peer.ask(&make(&host, "no/web"))), FailureKind::NotFound);
    assert_eq!(std::fs::metadata(host.path("web")).unwrap().permissions().mode() & 0o777, 0o700);
    // Whoever is to pass through may, whatever the process's mask says.
    let passed = Request::MakeDirectory { file: host.file("web/passed"), mode: 0o733 };
    assert_eq!(peer.ask(&passed), Reply::Done);
    assert_eq!(std::fs::metadata(host.path("web/passed")).unwrap().permissions().mode() & 0o777, 0o733);
    assert_eq!(peer.ask(&Request::Remove { file: host.file("web/passed") }), Reply::Done);
    host.image("web/disk", 7, &[]);
    symlink("disk", host.path("web/link")).unwrap();
    let entry = |name: &str, kind, length| (name.to_owned(), kind, length);
    assert_eq!(listed(&host, ""), [entry("web", EntryKind::Directory, 0)]);
    assert_eq!(listed(&host, "web"), [entry("disk", EntryKind::File, 7), entry("link", EntryKind::Other, 0)]);

    let rename = |from: &str, to: &str| Request::Rename { file: host.file(from), to: to.to_owned() };
    assert_eq!(peer.ask(&rename("web", "db")), Reply::Done);
    peer.ask(&make(&host, "web"));
    assert_eq!(kind(&peer.ask(&rename("web", "db"))), FailureKind::AlreadyExists);
    assert_eq!(kind(&peer.ask(&rename("nothing", "else"))), FailureKind::NotFound);
    assert_eq!(peer.ask(&rename("db/disk", "web/disk")), Reply::Done);

    let remove = |name: &str| Request::Remove { file: host.file(name) };
    assert_eq!(kind(&peer.ask(&remove("web"))), FailureKind::InvalidState);
    for name in ["web/disk", "web", "web", "web/disk", "db/link", "db"] {
        assert_eq!(peer.ask(&remove(name)), Reply::Done, "{name}");
    }
    assert_eq!(listed(&host, ""), []);
}

#[test]
fn directories_that_lead_elsewhere_are_refused() {
    let host = Host::new();
    std::fs::create_dir(host.dir.path().join("secret")).unwrap();
    symlink("../secret", host.path("link")).unwrap();
    let mut peer = host.session();
    for name in [".", "..", "/etc", "../secret", "web.partial"] {
        let requests = [
            Request::List { file: host.file(name) },
            make(&host, name),
            Request::Remove { file: host.file(name) },
            Request::Rename { file: host.file("link"), to: name.to_owned() },
            Request::Seed { file: host.file(name), from: host.file("link") },
        ];
        for request in requests {
            assert!(matches!(peer.ask(&request), Reply::Error { .. }), "{request:?}");
        }
    }
    for request in [
        Request::List { file: host.file("link") },
        make(&host, "link/new"),
        Request::Remove { file: host.file("link/new") },
    ] {
        assert_eq!(kind(&peer.ask(&request)), FailureKind::Denied, "{request:?}");
    }
    assert_eq!(std::fs::read_dir(host.dir.path().join("secret")).unwrap().count(), 0);
}

#[test]
fn a_file_that_begins_as_another_one_is_sent_only_what_differs() {
    let host = Host::new();
    let (length, old) = (4 << 20, noise(1 << 20, 3));
    host.image("old", 5 << 20, &[(1 << 20, &old), (4 << 20, b"gone")]);
    let bytes = host.image("new", length, &[(1 << 20, &old), (3 << 20, b"changed")]);
    let (mut source, mut target) = (host.session(), host.session());
    let seed = Request::Seed { file: host.file("copy"), from: host.file("old") };
    assert_eq!(target.ask(&seed), Reply::Done);
    assert_eq!(kind(&target.ask(&seed)), FailureKind::AlreadyExists);
    assert_eq!(target.create(&host.file("copy"), length, Opening::Resume), Reply::Created { was_there: true });
    let (root, _) = source.scan(&host.file("new"), Keep::Forget);
    let Reply::Scanned { .. } = target.ask(&Request::ScanPartial) else { panic!("not scanned") };
    let spans = crate::copy::differing(&mut source, &mut target, length);
    assert_eq!(spans, [Span { offset: 3 << 20, length: LEAF_SIZE }]);
    let (blocks, _) = source.send(&host.file("new"), What::Ranges(spans));
    target.receive(&blocks);
    assert_eq!(target.ask(&Request::Finish { root }), Reply::Ready);
    assert_eq!(target.ask(&Request::Publish), Reply::Published);
    assert!(std::fs::read(host.path("copy")).unwrap() == bytes);
    let missing = Request::Seed { file: host.file("other"), from: host.file("nothing") };
    assert_eq!(kind(&target.ask(&missing)), FailureKind::NotFound);
    assert_eq!(host.names(), ["copy", "new", "old"]);
}
