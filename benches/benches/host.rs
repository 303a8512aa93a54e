//! What a program waits for when it lists a host: a thousand machines, without a network in between.

use std::path::PathBuf;

use criterion::{Criterion, criterion_group, criterion_main};
use kvm_benches::node_file;
use kvm_core::{ConnectOptions, Hypervisor, Target, TestNode, VmFilter};
use kvm_libvirt::{Config, Libvirt};

fn lists(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory for the node file");
    let node: PathBuf = dir.path().join("node.xml");
    std::fs::write(&node, node_file(1000)).expect("the node file can be written");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let target = Target::Test(TestNode::File(node));
    let libvirt = runtime
        .block_on(Libvirt::connect(&target, &ConnectOptions::default(), Config::default()))
        .expect("the test driver opens");
    let hypervisor: &dyn Hypervisor = &*libvirt;

    let mut group = c.benchmark_group("1000 machines on the test driver");
    group.sample_size(20);
    group.bench_function("list", |b| b.iter(|| runtime.block_on(hypervisor.list(&VmFilter::all()))));
    group.bench_function("stats", |b| b.iter(|| runtime.block_on(hypervisor.stats(&VmFilter::all()))));
    group.finish();
}

criterion_group!(benches, lists);
criterion_main!(benches);
