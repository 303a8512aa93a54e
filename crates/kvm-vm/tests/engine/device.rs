//! Devices of machines that are there: plugged in and out, changed in place, and what waits for the next start.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{
    Bandwidth, Bytes, CpuLimits, CpuShares, DeviceRef, DiskLimits, Error, ErrorKind, Host, Impact, Iops,
    MemoryPlacement, PowerAction, Result, VcpuCount, View, VmSummary, VmThread,
};
use kvm_mock::Mock;
use kvm_vm::{
    AttachPlan, DiskAttach, DiskDetach, NicAttach, NicDetach, Resources, ScreenPasswordChange, Volumes, eject, insert,
    limit_disk, pending, plan_create, plan_disk_attach, plan_disk_detach, plan_nic_attach, plan_nic_detach,
    resize_disk, set_link, set_resources, set_screen_password,
};
use kvm_xml::domain::{GraphicsType, Link, NumatuneMode};

use crate::support::{Bench, catalogue, said, spec};

const PATIENCE: Duration = Duration::from_secs(10);

fn disk(text: &str) -> DiskAttach {
    DiskAttach { disk: text.parse().unwrap(), target: None, impact: None, allow_overcommit: false }
}

fn nic(text: &str) -> NicAttach {
    NicAttach { nic: text.parse().unwrap(), impact: None }
}

async fn attach(bench: &Bench, vm: &str, wanted: &DiskAttach) -> Result<AttachPlan> {
    plan_disk_attach(&bench.host, &bench.vm(vm).await, wanted, &bench.cx()).await
}

async fn detach(bench: &Bench, vm: &str, wanted: &DiskDetach) -> Result<Plan> {
    plan_disk_detach(&bench.host, &bench.vm(vm).await, wanted).await
}

/// What tells the devices of a document apart, in its order.
async fn devices(host: &Host, vm: &str, view: View) -> Vec<String> {
    let vm = kvm_vm::resolve(host, vm).await.unwrap();
    let document = host.hypervisor.definition(&vm.id, view).await.unwrap();
    let devices = document.devices.unwrap_or_default();
    let disks = devices.disk.iter().map(|disk| disk.target.as_ref().unwrap().dev.as_ref().unwrap().to_string());
    disks.chain(devices.interface.iter().map(|nic| nic.mac.as_ref().unwrap().address.unwrap().to_string())).collect()
}

async fn both(bench: &Bench, vm: &str) -> (Vec<String>, Vec<String>) {
    (devices(&bench.host, vm, View::LIVE).await, devices(&bench.host, vm, View::CONFIG).await)
}

