//! Images as QEMU writes them are read as QEMU reads them.

use std::fs::File;
use std::path::Path;

use kvm_image::qcow2::{ExtentKind, Map, verify};
use kvm_image::{Header, inspect};
use kvm_lab::Program;
use serde_json::Value;

/// A disk, and what is written to it: at the beginning, in the middle, as zeros, near the end.
const SIZE: &str = "10M";
const WRITES: [&str; 4] = ["write -P 7 0 200k", "write -P 8 3M 64k", "write -z 5M 1M", "write -P 9 9M 100k"];

/// Options of `qemu-img create -f qcow2`, each of them another layout.
const LAYOUTS: [&str; 13] = [
    "compat=1.1",
    "compat=0.10",
    "cluster_size=512",
    "cluster_size=2M",
    "extended_l2=on,cluster_size=128k",
    "lazy_refcounts=on",
    "compression_type=zstd",
    "refcount_bits=1",
    "refcount_bits=64",
    "preallocation=metadata",
    "preallocation=full",
    "data_file=data.raw",
    "data_file=raw.raw,data_file_raw=on",
];

async fn json(argv: &[&str]) -> Value {
    serde_json::from_str(&Program::new(argv).run().await.succeeded()).unwrap()
}

/// What stands at each sector, in our words and in QEMU's.
fn sectors(extents: impl Iterator<Item = (u64, u64, char, Option<u64>)>) -> Vec<(char, Option<u64>)> {
    let sector = |(start, length, kind, host): (u64, u64, char, Option<u64>)| {
        (start..start + length).step_by(512).map(move |at| (kind, host.map(|host| host + at - start)))
    };
    extents.flat_map(sector).collect()
}

fn ours(image: &File) -> Vec<(char, Option<u64>)> {
    sectors(Map::open(image).unwrap().map(Result::unwrap).map(|extent| {
        let (kind, host) = match extent.kind {
            ExtentKind::Data { host } => ('d', Some(host.get())),
            ExtentKind::Zero => ('z', None),
            ExtentKind::Compressed => ('c', None),
            _ => ('u', None),
        };
        (extent.start.get(), extent.length.get(), kind, host)
    }))
}

fn theirs(map: &Value) -> Vec<(char, Option<u64>)> {
    sectors(map.as_array().unwrap().iter().map(|extent| {
        let is = |key: &str| extent[key] == true;
        let kind = match () {
            () if !is("present") => 'u',
            () if is("compressed") => 'c',
            () if is("zero") && !is("data") => 'z',
            () => 'd',
        };
        let host = extent["offset"].as_u64().filter(|_| kind == 'd');
        (extent["start"].as_u64().unwrap(), extent["length"].as_u64().unwrap(), kind, host)
    }))
}

async fn compare(path: &Path) {
    let name = path.to_str().unwrap();
    let (image, info) =
        (File::open(path).unwrap(), json(&["qemu-img", "info", "--output=json", "-f", "qcow2", name]).await);
    let seen = inspect(&image).unwrap();
    assert_eq!(seen.virtual_size.map(|size| size.get()), info["virtual-size"].as_u64(), "{name}");
    let Some(Header::Qcow2(header)) = seen.header else { panic!("{name}: {:?}", seen.risks) };
    let data = &info["format-specific"]["data"];
    assert_eq!(data["refcount-bits"], header.refcount_bits, "{name}");
    let map = json(&["qemu-img", "map", "--output=json", "-f", "qcow2", name]).await;
    assert_eq!(ours(&image), theirs(&map), "{name}");
    assert_eq!(verify(&image).unwrap().findings, [""; 0], "{name}");
}

#[test]
fn the_map_of_an_image_is_that_of_qemu() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        for (i, options) in LAYOUTS.iter().enumerate() {
            let path = directory.path().join(format!("{i}.qcow2"));
            let name = path.to_str().unwrap();
            // A data file stands beside its image.
            let options = options.replace("data_file=", &format!("data_file={}/", directory.path().display()));
            Program::new(["qemu-img", "create", "-q", "-f", "qcow2", "-o", &options, name, SIZE])
                .run()
                .await
                .succeeded();
            let writes = WRITES.iter().flat_map(|write| ["-c", write]);
            let argv = ["qemu-io", "-f", "qcow2"].into_iter().chain(writes).chain([name]);
            Program::new(argv).run().await.succeeded();
            compare(&path).await;
            if i == 0 {
                let packed = directory.path().join("packed.qcow2");
                let to = packed.to_str().unwrap();
                Program::new(["qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2", name, to])
                    .run()
                    .await
                    .succeeded();
                compare(&packed).await;
            }
        }
    });
}
