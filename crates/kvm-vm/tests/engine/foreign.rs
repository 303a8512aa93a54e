//! Images that somebody else made: what their headers may say, and what is done about the rest.

use std::path::Path;

use kvm_core::{ErrorKind, Result};
use kvm_vm::{
    AttachPlan, DiskAttach, ForeignImages, ImportOptions, PlanContext, Policy, plan_disk_attach, plan_import,
};

use crate::support::{Bench, said};

/// Where the header has the features that must not be ignored, and the method of encryption.
const INCOMPATIBLE: usize = 79;
const ENCRYPTION: usize = 35;
const DATA_FILE: u8 = 4;
const LUKS: u8 = 2;

/// A volume whose header is that of an empty image, changed.
async fn volume(bench: &Bench, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = bench.mock.read_at("/images/free.qcow2", 0, 1 << 18).unwrap();
    change(&mut bytes);
    bench.host.transport.write_file(Path::new("/images/found.img"), &bytes, 0o600).await.unwrap();
    bench.host.storage.refresh_pool(&"default".parse().unwrap()).await.unwrap();
}

async fn attach(bench: &Bench, disk: &str, policy: &Policy) -> Result<AttachPlan> {
    let wanted = DiskAttach { disk: disk.parse().unwrap(), target: None, impact: None, allow_overcommit: false };
    let cx = PlanContext { policy, ..bench.cx() };
    plan_disk_attach(&bench.host, &bench.vm("db").await, &wanted, &cx).await
}

fn accepting() -> Policy {
    Policy { foreign_images: ForeignImages::Accept, ..Policy::default() }
}

#[tokio::test(start_paused = true)]
async fn the_header_says_the_format() {
    let bench = Bench::new();
    volume(&bench, |_| {}).await;
    let plan = attach(&bench, "volume=default/found.img", &bench.policy).await.unwrap();
    assert!(plan.document.to_xml().contains("type='qcow2'"), "{}", plan.document.to_xml());
    // An overlay of a volume is fine: it lies where images may lie.
    let plan = attach(&bench, "volume=default/fleeting.qcow2", &bench.policy).await.unwrap();
    assert!(plan.document.to_xml().contains("type='qcow2'"));
}

#[tokio::test(start_paused = true)]
async fn a_risky_header_is_refused_until_it_is_accepted() {
    for (at, byte, why) in [(ENCRYPTION, LUKS, "encrypted"), (INCOMPATIBLE, DATA_FILE, "data")] {
        let bench = Bench::new();
        volume(&bench, |bytes| bytes[at] = byte).await;
        for disk in ["volume=default/found.img", "path=/images/found.img", "path=/images/found.img,format=qcow2"] {
            let e = attach(&bench, disk, &bench.policy).await.unwrap_err();
            assert_eq!((e.kind(), e.operation()), (ErrorKind::InvalidInput, Some("check-image")), "{}", said(&e));
            assert!(said(&e).contains(why), "{}", said(&e));
            attach(&bench, disk, &accepting()).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_header_is_corrupt() {
    let bench = Bench::new();
    volume(&bench, |bytes| bytes[20..24].copy_from_slice(&99_u32.to_be_bytes())).await;
    let e = attach(&bench, "volume=default/found.img", &bench.policy).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_what_was_said_is_refused() {
    let bench = Bench::new();
    let e = attach(&bench, "volume=default/build-01-data.img,format=qcow2", &bench.policy).await.unwrap_err();
    assert!(said(&e).contains("is raw, not qcow2"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_wrote_into_its_raw_disk_stays_raw() {
    let bench = Bench::new();
    // A guest with a raw disk has written the header of an image into it.
    let header = bench.mock.read_at("/images/free.qcow2", 0, 512).unwrap();
    bench.mock.write_at("/images/build-01-data.img", 0, &header).unwrap();
    bench
        .mock
        .plant(
            "<domain type='kvm'><name>owner</name><uuid>11111111-2222-4333-8444-555555555555</uuid><memory>1048576</memory>\
             <vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os><devices><disk type='file'><driver name='qemu' \
             type='raw'/><source file='/images/build-01-data.img'/><target dev='vda'/></disk></devices></domain>",
        )
        .unwrap();
    let plan = attach(&bench, "volume=default/build-01-data.img", &bench.policy).await.unwrap();
    assert!(plan.document.to_xml().contains("type='raw'"), "{}", plan.document.to_xml());
}

#[tokio::test(start_paused = true)]
async fn a_strangers_document_brings_no_risky_image() {
    let bench = Bench::new();
    volume(&bench, |bytes| bytes[ENCRYPTION] = LUKS).await;
    let document = |format: &str| {
        format!(
            "<domain type='kvm'><name>new</name><memory>1048576</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>\
             <devices><disk type='file'><driver name='qemu' type='{format}'/><source file='/images/found.img'/>\
             <target dev='vda'/></disk></devices></domain>"
        )
    };
    let import = async |format: &str| {
        plan_import(&bench.host, &document(format), &ImportOptions::default(), &bench.cx()).await.map(drop)
    };
    let e = import("qcow2").await.unwrap_err();
    assert_eq!((e.kind(), e.operation()), (ErrorKind::InvalidInput, Some("check-image")), "{}", said(&e));
    // As raw it is bytes, and nothing in them means anything.
    import("raw").await.unwrap();
}
