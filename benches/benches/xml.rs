//! How fast libvirt's documents become Rust structs and text again: a typical domain of 8 KiB, all documents of `testdata/xml`,
//! and all documents below the directory in `KVM_XML_CORPUS`, when that is set.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kvm_benches::xml::{Corpus, Document, testdata, typical_domain};
use kvm_xml::{Document as _, Domain};

fn typical(c: &mut Criterion) {
    let text = typical_domain();
    let domain = Domain::from_xml(&text).expect("a document of our own");
    let mut group = c.benchmark_group("domain of 8 KiB");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse", |b| b.iter(|| Domain::from_xml(black_box(&text))));
    group.bench_function("parse strictly", |b| b.iter(|| Domain::from_xml_strict(black_box(&text))));
    group.bench_function("write", |b| b.iter(|| black_box(&domain).to_xml()));
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "where the documents are is the business of whoever measures")]
fn documents(c: &mut Criterion) {
    all(c, "testdata", &testdata().join("xml"));
    if let Some(directory) = std::env::var_os("KVM_XML_CORPUS") {
        all(c, "corpus", &PathBuf::from(directory));
    }
}

fn all(c: &mut Criterion, name: &str, directory: &Path) {
    let documents = Corpus::read(directory).expect("documents").documents;
    let models: Vec<_> = documents.iter().map(|document| document.parse().expect("a document that was read")).collect();
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Bytes(documents.iter().map(|document| document.text.len() as u64).sum()));
    let parse = |document: &Document| black_box(document).parse();
    group.bench_function("parse", |b| b.iter(|| documents.iter().map(parse).filter(Result::is_ok).count()));
    group.bench_function("write", |b| {
        b.iter(|| models.iter().map(|model| black_box(model).to_xml().len()).sum::<usize>())
    });
    group.bench_function("parse and write", |b| {
        b.iter(|| documents.iter().flat_map(parse).map(|model| model.to_xml().len()).sum::<usize>());
    });
    group.finish();
}

criterion_group!(benches, typical, documents);
criterion_main!(benches);
