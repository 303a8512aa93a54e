//! How fast libvirt's documents become Rust structs and text again.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kvm_xml::{Document, Domain};

fn documents(c: &mut Criterion) {
    let mut group = c.benchmark_group("domain");
    for (name, text) in [
        ("boot", include_str!("../../testdata/xml/domain-boot.xml")),
        ("disks", include_str!("../../testdata/xml/domain-disks.xml")),
        ("network", include_str!("../../testdata/xml/domain-network.xml")),
    ] {
        let domain = Domain::from_xml(text).expect("a document of our own");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("parse {name}"), |b| b.iter(|| Domain::from_xml(black_box(text))));
        group.bench_function(format!("parse strictly {name}"), |b| b.iter(|| Domain::from_xml_strict(black_box(text))));
        group.bench_function(format!("write {name}"), |b| b.iter(|| black_box(&domain).to_xml()));
    }
    group.finish();
}

criterion_group!(benches, documents);
criterion_main!(benches);
