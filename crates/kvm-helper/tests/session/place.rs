//! Names: nothing but files below the directory is ever touched.

use std::os::unix::fs::symlink;

use kvm_wire::*;

use crate::peer::{Host, kind};

fn stat(host: &Host, file: FileRef) -> Reply {
    host.session().ask(&Request::Stat { file })
}

#[test]
fn a_file_is_told_as_it_is() {
    let host = Host::new();
    host.image("disk", 1 << 30, &[(0, b"x")]);
    let reply = stat(&host, host.file("disk"));
    assert!(
        matches!(reply, Reply::Stat { length, allocated, identity: Some(_), pending: None }
        if length == 1 << 30 && (1..1 << 20).contains(&allocated)),
        "{reply:?}"
    );
    assert_eq!(kind(&stat(&host, host.file("nothing"))), FailureKind::NotFound);
    assert_eq!(kind(&stat(&host, FileRef::new("/nonexistent", "disk"))), FailureKind::NotFound);
}

#[test]
fn files_in_directories_below_are_found() {
    let host = Host::new();
    std::fs::create_dir(host.path("deep")).unwrap();
    host.image("deep/disk", 7, &[]);
    assert!(matches!(stat(&host, host.file("deep/disk")), Reply::Stat { length: 7, .. }));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let host = Host::new();
    host.image("disk", 7, &[]);
    let names = ["", ".", "..", "/etc/passwd", "../images/disk", "deep/../disk", "./disk", "disk/", "a\0b", "disk/."];
    for name in names.into_iter().chain(["disk.partial", "disk.sync"]) {
        assert_eq!(kind(&stat(&host, host.file(name))), FailureKind::InvalidInput, "{name:?}");
        let reply = host.session().create(&host.file(name), 1, Opening::New);
        assert_eq!(kind(&reply), FailureKind::InvalidInput, "{name:?}");
    }
    for root in ["", "images", "./x", "/tmp\0"] {
        assert_eq!(kind(&stat(&host, FileRef::new(root, "disk"))), FailureKind::InvalidInput, "{root:?}");
    }
    let long = host.session().create(&host.file(&"x".repeat(250)), 1, Opening::New);
    assert_eq!(kind(&long), FailureKind::InvalidInput);
    assert_eq!(host.names(), ["disk"]);
}

#[test]
fn links_are_not_followed() {
    let host = Host::new();
    std::fs::create_dir(host.dir.path().join("secret")).unwrap();
    std::fs::write(host.dir.path().join("secret/key"), "secret").unwrap();
    symlink("../secret/key", host.path("file")).unwrap();
    symlink("../secret", host.path("directory")).unwrap();
    symlink("disk", host.path("near")).unwrap();
    symlink("../secret/key", host.path("copy.partial")).unwrap();
    host.image("disk", 7, &[]);
    for name in ["file", "directory/key", "near"] {
        assert_eq!(kind(&stat(&host, host.file(name))), FailureKind::Denied, "{name}");
    }
    for opening in [Opening::New, Opening::Resume] {
        let reply = host.session().create(&host.file("copy"), 1, opening);
        assert!(matches!(kind(&reply), FailureKind::Denied | FailureKind::AlreadyExists), "{reply:?}");
        assert!(matches!(kind(&host.session().create(&host.file("directory/x"), 1, opening)), FailureKind::Denied));
    }
    assert_eq!(std::fs::read(host.dir.path().join("secret/key")).unwrap(), b"secret");
}

#[test]
fn only_files_and_block_devices_are_images() {
    let host = Host::new();
    std::fs::create_dir(host.path("directory")).unwrap();
    let mode = rustix::fs::Mode::from(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, host.path("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for name in ["directory", "fifo"] {
        assert_eq!(kind(&stat(&host, host.file(name))), FailureKind::InvalidInput, "{name}");
    }
    assert_eq!(kind(&stat(&host, FileRef::new("/dev", "null"))), FailureKind::InvalidInput);
}

#[test]
fn an_image_that_is_too_long_for_us_or_the_file_system_leaves_nothing() {
    let host = Host::new();
    let reply = host.session().create(&host.file("huge"), u64::MAX, Opening::New);
    assert_eq!(kind(&reply), FailureKind::Unsupported);
    assert_eq!(host.names(), [""; 0]);
}

#[test]
fn room_is_told_of_a_directory() {
    let host = Host::new();
    let reply = host.session().ask(&Request::Space { root: host.path("").to_str().unwrap().to_owned() });
    assert!(matches!(reply, Reply::Space { free, total } if 0 < free && free <= total), "{reply:?}");
}
