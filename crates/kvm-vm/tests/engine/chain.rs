//! The graph of a host's images: what it is put together from, and that it errs on the safe side.

use std::path::Path;

use kvm_image::graph::{Name, Operation, Presence, Reason, Verdict};
use kvm_vm::{DeleteOptions, DiskGraph, Running, Volumes, disk_graph, plan_delete};

use crate::support::Bench;

fn at(graph: &DiskGraph, path: &str) -> usize {
    graph.graph().find(&Name::path(path)).unwrap_or_else(|| panic!("no {path} in\n{}", graph.graph().to_text()))
}

fn users(graph: &DiskGraph, path: &str) -> Vec<String> {
    graph.graph().images()[at(graph, path)].users.keys().map(ToString::to_string).collect()
}

/// Adds a machine with one disk.
fn plant(bench: &Bench, name: &str, format: &str, path: &str) {
    let uuid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
    let xml = format!(
        "<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><memory>1048576</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64'>hvm</type></os><devices><disk type='file'><driver name='qemu' type='{format}'/>\
         <source file='{path}'/><target dev='vda'/></disk></devices></domain>"
    );
    bench.mock.plant(&xml).unwrap();
}

async fn write(bench: &Bench, path: &str, data: &[u8]) {
    bench.host.transport.write_file(Path::new(path), data, 0o600).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn disks_snapshots_and_checkpoints_use_their_images() {
    let bench = Bench::new();
    let graph = disk_graph(&bench.host).await.unwrap();
    assert_eq!(
        users(&graph, "/images/build-01.qcow2"),
        [
            "disk vda of VM build-01",
            "snapshot one of VM build-01",
            "snapshot two of VM build-01",
            "checkpoint monday of VM build-01"
        ]
    );
    assert_eq!(users(&graph, "/images/shared.qcow2")[..2], ["disk vdc of VM build-01", "disk vdb of VM db"]);
    assert_eq!(users(&graph, "/iso/debian.iso").len(), 2, "no snapshot is in what is only read");
    let base = &graph.graph().images()[at(&graph, "/images/base.qcow2")];
    assert_eq!(base.overlays.len(), 2);
    assert_eq!(graph.inactive().iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>(), ["archive"]);
}

#[tokio::test(start_paused = true)]
async fn the_header_of_a_file_in_no_pool_is_read() {
    let bench = Bench::new();
    let overlay = bench.mock.read_at("/images/db.qcow2", 0, 1 << 18).unwrap();
    write(&bench, "/tmp/hidden.qcow2", &overlay).await;
    plant(&bench, "other", "qcow2", "/tmp/hidden.qcow2");
    let graph = disk_graph(&bench.host).await.unwrap();
    let hidden = at(&graph, "/tmp/hidden.qcow2");
    assert!(graph.graph().images()[at(&graph, "/images/base.qcow2")].overlays.contains(&hidden));
}

#[tokio::test(start_paused = true)]
async fn a_header_is_worth_more_than_what_the_pool_remembers() {
    let bench = Bench::new();
    // Somebody has rebased the image, and the pool has not looked again.
    let overlay = bench.mock.read_at("/images/db.qcow2", 0, 1 << 18).unwrap();
    write(&bench, "/images/free.qcow2", &overlay).await;
    let graph = disk_graph(&bench.host).await.unwrap();
    let free = at(&graph, "/images/free.qcow2");
    assert_eq!(graph.graph().images()[free].backing.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_wrote_into_a_raw_disk_is_no_header() {
    let bench = Bench::new();
    let overlay = bench.mock.read_at("/images/db.qcow2", 0, 1 << 18).unwrap();
    write(&bench, "/tmp/raw.img", &overlay).await;
    plant(&bench, "other", "raw", "/tmp/raw.img");
    let graph = disk_graph(&bench.host).await.unwrap();
    assert!(graph.graph().images()[at(&graph, "/tmp/raw.img")].backing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_one_image_cannot_be_read_nothing_is_deleted() {
    let bench = Bench::new();
    let all = DeleteOptions { volumes: Volumes::Delete, running: Running::PowerOff };
    let steps = async || plan_delete(&bench.host, &bench.vm("build-01").await, &all).await.unwrap();
    let before = steps().await.steps.len();
    let mut broken = bench.mock.read_at("/images/db.qcow2", 0, 1 << 18).unwrap();
    broken[20..24].copy_from_slice(&99_u32.to_be_bytes());
    write(&bench, "/tmp/broken.qcow2", &broken).await;
    plant(&bench, "other", "qcow2", "/tmp/broken.qcow2");
    let graph = disk_graph(&bench.host).await.unwrap();
    let image = &graph.graph().images()[at(&graph, "/tmp/broken.qcow2")];
    assert!(matches!(image.presence, Presence::Unread { .. }), "{image:?}");
    let free = Operation::delete([Name::path("/images/free.qcow2")]);
    let verdict = graph.graph().may(&free, &std::collections::BTreeSet::new());
    assert!(matches!(verdict, Verdict::Refused { reasons } if matches!(reasons[..], [Reason::Unread { .. }])));
    let plan = steps().await;
    assert_eq!(plan.steps.len(), before - 2, "{plan}");
    assert!(plan.to_string().contains("perhaps below /tmp/broken.qcow2"), "{plan}");
}
