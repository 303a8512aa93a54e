//! What a backend leaves behind in its process. Alone in its file, because it counts threads and descriptors.

use std::time::{Duration, Instant};

use kvm_core::{ConnectOptions, Hypervisor, Target, VmFilter};
use kvm_libvirt::{Config, Libvirt};

/// Connects, subscribes, calls, and drops everything.
async fn once() {
    let target = Target::parse("test:///default").unwrap();
    let libvirt = Libvirt::connect(&target, &ConnectOptions::default(), Config::default()).await.unwrap();
    let _events = Hypervisor::events(&*libvirt).await.unwrap();
    Hypervisor::list(&*libvirt, &VmFilter::all()).await.unwrap();
    assert!(threads("libvirt-calls") > 0);
}

fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end while it is looked at.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|comm| comm.trim() == name).count()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn until_no_thread_calls() {
    let deadline = Instant::now() + Duration::from_secs(20);
    while threads("libvirt-calls") > 0 {
        assert!(Instant::now() < deadline, "{} threads stayed", threads("libvirt-calls"));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_backend_that_is_dropped_leaves_the_event_loop_and_nothing_else() {
    once().await;
    until_no_thread_calls().await;
    let before = descriptors();
    for _ in 0..20 {
        once().await;
    }
    until_no_thread_calls().await;
    assert_eq!(descriptors(), before);
    assert_eq!(threads("libvirt-events"), 1);
}