#[tokio::test(start_paused = true)]
async fn a_new_disk_goes_into_both_documents_of_a_running_machine() {
    let bench = Bench::new();
    let before = both(&bench, "build-01").await.0;
    let AttachPlan { plan, device, .. } = attach(&bench, "build-01", &disk("10G")).await.unwrap();
    let shown = plan.to_string();
    let (_, lines) = shown.split_once('\n').unwrap();
    assert_eq!(
        lines,
        "  create  volume  default/build-01-1.qcow2  10 GiB, qcow2\n  attach  disk    vdd                       virtio"
    );
    bench.run(plan).await.unwrap();
    assert_eq!(device, DeviceRef::Disk("vdd".parse().unwrap()));
    let (live, config) = both(&bench, "build-01").await;
    assert!(
        live.contains(&"vdd".to_owned()) && live == config && live.len() == before.len() + 1,
        "{live:?} {config:?}"
    );
    assert!(bench.mock.files().unwrap().contains_key("/images/build-01-1.qcow2"));
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_free_only_when_no_document_has_it() {
    let bench = Bench::new();
    for (impact, expected) in [(Impact::Config, "vdd"), (Impact::Live, "vde")] {
        let wanted = DiskAttach { impact: Some(impact), ..disk("1G") };
        let AttachPlan { plan, device, .. } = attach(&bench, "build-01", &wanted).await.unwrap();
        assert_eq!(device, DeviceRef::Disk(expected.parse().unwrap()));
        bench.run(plan).await.unwrap();
    }
    let taken = DiskAttach { target: Some("vdd".parse().unwrap()), impact: Some(Impact::Live), ..disk("1G") };
    assert_eq!(attach(&bench, "build-01", &taken).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    let before = bench.picture().await;
    let live = Some(Impact::Live);
    for (vm, wanted, says) in [
        ("db", DiskAttach { impact: live, ..disk("1G") }, "invalid_state [VM db]: VM db is off"),
        ("fleeting", DiskAttach { impact: Some(Impact::Config), ..disk("1G") }, "invalid_state [VM fleeting]"),
        ("build-01", disk("1G,bus=sata"), "unsupported [field bus]"),
        ("build-01", disk("1G,bus=scsi"), "invalid_input [field bus]: VM build-01 has no scsi controller"),
        ("build-01", disk("volume=default/build-01.qcow2"), "already_exists [field disk]"),
        ("build-01", disk("path=/srv/x.img,format=raw"), "invalid_input [field disk_path]"),
        ("build-01", disk("10T"), "no_space [pool default]"),
        ("build-01", DiskAttach { target: Some("sdx".parse().unwrap()), ..disk("1G") }, "invalid_input [field target]"),
    ] {
        let e = attach(&bench, vm, &wanted).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_what_its_options_say() {
    let bench = Bench::new();
    let text = "1G,serial=A1,cache=none,io=native,discard=ignore,boot=7,write_bytes=20MiB,total_iops=500";
    let AttachPlan { plan, document, .. } = attach(&bench, "build-01", &disk(text)).await.unwrap();
    let xml = document.to_xml();
    for part in [
        "cache='none' io='native' discard='ignore'",
        "<serial>A1</serial>",
        "<boot order='7'/>",
        "<write_bytes_sec>20971520</write_bytes_sec>",
        "<total_iops_sec>500</total_iops_sec>",
    ] {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    bench.run(plan).await.unwrap();
    for (text, says) in [("1G,boot=7", "invalid_input [field boot]: turn 7 of VM build-01 is taken")] {
        let e = attach(&bench, "build-01", &disk(text)).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_a_disk_take_the_place_of_those_before() {
    let bench = Bench::new();
    let (build, vdb) = (bench.vm("build-01").await, "vdb".parse().unwrap());
    let reading = DiskLimits { read_bytes: Bandwidth::parse("10MiB").ok(), ..DiskLimits::NONE };
    assert_eq!(limit_disk(&bench.host, &build, &vdb, &reading, None).await.unwrap(), Impact::Both);
    let writing = DiskLimits { write_iops: Iops::parse("5").ok(), ..DiskLimits::NONE };
    limit_disk(&bench.host, &build, &vdb, &writing, Some(Impact::Live)).await.unwrap();
    for (view, read, write) in [(View::LIVE, None, Some(5)), (View::CONFIG, Some(10 << 20), None)] {
        let document = bench.host.hypervisor.definition(&build.id, view).await.unwrap();
        let Some(kvm_core::Device::Disk(disk)) = DeviceRef::Disk(vdb.clone()).find(&document) else { panic!("no vdb") };
        let tune = disk.iotune.unwrap();
        assert_eq!((tune.read_bytes_sec, tune.write_iops_sec), (read, write));
    }
    let missing = limit_disk(&bench.host, &build, &"vdx".parse().unwrap(), &reading, None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let both = DiskLimits { total_bytes: Bandwidth::parse("10MiB").ok(), ..reading };
    assert_eq!(limit_disk(&bench.host, &build, &vdb, &both, None).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_detached_disk_is_gone_and_its_volume_stays() {
    let bench = Bench::new();
    let files = bench.mock.files().unwrap();
    let plan = detach(&bench, "build-01", &DiskDetach::new("vdb".parse().unwrap())).await.unwrap();
    assert!(plan.to_string().contains("keep    volume  default/build-01-data.img  1 GiB on disk"), "{plan}");
    bench.run(plan).await.unwrap();
    let (live, config) = both(&bench, "build-01").await;
    assert!(!live.contains(&"vdb".to_owned()) && live == config, "{live:?} {config:?}");
    assert_eq!(bench.mock.files().unwrap(), files);
}

#[tokio::test(start_paused = true)]
async fn a_volume_goes_with_its_disk_only_when_nobody_else_uses_it() {
    let bench = Bench::new();
    let gone = |target: &str| DiskDetach { volume: Volumes::Delete, ..DiskDetach::new(target.parse().unwrap()) };
    for (wanted, says) in [
        (gone("vdc"), "keep    volume  default/shared.qcow2  used by db"),
        (DiskDetach { impact: Some(Impact::Live), ..gone("vdb") }, "still in the machine's other document"),
        (gone("vdb"), "remove  volume  default/build-01-data.img"),
    ] {
        let plan = detach(&bench, "build-01", &wanted).await.unwrap();
        assert!(plan.to_string().contains(says), "{plan}");
        if says.starts_with("remove") {
            bench.run(plan).await.unwrap();
        }
    }
    assert!(!bench.mock.files().unwrap().contains_key("/images/build-01-data.img"));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_keeps_its_disk_keeps_it_in_the_configuration_too() {
    let bench = Bench::new();
    bench.run(attach(&bench, "deaf", &disk("1G")).await.unwrap().plan).await.unwrap();
    let before = both(&bench, "deaf").await;
    let wanted = DiskDetach { timeout: PATIENCE, ..DiskDetach::new("vda".parse().unwrap()) };
    let e = bench.run(detach(&bench, "deaf", &wanted).await.unwrap()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Timeout, "{}", said(&e));
    assert_eq!(both(&bench, "deaf").await, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_device_comes_and_goes() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    let plan = plan_nic_attach(&bench.host, &build, &nic("default,mac=52:54:0:0:0:9"), &bench.cx()).await.unwrap();
    bench.run(plan.plan).await.unwrap();
    let (live, config) = both(&bench, "build-01").await;
    assert!(live.contains(&"52:54:00:00:00:09".to_owned()) && live == config, "{live:?} {config:?}");

    let mac = "52:54:0:0:0:9".parse().unwrap();
    assert_eq!(set_link(&bench.host, &build, mac, Link::Down, None).await.unwrap(), Impact::Both);
    bench.run(plan_nic_detach(&bench.host, &build, &NicDetach::new(mac)).await.unwrap()).await.unwrap();
    let (live, config) = both(&bench, "build-01").await;
    assert!(!live.contains(&"52:54:00:00:00:09".to_owned()) && live == config, "{live:?} {config:?}");
}

#[tokio::test(start_paused = true)]
async fn a_network_device_that_cannot_work_is_refused() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    for (text, says) in [
        ("default,mac=52:54:0:0:0:2", "already_exists [field mac]: VM db has"),
        ("idle", "invalid_state [network idle]"),
        ("nowhere", "not_found [network nowhere]"),
    ] {
        let e = plan_nic_attach(&bench.host, &build, &nic(text), &bench.cx()).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
    let config = NicAttach { impact: Some(Impact::Config), ..nic("idle") };
    plan_nic_attach(&bench.host, &build, &config, &bench.cx()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_password_of_a_screen_waits_for_the_next_start_where_there_was_none() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    let password = async |view: View| {
        let document = bench.host.hypervisor.definition(&build.id, view.with_secrets()).await.unwrap();
        document.devices.unwrap().graphics.into_iter().find_map(|screen| screen.passwd)
    };
    let change = |text: &str| ScreenPasswordChange {
        password: Some(text.parse().unwrap()),
        valid_to: Some("2030-01-01T00:00:00".parse().unwrap()),
        ..ScreenPasswordChange::default()
    };
    let set = async |change: &ScreenPasswordChange| set_screen_password(&bench.host, &build, change).await;
    assert_eq!(set(&change("s3cret")).await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!((password(View::LIVE).await, password(View::CONFIG).await), (None, None), "all or nothing");
    assert_eq!(set(&change("nine chars")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let spice = ScreenPasswordChange { kind: Some(GraphicsType::Spice), ..change("s3cret") };
    assert_eq!(set(&spice).await.unwrap_err().kind(), ErrorKind::NotFound);

    let config = ScreenPasswordChange { impact: Some(Impact::Config), ..change("s3cret") };
    assert_eq!(set(&config).await.unwrap(), (GraphicsType::Vnc, Impact::Config));
    assert_eq!((password(View::LIVE).await, password(View::CONFIG).await), (None, Some("s3cret".to_owned())));
    let removed = set(&ScreenPasswordChange::default()).await.unwrap();
    assert_eq!((removed.1, password(View::CONFIG).await), (Impact::Config, None));
    let live = ScreenPasswordChange { impact: Some(Impact::Live), ..ScreenPasswordChange::default() };
    assert_eq!(set(&live).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn media_are_ejected_and_inserted() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    let ejected = eject(&bench.host, &build, None, None).await.unwrap();
    assert_eq!((ejected.before.as_deref(), ejected.after), (Some("/iso/debian.iso"), None));
    let image = "iso/debian.iso".parse().unwrap();
    let inserted = insert(&bench.host, &build, None, &image, Some(Impact::Live), &bench.policy).await.unwrap();
    assert_eq!((inserted.before, inserted.after.as_deref()), (None, Some("/iso/debian.iso")));
    let e = eject(&bench.host, &build, Some(&"vda".parse().unwrap()), None).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_input [field target]"), "{}", said(&e));
    let e = eject(&bench.host, &bench.vm("safe").await, None, None).await.unwrap_err();
    assert!(said(&e).starts_with("not_found [VM safe]"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn a_disk_grows_while_its_machine_runs() {
    let bench = Bench::new();
    let (build, target) = (bench.vm("build-01").await, "vdb".parse().unwrap());
    let before = resize_disk(&bench.host, &build, &target, Bytes::from_gib(20)).await.unwrap();
    assert_eq!(before, Some(Bytes::from_gib(10)));
    let e = resize_disk(&bench.host, &build, &target, Bytes::from_gib(15)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput);
    // Of a machine that is off as well.
    let db = bench.vm("db").await;
    let before = resize_disk(&bench.host, &db, &"vda".parse().unwrap(), Bytes::from_gib(90)).await.unwrap();
    assert_eq!(before, Some(Bytes::from_gib(40)));
    let e = resize_disk(&bench.host, &db, &"vda".parse().unwrap(), Bytes::from_gib(80)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput);
    // One that a running machine shares grows through that machine.
    let e = resize_disk(&bench.host, &db, &"vdb".parse().unwrap(), Bytes::from_gib(80)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn virtual_cpus_and_memory_change_within_what_there_can_be() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    let set = async |vcpus: Option<u32>, memory: Option<Bytes>| {
        let vcpus = vcpus.map(|n| VcpuCount::new(n).unwrap());
        let wanted = Resources { vcpus, memory, ..Resources::default() };
        set_resources(&bench.host, &build, &wanted, None, PATIENCE, &*bench.clock).await
    };
    assert_eq!(set(Some(2), Some(Bytes::from_gib(4))).await.unwrap(), Impact::Both);
    let now = bench.vm("build-01").await;
    assert_eq!((now.vcpus, now.memory), (Some(2), Some(Bytes::from_gib(4))));
    // The second is wrong, so the first does not change either.
    for (vcpus, memory) in [(Some(5), Some(Bytes::from_gib(1))), (Some(1), Some(Bytes::from_gib(9)))] {
        assert_eq!(set(vcpus, memory).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(bench.vm("build-01").await, now);
}

#[tokio::test(start_paused = true)]
async fn threads_are_pinned_and_limited_or_nothing_changes() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    let cpus = |text: &str| text.parse().unwrap();
    let set = async |pins, limits| {
        let wanted = Resources { pins, limits, ..Resources::default() };
        set_resources(&bench.host, &build, &wanted, None, PATIENCE, &*bench.clock).await
    };
    let limits = CpuLimits { shares: Some(CpuShares::new(512).unwrap()), ..CpuLimits::default() };
    let pins = vec![(VmThread::Vcpu(0), cpus("2-3")), (VmThread::Emulator, cpus("0"))];
    assert_eq!(set(pins, limits).await.unwrap(), Impact::Both);
    for view in [View::LIVE, View::CONFIG] {
        let tune = bench.host.hypervisor.definition(&build.id, view).await.unwrap().cputune.unwrap();
        assert_eq!((tune.shares, tune.vcpupin.len()), (Some(512), 1));
        assert_eq!(tune.emulatorpin.unwrap().cpuset.unwrap().as_str(), "0");
    }
    // One pin is wrong, so nothing changes at all. The host has 16 CPUs.
    let before = bench.picture().await;
    for wrong in [(VmThread::Vcpu(4), "0"), (VmThread::IoThread(1), "0"), (VmThread::Emulator, "16")] {
        let pins = vec![(VmThread::Vcpu(1), cpus("1")), (wrong.0, cpus(wrong.1))];
        let more = CpuLimits { shares: Some(CpuShares::new(7).unwrap()), ..CpuLimits::default() };
        assert_eq!(set(pins, more).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
    }
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_next_start_is_named() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    let changes = async || {
        let changes = pending(&bench.host, &build).await.unwrap();
        changes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(changes().await, Vec::<String>::new());
    let wanted = DiskAttach { impact: Some(Impact::Config), ..disk("volume=default/free.qcow2") };
    bench.run(attach(&bench, "build-01", &wanted).await.unwrap().plan).await.unwrap();
    let resources = Resources { vcpus: Some(VcpuCount::new(1).unwrap()), ..Resources::default() };
    let config = Some(Impact::Config);
    set_resources(&bench.host, &build, &resources, config, PATIENCE, &*bench.clock).await.unwrap();
    let found = changes().await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "vcpu.current: added 1");
    assert!(found[1].starts_with("devices.disk[vdd]: added "), "{found:?}");
    assert_eq!(pending(&bench.host, &bench.vm("db").await).await.unwrap(), []);
}

/// Plans on `build-01`, with the live document in the picture of the world.
struct Template {
    mock: Mutex<Option<Mock>>,
    plan: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    AttachDisk,
    AttachServedDisk,
    AttachNic,
    DetachDisk(Volumes),
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = Bench::new();
        let build = bench.vm("build-01").await;
        let plan = match self.plan {
            Kind::AttachDisk => attach(&bench, "build-01", &disk("1G")).await?.plan,
            Kind::AttachServedDisk => attach(&bench, "build-01", &disk("1G,iothread=1")).await?.plan,
            Kind::AttachNic => {
                plan_nic_attach(&bench.host, &build, &nic("default,mac=52:54:0:0:0:9"), &bench.cx()).await?.plan
            }
            Kind::DetachDisk(volume) => {
                let wanted = DiskDetach { volume, ..DiskDetach::new("vdb".parse().map_err(bad)?) };
                detach(&bench, "build-01", &wanted).await?
            }
        };
        *self.mock.lock().unwrap() = Some(bench.mock.clone());
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let mock = self.mock.lock().unwrap().clone().unwrap();
        // In any order: what is plugged in again stands behind the others.
        let (mut live, mut config) =
            (devices(host, "build-01", View::LIVE).await, devices(host, "build-01", View::CONFIG).await);
        live.sort();
        config.sort();
        let files: Vec<_> = mock.files()?.into_keys().collect();
        let id = kvm_vm::resolve(host, "build-01").await?.id;
        let (running, stored) =
            (host.hypervisor.definition(&id, View::LIVE).await?, host.hypervisor.definition(&id, View::CONFIG).await?);
        Ok(format!("{live:?}\n{config:?}\n{files:?}\n{:?} {:?}", running.iothreads, stored.iothreads))
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

fn bad(e: kvm_xml::XmlError) -> Error {
    Error::internal("no disk name").with_source(e)
}

#[tokio::test(start_paused = true)]
async fn every_change_of_devices_ends_before_or_after_whatever_fails_at_whatever_step() {
    for (plan, steps) in [
        (Kind::AttachDisk, 2),
        (Kind::AttachServedDisk, 3),
        (Kind::AttachNic, 1),
        (Kind::DetachDisk(Volumes::Keep), 1),
        (Kind::DetachDisk(Volumes::Delete), 2),
    ] {
        let coverage = check(&Template { mock: Mutex::new(None), plan }).await;
        assert_eq!(coverage.unwrap_or_else(|e| panic!("{plan:?}: {e:?}")).steps, steps, "{plan:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_device_is_what_its_options_say() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    for (text, parts) in [
        ("bridge=br0,vlan=10+20,in=10MiB", &["<vlan trunk='yes'>", "<tag id='20'/>", "<inbound average='10240'/>"][..]),
        ("ovs=ovs0,vlan=10", &["<source bridge='ovs0'/>", "<virtualport type='openvswitch'/>", "<tag id='10'/>"]),
        (
            "interface=eth0,mode=private,out=1MiB",
            &["<source dev='eth0' mode='private'/>", "<outbound average='1024'/>"],
        ),
        ("default,filter=clean-traffic", &["<filterref filter='clean-traffic'/>"]),
        ("user,forward=tcp:8080:80", &["<backend type='passt'/>", "<range start='8080' to='80'/>"]),
    ] {
        let attach = plan_nic_attach(&bench.host, &build, &nic(text), &bench.cx()).await.unwrap();
        let xml = attach.document.to_xml();
        for part in parts {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }
    let e = plan_nic_attach(&bench.host, &build, &nic("default,portgroup=dmz"), &bench.cx()).await.unwrap_err();
    assert!(said(&e).starts_with("not_found [field portgroup]: network default has no"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn memory_is_placed_on_nodes_that_the_host_has() {
    let bench = Bench::new();
    let (db, build) = (bench.vm("db").await, bench.vm("build-01").await);
    let place = async |vm: &VmSummary, nodes: &str, mode, impact| {
        let placement = MemoryPlacement { nodes: Some(nodes.parse().unwrap()), mode };
        let wanted = Resources { placement, ..Resources::default() };
        set_resources(&bench.host, vm, &wanted, impact, PATIENCE, &*bench.clock).await
    };
    assert_eq!(place(&db, "0-1", None, None).await.unwrap(), Impact::Config);
    let document = bench.host.hypervisor.definition(&db.id, View::CONFIG).await.unwrap();
    let memory = document.numatune.unwrap().memory.unwrap();
    assert_eq!((memory.mode, memory.nodeset.unwrap().as_str()), (Some(NumatuneMode::Strict), "0-1"));

    let before = bench.picture().await;
    let e = place(&db, "1-2", None, None).await.unwrap_err();
    assert_eq!(said(&e), "invalid_input [field numa-nodes]: the host has no NUMA node 2: it has 0-1");
    // A running machine keeps how strictly, and the hint for that is the one of what cannot be plugged live.
    let e = place(&build, "0", Some(NumatuneMode::Interleave), None).await.unwrap_err();
    assert_eq!((e.kind(), e.operation()), (ErrorKind::InvalidState, Some("plug-live")));
    assert_eq!(bench.picture().await, before);
    place(&build, "1", Some(NumatuneMode::Restrictive), Some(Impact::Config)).await.unwrap();
    for action in [PowerAction::PowerOff, PowerAction::Start] {
        bench.host.hypervisor.power(&build.id, action).await.unwrap();
    }
    assert_eq!(place(&build, "0", None, None).await.unwrap(), Impact::Both);
    let created = spec(r#"{"name": "far", "numa_nodes": "0,5"}"#);
    let e = plan_create(&bench.host, &created, &bench.cx()).await.unwrap_err();
    assert_eq!(said(&e), "invalid_input [field numa-nodes]: the host has no NUMA node 5: it has 0-1");
}

#[tokio::test(start_paused = true)]
async fn cells_change_for_the_next_start_alone_and_beside_other_things() {
    let bench = Bench::new();
    let build = bench.vm("build-01").await;
    let cells = ["cpus=0-1,memory=6G", "cpus=2-3,memory=2G"].map(|cell| cell.parse().unwrap()).to_vec();
    let wanted = Resources { cells, memory: Some(Bytes::from_gib(4)), ..Resources::default() };
    let set = async |wanted: &Resources, impact| {
        set_resources(&bench.host, &build, wanted, impact, PATIENCE, &*bench.clock).await
    };
    let before = bench.picture().await;
    let e = set(&wanted, None).await.unwrap_err();
    assert_eq!((e.kind(), e.operation()), (ErrorKind::InvalidState, Some("plug-live")));
    let half = Resources { cells: vec!["cpus=0-3,memory=4G".parse().unwrap()], ..Resources::default() };
    assert_eq!(set(&half, Some(Impact::Config)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(bench.picture().await, before);

    set(&wanted, Some(Impact::Config)).await.unwrap();
    let document = bench.host.hypervisor.definition(&build.id, View::CONFIG).await.unwrap();
    assert_eq!(document.cpu.unwrap().numa.unwrap().cell.len(), 2);
    assert_eq!(document.current_memory.unwrap().bytes(), Some(Bytes::from_gib(4).get()));
    let live = bench.host.hypervisor.definition(&build.id, View::LIVE).await.unwrap();
    assert!(live.cpu.is_none_or(|cpu| cpu.numa.is_none()));
}
