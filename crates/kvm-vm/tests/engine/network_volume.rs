//! Volumes that are reached over the network and have no path on the host: plugged in by their pool, and safe from what
//! takes a path.

use std::path::PathBuf;

use kvm_core::op::Plan;
use kvm_core::{
    Device, DeviceRef, ErrorKind, Existing, Holes, MockWorld, PoolName, Result, Secrets, SeededEntropy, View,
    WipePattern,
};
use kvm_mock::Mock;
use kvm_vm::migrate::{DiskTransfer, MigrateOptions, Verdict, preflight};
use kvm_vm::{
    AttachPlan, DeleteOptions, DiskAttach, DiskDetach, DiskMove, Download, InUse, PackageExport, PackageForm, PoolData,
    Running, Sharing, Verify, VolumeCopy, VolumeRef, Volumes,
};
use kvm_xml::domain::DiskType;

use crate::support::{Bench, said, spec};

const UNIT: &str = "san/unit:0:0:1";

fn bench() -> Bench {
    let world = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/san.yaml"));
    Bench::of(|clock| Mock::open(&MockWorld::File(world), None, clock))
}

fn volume(text: &str) -> VolumeRef {
    VolumeRef::parse(text).unwrap()
}

/// A plan without its columns.
fn words(plan: &Plan) -> String {
    plan.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn attach(bench: &Bench, vm: &str, disk: &str) -> Result<AttachPlan> {
    let disk = DiskAttach { disk: disk.parse()?, target: None, impact: None, allow_overcommit: false };
    kvm_vm::plan_disk_attach(&bench.host, &bench.vm(vm).await, &disk, &bench.cx()).await
}

async fn plugged_in() -> Bench {
    let bench = bench();
    let plan = attach(&bench, "web", &format!("volume={UNIT}")).await.unwrap().plan;
    assert!(words(&plan).contains("use volume san/unit:0:0:1 raw"), "{plan}");
    bench.run(plan).await.unwrap();
    bench
}

#[tokio::test(start_paused = true)]
async fn it_is_plugged_in_by_its_pool() {
    let bench = plugged_in().await;
    let vm = bench.vm("web").await;
    for view in [View::LIVE, View::CONFIG] {
        let document = bench.host.hypervisor.definition(&vm.id, view).await.unwrap();
        let Some(Device::Disk(disk)) = DeviceRef::Disk("vdb".parse().unwrap()).find(&document) else {
            panic!("no disk")
        };
        let source = disk.source.unwrap();
        assert_eq!((disk.r#type, source.pool.as_deref()), (Some(DiskType::Volume), Some("san")));
        assert_eq!((source.volume.as_deref(), source.file), (Some("unit:0:0:1"), None));
    }
    let again = attach(&bench, "web", &format!("volume={UNIT}")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let other = attach(&bench, "spare", &format!("volume={UNIT}")).await.unwrap().plan.to_string();
    assert!(other.contains("also used by web"), "{other}");
    let create = spec(&format!(r#"{{"name": "new", "disks": [{{"volume": "{UNIT}"}}, {{"volume": "{UNIT}"}}]}}"#));
    let twice = kvm_vm::plan_create(&bench.host, &create, &bench.cx()).await.unwrap_err();
    assert!(said(&twice).contains("two disks are san/unit:0:0:1"), "{}", said(&twice));
}

#[tokio::test(start_paused = true)]
async fn who_uses_it_is_known_by_pool_and_by_address() {
    let bench = plugged_in().await;
    for (unit, vm) in [(UNIT, "web"), ("san/unit:0:0:2", "by-address")] {
        let (_, uses) = kvm_vm::volume_uses(&bench.host, &volume(unit)).await.unwrap();
        assert_eq!(uses, Some(format!("used by {vm}")));
        let wiped = kvm_vm::wipe_volume(&bench.host, &volume(unit), WipePattern::Zero).await.unwrap_err();
        assert_eq!(wiped.kind(), ErrorKind::InvalidState, "{unit}");
    }
    let orphans = kvm_vm::orphans(&bench.host, None).await.unwrap().volumes;
    let orphans: Vec<_> = orphans.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(orphans, ["unit:0:0:3"]);
    kvm_vm::wipe_volume(&bench.host, &volume("san/unit:0:0:3"), WipePattern::Zero).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_stays_when_its_machine_lets_go_of_it() {
    let bench = plugged_in().await;
    let wanted = DiskDetach { volume: Volumes::Delete, ..DiskDetach::new("vdb".parse().unwrap()) };
    let plan = kvm_vm::plan_disk_detach(&bench.host, &bench.vm("web").await, &wanted).await.unwrap();
    assert!(words(&plan).contains("keep volume san/unit:0:0:1 reached over the network"), "{plan}");
    let options = DeleteOptions { volumes: Volumes::Delete, running: Running::PowerOff };
    let plan = kvm_vm::plan_delete(&bench.host, &bench.vm("web").await, &options).await.unwrap();
    let shown = words(&plan);
    assert!(shown.contains("remove volume default/web.qcow2"), "{shown}");
    assert!(shown.contains("keep volume san/unit:0:0:1 reached over the network"), "{shown}");
    bench.run(plan).await.unwrap();
    bench.host.storage.find_volume(&volume(UNIT).pool, &volume(UNIT).volume).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_takes_a_path_is_refused_before_anything_is_done() {
    let bench = plugged_in().await;
    let (host, web, spare) = (&bench.host, bench.vm("web").await, bench.vm("spare").await);
    let unit = volume("san/unit:0:0:3");
    let (entropy, file) = (SeededEntropy::new(1), PathBuf::from("/nowhere/disk.raw"));
    let download = Download {
        volume: unit.clone(),
        file: file.clone(),
        existing: Existing::Reject,
        holes: Holes::Keep,
        verify: Verify::Count,
        in_use: InUse::Refuse,
    };
    let copy = VolumeCopy {
        from: unit.clone(),
        to: volume("default/copy.img"),
        format: None,
        size: None,
        sharing: Sharing::Auto,
    };
    let create = spec(r#"{"name": "new", "iso": "san/unit:0:0:3", "disks": [{"size": "1GiB"}]}"#);
    let new = spec(r#"{"name": "new", "disks": [{"size": "1GiB", "pool": "san"}]}"#);
    bench.run(attach(&bench, "spare", "volume=san/unit:0:0:2").await.unwrap().plan).await.unwrap();
    let before = bench.picture().await;
    let export = PackageExport { file, form: PackageForm::Bundle, secrets: Secrets::Hide };
    let refused = [
        kvm_vm::plan_download(host, &download, &entropy).await.unwrap_err(),
        kvm_vm::plan_volume_copy(host, &copy).await.unwrap_err(),
        kvm_vm::plan_create(host, &create, &bench.cx()).await.unwrap_err(),
        kvm_vm::plan_create(host, &new, &bench.cx()).await.unwrap_err(),
        kvm_vm::plan_pool_delete(host, &unit.pool, PoolData::Destroy).await.unwrap_err(),
        kvm_vm::plan_package_export(host, &spare, &export).await.unwrap_err(),
    ];
    for e in &refused {
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{}", said(e));
    }
    let said = said(&refused[0]);
    assert!(said.contains("san/unit:0:0:3 is reached over the network") && said.contains("lun-3"), "{said}");
    let moved = DiskMove::new("vdb".parse().unwrap(), PoolName::parse("default").unwrap());
    let moved = kvm_vm::plan_disk_move(host, &web, &moved, &bench.cx()).await.unwrap_err();
    assert_eq!(moved.kind(), ErrorKind::InvalidInput);
    let format = attach(&bench, "spare", "volume=san/unit:0:0:3,format=qcow2").await.unwrap_err();
    assert_eq!(format.kind(), ErrorKind::InvalidInput);
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_machine_moves_where_the_same_pool_is() {
    let bench = plugged_in().await;
    let vm = bench.vm("web").await;
    let other = |host: &str| {
        let text = format!(
            "pools: [{{name: san, iscsi: {{host: {host}, target: 'iqn.2030-01.example:store'}}, \
                            volumes: [{{name: 'unit:0:0:1', capacity: 64GiB}}]}}]"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("there.yaml");
        std::fs::write(&file, text).unwrap();
        Mock::open(&MockWorld::File(file), None, bench.clock.clone()).unwrap().host()
    };
    let copied = MigrateOptions { storage: DiskTransfer::Copy, ..MigrateOptions::default() };
    let named = DiskTransfer::CopyOnly(["vdb".parse().unwrap()].into());
    let named = MigrateOptions { storage: named, ..MigrateOptions::default() };
    let stopped = other("192.0.2.10");
    stopped.storage.stop_pool(&volume(UNIT).pool).await.unwrap();
    let missing = "vdb: the destination has no volume san/unit:0:0:1";
    for (there, options, verdict, what) in [
        (stopped, &copied, Verdict::Refusal, missing),
        (other("192.0.2.10"), &copied, Verdict::Ok, "vdb is san/unit:0:0:1 at the same address there"),
        (other("192.0.2.11"), &copied, Verdict::Refusal, "vdb: san/unit:0:0:1 is at another address there"),
        (bench_without_pools(&bench), &copied, Verdict::Refusal, missing),
        (
            other("192.0.2.10"),
            &named,
            Verdict::Refusal,
            "vdb cannot be copied: san/unit:0:0:1 is reached over the network",
        ),
    ] {
        let found = preflight(&bench.host, &there, &vm, options, &SeededEntropy::new(1)).await.unwrap();
        let about: Vec<_> = found.findings().iter().filter(|finding| finding.what.starts_with("vdb")).collect();
        assert_eq!(about.len(), 1, "{about:?}");
        assert_eq!((about[0].verdict, about[0].what.as_str()), (verdict, what));
    }
}

fn bench_without_pools(bench: &Bench) -> kvm_core::Host {
    Mock::empty(bench.clock.clone()).unwrap().host()
}
