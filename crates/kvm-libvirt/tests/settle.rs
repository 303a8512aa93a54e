//! What a program waits for before it ends. Alone in its file, because it is about all connections of a process.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use kvm_core::{ConnectOptions, ErrorKind, Hypervisor, Target, VmFilter};
use kvm_libvirt::{Config, Libvirt, settle};

const LONG: Duration = Duration::from_secs(20);

async fn list() {
    let target = Target::parse("test:///default").unwrap();
    let libvirt = Libvirt::connect(&target, &ConnectOptions::default(), Config::default()).await.unwrap();
    Hypervisor::list(&*libvirt, &VmFilter::all()).await.unwrap();
}

#[tokio::test]
async fn a_process_settles_when_connections_are_closed_and_not_while_a_host_hangs() {
    assert!(settle(Duration::ZERO), "nothing was ever opened");
    list().await;
    assert!(settle(LONG));

    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("libvirt-sock");
    // Connections are taken by the system; nobody reads from them.
    let listener = UnixListener::bind(&socket).unwrap();
    let options = ConnectOptions { socket: Some(socket), ..Default::default() };
    let config = Config { connect_deadline: Duration::from_millis(100), ..Config::default() };
    let e = Libvirt::connect(&Target::parse("qemu:///system").unwrap(), &options, config).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Timeout);
    assert!(!settle(Duration::from_millis(50)));
    list().await;
    assert!(!settle(Duration::from_millis(50)));

    drop(listener);
    assert!(settle(LONG));
}
