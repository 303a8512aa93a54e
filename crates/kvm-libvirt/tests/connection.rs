//! Connections, and why they cannot be opened.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_core::{ConnectOptions, Error, ErrorKind, Target};
use kvm_libvirt::{Config, Libvirt, LibvirtError};

async fn connect(target: &str, socket: Option<&Path>, config: Config) -> Result<Arc<Libvirt>, Error> {
    let options = ConnectOptions { socket: socket.map(Into::into), ..Default::default() };
    Libvirt::connect(&Target::parse(target).unwrap(), &options, config).await
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_unavailable_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let e = connect("qemu:///system", Some(&dir.path().join("none")), Config::default()).await.unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Unavailable, "cannot connect to qemu:///system"));
    let source = std::error::Error::source(&e).and_then(|e| e.downcast_ref::<LibvirtError>()).unwrap();
    assert_eq!(source.os_error(), Some(2));
}

#[tokio::test]
async fn a_daemon_that_never_answers_is_given_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("libvirt-sock");
    // Connections are taken by the system; nobody reads from them.
    let listener = UnixListener::bind(&socket).unwrap();
    let config = Config { connect_deadline: Duration::from_millis(300), ..Config::default() };
    let before = Instant::now();
    let e = connect("qemu:///system", Some(&socket), config).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Timeout, "{e}");
    assert!(before.elapsed() < Duration::from_secs(10));
    drop(listener);
}

#[tokio::test]
async fn a_node_file_is_input() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.xml");
    std::fs::write(&broken, "<node><domain></node>").unwrap();
    for (target, kind) in [
        (format!("test://{}", broken.display()), ErrorKind::InvalidInput),
        (format!("test://{}/none.xml", dir.path().display()), ErrorKind::NotFound),
        ("mock:///demo".to_owned(), ErrorKind::InvalidInput),
    ] {
        assert_eq!(connect(&target, None, Config::default()).await.unwrap_err().kind(), kind, "{target}");
    }
}
