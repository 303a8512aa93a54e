//! Connections: why they cannot be opened, and what is left when they are dropped.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_core::{ConnectOptions, Error, ErrorKind, Hypervisor, Target, VmFilter};
use kvm_libvirt::{Config, Libvirt, LibvirtError};

async fn connect(target: &str, socket: Option<&Path>, config: Config) -> Result<Arc<Libvirt>, Error> {
    let options = ConnectOptions { socket: socket.map(Into::into), ..Default::default() };
    Libvirt::connect(&Target::parse(target).unwrap(), &options, config).await
}

fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let named = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end while it is looked at.
        task.is_ok_and(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
    };
    tasks.filter(|_| true).map(named).filter(|is_one| *is_one).count()
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

#[tokio::test]
async fn a_backend_that_is_dropped_leaves_one_thread_to_the_process() {
    for _ in 0..20 {
        let libvirt = connect("test:///default", None, Config::default()).await.unwrap();
        let _events = Hypervisor::events(&*libvirt).await.unwrap();
        Hypervisor::list(&*libvirt, &VmFilter::all()).await.unwrap();
        assert!(threads("libvirt-calls") > 0);
    }
    // The last ones are on their way out; other tests of this file have none of this name that stay.
    let deadline = Instant::now() + Duration::from_secs(20);
    while threads("libvirt-calls") > 1 {
        assert!(Instant::now() < deadline, "{} threads stayed", threads("libvirt-calls"));
        tokio::task::yield_now().await;
    }
    assert_eq!(threads("libvirt-events"), 1);
}
