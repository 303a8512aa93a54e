//! Snapshots from plan to world: which kind, what is lost, and what is refused because something else would be.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Plan, RunContext, Store as _};
use kvm_core::{
    AfterRevert, Bandwidth, CheckpointSpec, Clock as _, Device, DiskPath, ErrorKind, Existing, Host, Impact, Overlay,
    PowerAction, Progress, Quiesce, Reporter, Result, Revert, Risk, SnapshotKind, SnapshotName, SnapshotPlace,
    SnapshotSpec, StepOutcome, View, VmState,
};
use kvm_mock::{Fault, Method, Mock};
use kvm_vm::{KeepMemory, SnapshotCreate, SnapshotScope, plan_revert, plan_snapshot, plan_snapshot_delete, snapshots};
use kvm_xml::StorageVolume;
use kvm_xml::domain::Disk;
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, catalogue, context, said};

mod stray;

fn name(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

fn wanted(text: &str) -> SnapshotCreate {
    SnapshotCreate {
        name: name(text),
        description: None,
        kind: None,
        memory: KeepMemory::IfRunning,
        quiesce: Quiesce::No,
    }
}

fn external(text: &str) -> SnapshotCreate {
    SnapshotCreate { kind: Some(SnapshotKind::External), ..wanted(text) }
}

async fn take(bench: &Bench, vm: &str, wanted: &SnapshotCreate) -> Result<()> {
    bench.run(plan_snapshot(&bench.host, &bench.vm(vm).await, wanted).await?).await
}

async fn revert(bench: &Bench, vm: &str, to: &str, then: AfterRevert) -> Result<Plan> {
    let how = Revert { then, risk: Risk::Refuse };
    plan_revert(&bench.host, &bench.vm(vm).await, &name(to), how).await
}

async fn delete(bench: &Bench, vm: &str, which: &str, scope: SnapshotScope) -> Result<Plan> {
    plan_snapshot_delete(&bench.host, &bench.vm(vm).await, &name(which), scope).await
}

async fn names(bench: &Bench, vm: &str) -> Vec<String> {
    let all = snapshots(&bench.host).unwrap().list(&bench.vm(vm).await.id).await.unwrap();
    all.into_iter().map(|snapshot| format!("{}{}", snapshot.name, if snapshot.current { "*" } else { "" })).collect()
}

/// The image of the first disk.
async fn image(host: &Host, vm: &str) -> String {
    let vm = kvm_vm::resolve(host, vm).await.unwrap();
    let document = host.hypervisor.definition(&vm.id, View::LIVE).await.unwrap();
    document.devices.unwrap().disk[0].source.as_ref().unwrap().file.clone().unwrap()
}

/// A machine with one qcow2 disk that nobody shares, in the state that is wanted.
async fn solo(bench: &Bench, state: VmState) {
    machine(bench, "solo", 1, state).await;
}

async fn machine(bench: &Bench, name: &str, memory_gib: u32, state: VmState) {
    let xml = format!(
        "<domain type='kvm'><name>{name}</name><uuid>8fbf2b8e-3b3c-4b1e-9a51-00000000a001</uuid>\
         <memory unit='GiB'>{memory_gib}</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/free.qcow2'/>\
         <target dev='vda' bus='virtio'/></disk><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>\
         </channel></devices></domain>"
    );
    let document = kvm_xml::Document::from_xml(&xml).unwrap();
    let id = bench.host.hypervisor.define(&document, Existing::Reject).await.unwrap();
    if state == VmState::Running {
        bench.host.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_kind_is_chosen_by_what_the_machine_allows_and_the_plan_says_why() {
    let bench = Bench::new();
    solo(&bench, VmState::Running).await;
    for (vm, wanted, says) in [
        ("solo", wanted("a"), "internal (all disks are qcow2), with memory"),
        ("db", wanted("a"), "internal (all disks are qcow2), the VM is off"),
        ("build-01", wanted("a"), "external (disk vdb is not qcow2), with memory"),
        (
            "solo",
            SnapshotCreate { memory: KeepMemory::No, ..wanted("a") },
            "external (an internal one of a running VM has its memory), disks only, as after a power cut",
        ),
        ("solo", external("a"), "external (as asked), with memory"),
    ] {
        let plan = plan_snapshot(&bench.host, &bench.vm(vm).await, &wanted).await.unwrap();
        assert!(plan.to_string().contains(says), "{plan}");
    }
    take(&bench, "solo", &external("a")).await.unwrap();
    let plan = plan_snapshot(&bench.host, &bench.vm("solo").await, &wanted("b")).await.unwrap();
    assert!(plan.to_string().contains("external (as a is)"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    solo(&bench, VmState::Off).await;
    let before = bench.picture().await;
    let quiet = SnapshotCreate { quiesce: Quiesce::Yes, ..wanted("a") };
    let internal = SnapshotCreate { kind: Some(SnapshotKind::Internal), ..wanted("a") };
    for (vm, wanted, says) in [
        ("build-01", wanted("one"), "already_exists [snapshot build-01/one]"),
        (
            "build-01",
            internal,
            "unsupported [snapshot build-01/a]: VM build-01 can have no internal snapshot now | disk vdb",
        ),
        ("safe", wanted("a"), "unsupported [snapshot safe/a]"),
        ("solo", quiet.clone(), "invalid_state [VM solo]: VM solo is off"),
        ("deaf", quiet, "unavailable [VM "),
    ] {
        let e = plan_snapshot(&bench.host, &bench.vm(vm).await, &wanted).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn memory_that_does_not_fit_is_refused_and_disks_alone_are_taken() {
    let bench = Bench::new();
    // More than the pool has left.
    machine(&bench, "solo", 400, VmState::Running).await;
    let before = bench.picture().await;
    for kind in [SnapshotKind::Internal, SnapshotKind::External] {
        let wanted = SnapshotCreate { kind: Some(kind), ..wanted("a") };
        let e = plan_snapshot(&bench.host, &bench.vm("solo").await, &wanted).await.unwrap_err();
        assert!(said(&e).starts_with("no_space [pool default]"), "{}", said(&e));
    }
    assert_eq!(bench.picture().await, before);
    take(&bench, "solo", &SnapshotCreate { memory: KeepMemory::No, ..wanted("a") }).await.unwrap();
    assert_eq!(names(&bench, "solo").await, ["a*"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_wrote_since_is_gone_after_a_revert() {
    let bench = Bench::new();
    for kind in [SnapshotKind::Internal, SnapshotKind::External] {
        let bench = if kind == SnapshotKind::Internal { &bench } else { &Bench::new() };
        solo(bench, VmState::Running).await;
        let write = async |text: &[u8]| bench.mock.write_at(&image(&bench.host, "solo").await, 1 << 20, text).unwrap();
        write(b"before").await;
        take(bench, "solo", &SnapshotCreate { kind: Some(kind), ..wanted("a") }).await.unwrap();
        write(b"after!").await;
        let plan = revert(bench, "solo", "a", AfterRevert::AsItWas).await.unwrap();
        assert!(plan.to_string().contains("lose    memory"), "{plan}");
        bench.run(plan).await.unwrap();
        assert_eq!(bench.vm("solo").await.state, VmState::Running);
        bench.run(delete(bench, "solo", "a", SnapshotScope::This).await.unwrap()).await.unwrap();
        assert_eq!(image(&bench.host, "solo").await, "/images/free.qcow2");
        assert_eq!(bench.mock.read_at("/images/free.qcow2", 1 << 20, 6).unwrap(), b"before", "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_external_one_loses_nothing_and_leaves_nothing() {
    let bench = Bench::new();
    solo(&bench, VmState::Running).await;
    let files = bench.mock.files().unwrap().into_keys().collect::<Vec<_>>();
    take(&bench, "solo", &external("a")).await.unwrap();
    take(&bench, "solo", &external("b")).await.unwrap();
    bench.mock.write_at(&image(&bench.host, "solo").await, 1 << 20, b"written").unwrap();
    let plan = delete(&bench, "solo", "a", SnapshotScope::Branch).await.unwrap();
    let shown = plan.to_string();
    assert!(shown.contains("remove  volume    default/solo-vda.b.qcow2"), "{shown}");
    assert!(shown.contains("remove  volume    default/solo.a.mem"), "{shown}");
    bench.run(plan).await.unwrap();
    assert_eq!(names(&bench, "solo").await, Vec::<String>::new());
    assert_eq!(bench.mock.files().unwrap().into_keys().collect::<Vec<_>>(), files);
    assert_eq!(bench.mock.read_at("/images/free.qcow2", 1 << 20, 7).unwrap(), b"written");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_inside_an_image_that_would_go_is_not_lost() {
    let bench = Bench::new();
    solo(&bench, VmState::Off).await;
    take(&bench, "solo", &external("outer")).await.unwrap();
    take(&bench, "solo", &SnapshotCreate { kind: Some(SnapshotKind::Internal), ..wanted("inner") }).await.unwrap();
    let e = delete(&bench, "solo", "outer", SnapshotScope::This).await.unwrap_err();
    assert!(said(&e).contains("snapshot inner is inside; delete that first"), "{}", said(&e));
    let plan = delete(&bench, "solo", "outer", SnapshotScope::Branch).await.unwrap();
    bench.run(plan).await.unwrap();
    assert_eq!(image(&bench.host, "solo").await, "/images/free.qcow2");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_the_state_of_another_snapshot_is_not_rewritten() {
    let bench = Bench::new();
    solo(&bench, VmState::Off).await;
    take(&bench, "solo", &wanted("inner")).await.unwrap();
    take(&bench, "solo", &external("outer")).await.unwrap();
    let e = revert(&bench, "solo", "inner", AfterRevert::AsItWas).await.unwrap_err();
    assert!(said(&e).contains("the state of outer, which would be lost"), "{}", said(&e));
    revert(&bench, "solo", "outer", AfterRevert::AsItWas).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_internal_one_below_an_overlay_is_deleted_when_the_machine_is_off() {
    let bench = Bench::new();
    solo(&bench, VmState::Running).await;
    take(&bench, "solo", &wanted("inner")).await.unwrap();
    take(&bench, "solo", &external("outer")).await.unwrap();
    let e = delete(&bench, "solo", "inner", SnapshotScope::This).await.unwrap_err();
    assert!(said(&e).contains("its disk vda goes on in another image; shut it down first"), "{}", said(&e));
    bench.host.hypervisor.power(&bench.vm("solo").await.id, PowerAction::PowerOff).await.unwrap();
    bench.run(delete(&bench, "solo", "inner", SnapshotScope::This).await.unwrap()).await.unwrap();
    assert_eq!(names(&bench, "solo").await, ["outer*"]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_another_machine_or_an_overlay_uses_is_not_written() {
    let bench = Bench::new();
    // vdb of db is a disk of build-01 as well.
    take(&bench, "db", &wanted("a")).await.unwrap();
    let e = revert(&bench, "db", "a", AfterRevert::AsItWas).await.unwrap_err();
    assert!(said(&e).contains("/images/shared.qcow2 is written by disk vdc of VM build-01"), "{}", said(&e));

    let bench = Bench::new();
    solo(&bench, VmState::Off).await;
    take(&bench, "solo", &external("a")).await.unwrap();
    let clone = "<volume><name>clone.qcow2</name><capacity>5368709120</capacity><target><format type='qcow2'/></target>\
                 <backingStore><path>/images/free.qcow2</path><format type='qcow2'/></backingStore></volume>";
    let clone = kvm_xml::Document::from_xml(clone).unwrap();
    bench.host.storage.create_volume(&"default".parse().unwrap(), &clone).await.unwrap();
    let e = delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap_err();
    assert!(said(&e).contains("/images/free.qcow2 is the backing file of /images/clone.qcow2"), "{}", said(&e));
    // Its record alone changes no image.
    bench.run(delete(&bench, "solo", "a", SnapshotScope::Record).await.unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_holds_on_to_its_images_and_its_memory() {
    let bench = Bench::new();
    solo(&bench, VmState::Running).await;
    take(&bench, "solo", &external("a")).await.unwrap();
    let graph = kvm_vm::disk_graph(&bench.host).await.unwrap();
    for path in ["/images/free.qcow2", "/images/solo.a.mem"] {
        let image = graph.graph().find(&kvm_image::graph::Name::path(path)).map(|at| &graph.graph().images()[at]);
        let users: Vec<_> = image.unwrap().users.keys().map(ToString::to_string).collect();
        assert!(users.contains(&"snapshot a of VM solo".to_owned()), "{path}: {users:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoints_and_saved_states_stand_against_a_revert() {
    let bench = Bench::new();
    solo(&bench, VmState::Running).await;
    let solo = bench.vm("solo").await;
    take(&bench, "solo", &wanted("a")).await.unwrap();
    kvm_vm::create_checkpoint(&bench.host, &solo, &CheckpointSpec::new(name("monday"))).await.unwrap();
    let e = revert(&bench, "solo", "a", AfterRevert::AsItWas).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_state [VM solo]: VM solo has checkpoints | monday"), "{}", said(&e));
    bench.host.hypervisor.power(&solo.id, PowerAction::Save).await.unwrap();
    let e = delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_state [VM solo]: VM solo has a saved state"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_not_there_is_not_found_and_the_others_are_named() {
    let bench = Bench::new();
    for e in [
        revert(&bench, "build-01", "three", AfterRevert::AsItWas).await.unwrap_err(),
        delete(&bench, "build-01", "three", SnapshotScope::Branch).await.unwrap_err(),
    ] {
        let says = "not_found [snapshot build-01/three]: VM build-01 has no snapshot three | it has one, two";
        assert_eq!(said(&e), says);
    }
}

#[tokio::test(start_paused = true)]
async fn a_revert_says_what_changed_in_the_definition() {
    let bench = Bench::new();
    solo(&bench, VmState::Off).await;
    take(&bench, "solo", &wanted("a")).await.unwrap();
    let disk = kvm_vm::DiskAttach { disk: "1G".parse().unwrap(), target: None, impact: None, allow_overcommit: false };
    let plan = kvm_vm::plan_disk_attach(&bench.host, &bench.vm("solo").await, &disk, &bench.cx()).await.unwrap();
    bench.run(plan.plan).await.unwrap();
    let plan = revert(&bench, "solo", "a", AfterRevert::Running).await.unwrap();
    let shown = plan.to_string();
    assert!(shown.contains("devices.disk[vdb]") && shown.contains("the snapshot has no state of it"), "{shown}");
    bench.run(plan).await.unwrap();
    assert_eq!(bench.vm("solo").await.state, VmState::Running);
    let e = bench.mock.read_at("/images/solo.qcow2", 0, 4);
    assert!(e.is_ok(), "the volume stays");
}

/// `solo` with a second disk, a snapshot of both, and what its guest wrote since.
async fn pair(bench: &Bench) -> Vec<String> {
    solo(bench, VmState::Running).await;
    let vm = bench.vm("solo").await;
    let spec: StorageVolume = kvm_xml::Document::from_xml(
        "<volume><name>two.qcow2</name><capacity>1073741824</capacity><target><format type='qcow2'/></target></volume>",
    )
    .unwrap();
    bench.host.storage.create_volume(&"default".parse().unwrap(), &spec).await.unwrap();
    let disk: Disk = kvm_xml::Document::from_xml(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/two.qcow2'/>\
         <target dev='vdb' bus='virtio'/></disk>",
    )
    .unwrap();
    let disk = Device::Disk(Box::new(disk));
    bench.host.hypervisor.devices().unwrap().attach(&vm.id, &disk, Impact::Both).await.unwrap();
    let files = bench.mock.files().unwrap().into_keys().collect();
    take(bench, "solo", &external("a")).await.unwrap();
    for disk in ["vda", "vdb"] {
        bench.mock.write_at(&format!("/images/solo-{disk}.a.qcow2"), 1 << 20, disk.as_bytes()).unwrap();
    }
    files
}

#[tokio::test(start_paused = true)]
async fn a_merge_that_ended_for_one_disk_alone_is_completed() {
    for which in ["the plan from before", "another plan"] {
        let bench = Bench::new();
        let files = pair(&bench).await;
        let plan = delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap();
        // As libvirt does before it is killed: the first disk is merged, and nobody goes on from there.
        let (id, jobs) = (bench.vm("solo").await.id, bench.host.hypervisor.block_jobs().unwrap());
        let (vda, base) = ("vda".parse().unwrap(), DiskPath::parse("/images/free.qcow2").unwrap());
        jobs.commit(&id, &vda, &base, Bandwidth::UNLIMITED).await.unwrap();
        while !jobs.job(&id, &vda).await.unwrap().unwrap().ready {
            bench.clock.sleep(Duration::from_secs(1)).await;
        }
        jobs.pivot(&id, &vda).await.unwrap();
        // Another plan is made of what there is now.
        let again = delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap();
        let shown = again.to_string();
        assert!(
            shown.contains("vda was merged before") && !shown.contains("remove  volume    default/free"),
            "{shown}"
        );
        bench.mock.inject(Fault::next(Method::DeleteSnapshot, ErrorKind::Internal));
        bench.run(if which == "the plan from before" { plan } else { again }).await.unwrap();
        assert_eq!(names(&bench, "solo").await, Vec::<String>::new());
        assert_eq!(bench.mock.files().unwrap().into_keys().collect::<Vec<_>>(), files);
        for (image, word) in [("free", b"vda"), ("two", b"vdb")] {
            assert_eq!(bench.mock.read_at(&format!("/images/{image}.qcow2"), 1 << 20, 3).unwrap(), word);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_merge_whose_end_the_host_did_not_notice_is_put_into_the_configuration() {
    let bench = Bench::new();
    pair(&bench).await;
    let plan = delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap();
    bench.host.transport.remove_file(Path::new("/images/solo-vda.a.qcow2")).await.unwrap();
    bench.mock.inject(Fault::next(Method::DeleteSnapshot, ErrorKind::Internal));
    bench.run(plan).await.unwrap();
    assert_eq!(names(&bench, "solo").await, Vec::<String>::new());
    let id = bench.vm("solo").await.id;
    let configured = bench.host.hypervisor.definition(&id, View::CONFIG).await.unwrap().devices.unwrap().disk;
    let sources = configured.iter().filter_map(|disk| disk.source.as_ref()?.file.as_deref());
    assert_eq!(sources.collect::<Vec<_>>(), ["/images/free.qcow2", "/images/two.qcow2"]);
}

#[tokio::test(start_paused = true)]
async fn a_merge_that_did_not_begin_is_refused_with_the_hosts_own_reason() {
    let bench = Bench::new();
    pair(&bench).await;
    let plan = delete(&bench, "solo", "a", SnapshotScope::This).await.unwrap();
    let before = bench.picture().await;
    bench.mock.inject(Fault::next(Method::DeleteSnapshot, ErrorKind::Internal));
    assert_eq!(bench.run(plan).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_an_attempt_that_came_to_nothing_does_not_stay() {
    for direction in [Direction::Forward, Direction::Back] {
        let bench = Bench::new();
        solo(&bench, VmState::Running).await;
        let before = bench.picture().await;
        let plan = plan_snapshot(&bench.host, &bench.vm("solo").await, &external("a")).await.unwrap();
        // The daemon is gone, and so is everybody who could take anything back.
        bench.mock.inject(Fault::next(Method::CreateSnapshot, ErrorKind::Unavailable));
        let cancel = CancellationToken::new();
        let reporter = AtStep("take snapshot", || bench.mock.disconnect().unwrap());
        let cx = RunContext { host: &bench.host, reporter: &reporter, cancel: &cancel };
        bench.executor().run(plan, cx).await.unwrap_err();
        bench.mock.reconnect().unwrap();
        bench.host.transport.write_file(Path::new("/images/solo.a.mem"), b"half", 0o600).await.unwrap();
        let open = bench.store.unfinished().await.unwrap();
        let id = open[0].header.id.clone();
        bench.executor().finish(&id, direction, context(&bench.host, &cancel)).await.unwrap();
        match direction {
            Direction::Forward => assert_eq!(names(&bench, "solo").await, ["a*"]),
            Direction::Back => assert_eq!(bench.picture().await, before),
        }
        bench.assert_nothing_open().await;
    }
}

/// Does something when a step of that title begins.
struct AtStep<F>(&'static str, F);

impl<F> std::fmt::Debug for AtStep<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtStep")
    }
}

impl<F: Fn() + Send + Sync> Reporter for AtStep<F> {
    fn report(&self, progress: &Progress) {
        if let Progress::Step { title, outcome: StepOutcome::Started, .. } = progress
            && title.starts_with(self.0)
        {
            self.1();
        }
    }
}

/// The process of `solo`, behind those of the machines that run already.
const STARTED: u32 = 4;

/// Plans on the machine `solo`, which runs and has snapshots.
struct Template {
    mock: Mutex<Option<Mock>>,
    plan: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Take(SnapshotKind),
    Revert(SnapshotKind),
    Delete(SnapshotScope),
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = Bench::new();
        solo(&bench, VmState::Running).await;
        let kind = match self.plan {
            Kind::Revert(kind) => kind,
            _ => SnapshotKind::External,
        };
        if !matches!(self.plan, Kind::Take(_)) {
            for word in ["a", "b"] {
                let spec = match kind {
                    SnapshotKind::Internal => SnapshotSpec::internal(name(word)),
                    SnapshotKind::External => {
                        let path = |end: &str| DiskPath::parse(&format!("/images/solo.{word}.{end}"));
                        let overlays = vec![Overlay { disk: "vda".parse().unwrap(), path: path("qcow2")? }];
                        let place = SnapshotPlace::External { overlays, memory: Some(path("mem")?) };
                        SnapshotSpec { place, ..SnapshotSpec::internal(name(word)) }
                    }
                };
                bench.host.hypervisor.snapshots().unwrap().create(&bench.vm("solo").await.id, &spec).await?;
            }
        }
        let plan = match self.plan {
            Kind::Take(kind) => {
                let wanted = SnapshotCreate { kind: Some(kind), ..wanted("a") };
                plan_snapshot(&bench.host, &bench.vm("solo").await, &wanted).await?
            }
            // The one that it is at already, which shows least.
            Kind::Revert(_) => revert(&bench, "solo", "b", AfterRevert::AsItWas).await?,
            Kind::Delete(scope) => delete(&bench, "solo", "a", scope).await?,
        };
        *self.mock.lock().unwrap() = Some(bench.mock.clone());
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let mock = self.mock.lock().unwrap().clone().unwrap();
        let vm = kvm_vm::resolve(host, "solo").await?;
        let all = host.hypervisor.snapshots().unwrap().list(&vm.id).await?;
        let all: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.current, one.parent.clone())).collect();
        // A process that was started anew is another one, however often.
        let process = host.hypervisor.definition(&vm.id, View::LIVE).await?.id.map(|id| id > STARTED);
        let (image, files) = (image(host, "solo").await, mock.files()?.len());
        // libvirt counts seconds in the names of overlays.
        let stem = image.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        Ok(format!("{all:?}\n{process:?}\n{stem}\n{files}"))
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_of_snapshots_ends_before_or_after_whatever_fails_at_whatever_step() {
    for (plan, steps) in [
        (Kind::Take(SnapshotKind::Internal), 1),
        (Kind::Take(SnapshotKind::External), 1),
        (Kind::Revert(SnapshotKind::Internal), 1),
        (Kind::Revert(SnapshotKind::External), 1),
        (Kind::Delete(SnapshotScope::This), 1),
        (Kind::Delete(SnapshotScope::Branch), 2),
        (Kind::Delete(SnapshotScope::Record), 1),
    ] {
        let coverage = check(&Template { mock: Mutex::new(None), plan }).await;
        assert_eq!(coverage.unwrap_or_else(|e| panic!("{plan:?}: {e:?}")).steps, steps, "{plan:?}");
    }
}
