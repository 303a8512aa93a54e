//! Images that are merged, completed and moved, most of them while their machine runs.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Plan, Store as _};
use kvm_core::{Bandwidth, Clock as _, ErrorKind, Existing, Host, PowerAction, Result, View};
use kvm_mock::{Fault, Mock};
use kvm_vm::{
    DiskCommit, DiskMove, DiskPull, OldImages, VolumeFormat, disk_graph, inventory, plan_disk_commit, plan_disk_move,
    plan_disk_pull,
};
use kvm_xml::domain::DiskFormat;
use kvm_xml::{Document as _, StorageVolume};
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, catalogue, context, picture, said};

/// The host with a machine that runs on an overlay which is its alone.
async fn bench() -> Bench {
    let bench = Bench::new();
    let overlay = "<volume><name>solo.qcow2</name><capacity>5368709120</capacity><target><format type='qcow2'/></target>\
                   <backingStore><path>/images/free.qcow2</path><format type='qcow2'/></backingStore></volume>";
    let overlay = StorageVolume::from_xml(overlay).unwrap();
    bench.host.storage.create_volume(&"default".parse().unwrap(), &overlay).await.unwrap();
    let id = bench
        .mock
        .plant(
            "<domain type='kvm'><name>solo</name><uuid>11111111-2222-4333-8444-555555555555</uuid><memory>1048576</memory>\
             <vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os><devices><disk type='file'><driver name='qemu' \
             type='qcow2'/><source file='/images/solo.qcow2'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
        )
        .unwrap();
    bench.host.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    bench
}

fn vda() -> kvm_xml::value::DiskName {
    "vda".parse().unwrap()
}

fn to_iso() -> DiskMove {
    DiskMove::new(vda(), "iso".parse().unwrap())
}

async fn commit(bench: &Bench, vm: &str, wanted: &DiskCommit) -> Result<Plan> {
    plan_disk_commit(&bench.host, &bench.vm(vm).await, wanted).await
}

async fn pull(bench: &Bench, vm: &str, wanted: &DiskPull) -> Result<Plan> {
    plan_disk_pull(&bench.host, &bench.vm(vm).await, wanted).await
}

async fn relocate(bench: &Bench, vm: &str, wanted: &DiskMove) -> Result<Plan> {
    plan_disk_move(&bench.host, &bench.vm(vm).await, wanted, &bench.cx()).await
}

/// The image of a machine's `vda`, where it runs and where it is configured.
async fn images(bench: &Bench, vm: &str) -> [String; 2] {
    let id = bench.vm(vm).await.id;
    let mut images = Vec::new();
    for view in [View::LIVE, View::CONFIG] {
        let document = bench.host.hypervisor.definition(&id, view).await.unwrap();
        let source = document.devices.unwrap().disk[0].source.clone().unwrap();
        images.push(source.file.unwrap());
    }
    images.try_into().unwrap()
}

fn shown(plan: &Plan) -> String {
    plan.to_string().lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[tokio::test(start_paused = true)]
async fn a_commit_ends_in_the_base_and_deletes_the_overlay() {
    let bench = bench().await;
    let plan = commit(&bench, "solo", &DiskCommit::new(vda())).await.unwrap();
    assert_eq!(
        shown(&plan),
        "commit disk vda into volume default/free.qcow2\nremove volume default/solo.qcow2 192.0 KiB on disk\n"
    );
    bench.run(plan).await.unwrap();
    bench.assert_nothing_open().await;
    assert_eq!(images(&bench, "solo").await, ["/images/free.qcow2"; 2]);
    assert!(!bench.mock.files().unwrap().contains_key("/images/solo.qcow2"));
}

#[tokio::test(start_paused = true)]
async fn a_commit_can_keep_the_overlay() {
    let bench = bench().await;
    let wanted = DiskCommit { old: OldImages::Keep, ..DiskCommit::new(vda()) };
    bench.run(commit(&bench, "solo", &wanted).await.unwrap()).await.unwrap();
    assert_eq!(images(&bench, "solo").await, ["/images/free.qcow2"; 2]);
    assert!(bench.mock.files().unwrap().contains_key("/images/solo.qcow2"));
}

#[tokio::test(start_paused = true)]
async fn a_commit_into_what_somebody_else_uses_is_refused() {
    let bench = bench().await;
    bench.host.hypervisor.power(&bench.vm("db").await.id, PowerAction::Start).await.unwrap();
    let before = bench.picture().await;
    // Another machine's overlay lies upon the same base.
    let e = commit(&bench, "db", &DiskCommit::new(vda())).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidState);
    assert!(said(&e).contains("/images/base.qcow2 is the backing file of /images/build-01.qcow2"), "{}", said(&e));
    // The machine's own snapshots are somebody else, too.
    let e = commit(&bench, "build-01", &DiskCommit::new(vda())).await.unwrap_err();
    assert!(said(&e).contains("snapshot one of VM build-01"), "{}", said(&e));
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn an_overlay_that_is_made_after_the_plan_stops_the_commit() {
    let bench = bench().await;
    let plan = commit(&bench, "solo", &DiskCommit::new(vda())).await.unwrap();
    let overlay = "<volume><name>late.qcow2</name><capacity>1048576</capacity><target><format type='qcow2'/></target>\
                   <backingStore><path>/images/free.qcow2</path><format type='qcow2'/></backingStore></volume>";
    let overlay = StorageVolume::from_xml(overlay).unwrap();
    bench.host.storage.create_volume(&"default".parse().unwrap(), &overlay).await.unwrap();
    let before = bench.picture().await;
    let e = bench.run(plan).await.unwrap_err();
    assert!(said(&e).contains("late.qcow2"), "{}", said(&e));
    assert_eq!(bench.picture().await, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_makes_an_image_complete_and_leaves_its_base_to_others() {
    let bench = bench().await;
    let id = bench.vm("db").await.id;
    bench.host.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    let plan = pull(&bench, "db", &DiskPull::new(vda())).await.unwrap();
    assert_eq!(shown(&plan), "pull disk vda complete by itself afterwards\nkeep volume default/base.qcow2\n");
    bench.run(plan).await.unwrap();
    bench.assert_nothing_open().await;
    let graph = disk_graph(&bench.host).await.unwrap();
    let base = graph.graph().find(&kvm_image::graph::Name::path("/images/base.qcow2")).unwrap();
    assert_eq!(graph.graph().images()[base].overlays.len(), 1, "the other machine's image still lies upon it");
    let e = pull(&bench, "db", &DiskPull::new(vda())).await.unwrap_err();
    assert!(said(&e).contains("there is nothing to pull"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn a_disk_moves_to_another_pool_while_its_machine_runs() {
    let bench = bench().await;
    let plan = relocate(&bench, "solo", &to_iso()).await.unwrap();
    assert_eq!(
        shown(&plan),
        "create volume iso/solo.qcow2 5 GiB, qcow2\ncopy disk vda from volume default/solo.qcow2, while it runs\n\
         remove volume default/solo.qcow2 192.0 KiB on disk\n"
    );
    bench.run(plan).await.unwrap();
    bench.assert_nothing_open().await;
    assert_eq!(images(&bench, "solo").await, ["/iso/solo.qcow2"; 2]);
    let after = inventory(&bench.host).await.unwrap();
    assert!(after.volumes.contains_key("iso/solo.qcow2") && !after.volumes.contains_key("default/solo.qcow2"));
    assert!(after.volumes.contains_key("default/free.qcow2"), "what was below stays");
}

/// The same host with the machine off.
async fn at_rest() -> Bench {
    let bench = bench().await;
    bench.host.hypervisor.power(&bench.vm("solo").await.id, PowerAction::PowerOff).await.unwrap();
    bench
}

#[tokio::test(start_paused = true)]
async fn a_disk_of_a_machine_that_is_off_moves_as_a_complete_copy() {
    let bench = at_rest().await;
    let plan = relocate(&bench, "solo", &to_iso()).await.unwrap();
    assert_eq!(
        shown(&plan),
        "create volume iso/solo.qcow2 5 GiB, qcow2\ncopy disk vda from volume default/solo.qcow2, with all that it lies upon\n\
         remove volume default/solo.qcow2 192.0 KiB on disk\n"
    );
    bench.run(plan).await.unwrap();
    bench.assert_nothing_open().await;
    assert_eq!(images(&bench, "solo").await, ["/iso/solo.qcow2"; 2]);
    let after = inventory(&bench.host).await.unwrap();
    assert!(!after.volumes.contains_key("default/solo.qcow2") && after.volumes.contains_key("default/free.qcow2"));
    assert_eq!(after.volumes["iso/solo.qcow2"].backing, None);
    // And back, as plain bytes under another name, with what it was before left where it is.
    let back = DiskMove {
        format: Some(VolumeFormat::Raw),
        old: OldImages::Keep,
        ..DiskMove::new(vda(), "default".parse().unwrap())
    };
    bench.run(relocate(&bench, "solo", &back).await.unwrap()).await.unwrap();
    let now = images(&bench, "solo").await;
    assert!(now[1].starts_with("/images/solo") && now[1] != "/images/solo.qcow2", "{now:?}");
    let document = bench.host.hypervisor.definition(&bench.vm("solo").await.id, View::CONFIG).await.unwrap();
    assert_eq!(document.devices.unwrap().disk[0].driver.clone().unwrap().r#type, Some(DiskFormat::Raw));
    assert!(inventory(&bench.host).await.unwrap().volumes.contains_key("iso/solo.qcow2"), "it was to be kept");
}

#[tokio::test(start_paused = true)]
async fn a_move_at_rest_is_refused_where_a_copy_would_be_wrong() {
    let bench = at_rest().await;
    let id = bench.vm("solo").await.id;
    let slow = DiskMove { speed: Bandwidth::parse("1M").unwrap(), ..to_iso() };
    let e = relocate(&bench, "solo", &slow).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_input [field speed]"), "{}", said(&e));
    // Another machine uses the image, too.
    let shared =
        relocate(&bench, "db", &DiskMove::new("vdb".parse().unwrap(), "iso".parse().unwrap())).await.unwrap_err();
    assert!(said(&shared).contains("disk vdc of VM build-01"), "{}", said(&shared));
    bench.host.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    bench.host.hypervisor.power(&id, PowerAction::Save).await.unwrap();
    let e = relocate(&bench, "solo", &to_iso()).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_state") && said(&e).contains("saved state"), "{}", said(&e));
    // For the machine it is plain bytes: its guest wrote that header, and a copy would go by it.
    bench.host.hypervisor.power(&id, PowerAction::DiscardSaved).await.unwrap();
    let mut document = bench.host.hypervisor.definition(&id, View::CONFIG).await.unwrap();
    document.devices.as_mut().unwrap().disk[0].driver.as_mut().unwrap().r#type = Some(DiskFormat::Raw);
    bench.host.hypervisor.define(&document, Existing::Replace).await.unwrap();
    let e = relocate(&bench, "solo", &to_iso()).await.unwrap_err();
    assert!(said(&e).contains("is raw for VM solo, and qcow2 for its pool"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_starts_after_the_plan_keeps_its_image() {
    let bench = at_rest().await;
    let plan = relocate(&bench, "solo", &to_iso()).await.unwrap();
    bench.host.hypervisor.power(&bench.vm("solo").await.id, PowerAction::Start).await.unwrap();
    let before = bench.picture().await;
    assert_eq!(bench.run(plan).await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(bench.picture().await, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_move_leaves_nobody_behind() {
    let bench = bench().await;
    let refused = async |vm: &str, wanted: DiskMove| said(&relocate(&bench, vm, &wanted).await.unwrap_err());
    let e = refused("build-01", to_iso()).await;
    assert!(e.contains("snapshot one of VM build-01"), "{e}");
    let shared = refused("build-01", DiskMove::new("vdc".parse().unwrap(), "iso".parse().unwrap())).await;
    assert!(shared.contains("disk vdb of VM db"), "{shared}");
    let here = refused("solo", DiskMove::new(vda(), "default".parse().unwrap())).await;
    assert!(here.starts_with("invalid_input [field pool]"), "{here}");
    let absent = refused("solo", DiskMove::new("vdx".parse().unwrap(), "iso".parse().unwrap())).await;
    assert!(absent.starts_with("not_found"), "{absent}");
    let inactive = refused("solo", DiskMove::new(vda(), "archive".parse().unwrap())).await;
    assert!(inactive.starts_with("invalid_state [pool archive]"), "{inactive}");
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_halfway_leaves_everything_as_it_was() {
    let slow = Bandwidth::parse("64K").unwrap();
    for kind in 0..3 {
        let bench = bench().await;
        let before = bench.picture().await;
        let plan = match kind {
            0 => commit(&bench, "solo", &DiskCommit { speed: slow, ..DiskCommit::new(vda()) }).await,
            1 => pull(&bench, "solo", &DiskPull { speed: slow, ..DiskPull::new(vda()) }).await,
            _ => relocate(&bench, "solo", &DiskMove { speed: slow, ..to_iso() }).await,
        };
        let cancel = CancellationToken::new();
        let executor = bench.executor();
        let run = executor.run(plan.unwrap(), context(&bench.host, &cancel));
        let (ended, ()) = tokio::join!(run, async {
            bench.clock.sleep(Duration::from_millis(1200)).await;
            let jobs = bench.host.hypervisor.block_jobs().unwrap();
            let job = jobs.job(&bench.vm("solo").await.id, &vda()).await.unwrap().unwrap();
            assert!(job.done < job.total && !job.ready, "{job:?}");
            cancel.cancel();
        });
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(bench.picture().await, before, "{kind}");
        bench.assert_nothing_open().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_stops_halfway_keeps_its_image() {
    let bench = bench().await;
    let slow = DiskMove { speed: Bandwidth::parse("64K").unwrap(), ..to_iso() };
    let files = bench.mock.files().unwrap();
    let plan = relocate(&bench, "solo", &slow).await.unwrap();
    let (ended, ()) = tokio::join!(bench.run(plan), async {
        bench.clock.sleep(Duration::from_millis(1200)).await;
        bench.host.hypervisor.power(&bench.vm("solo").await.id, PowerAction::PowerOff).await.unwrap();
    });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(images(&bench, "solo").await, ["/images/solo.qcow2"; 2]);
    assert_eq!(bench.mock.files().unwrap(), files);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn only_what_runs_has_jobs_and_one_at_a_time() {
    let bench = bench().await;
    let e = pull(&bench, "db", &DiskPull::new(vda())).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidState, "{}", said(&e));
    let id = bench.vm("solo").await.id;
    let jobs = bench.host.hypervisor.block_jobs().unwrap();
    jobs.pull(&id, &vda(), None, Bandwidth::parse("64K").unwrap()).await.unwrap();
    let e = commit(&bench, "solo", &DiskCommit::new(vda())).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy, "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_in_any_call_is_taken_back_or_finished_by_resuming() {
    failing_in_any_call(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_fails_in_any_call_does_no_harm_or_is_finished_by_resuming() {
    failing_in_any_call(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_that_fails_in_any_call_is_taken_back_or_finished_by_resuming() {
    failing_in_any_call(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_at_rest_that_fails_in_any_call_is_taken_back_or_finished_by_resuming() {
    failing_in_any_call(3).await;
}

async fn failing_in_any_call(kind: usize) {
    let reference = begin(kind).await;
    let before = reference.picture().await;
    let plan = planned(kind, &reference).await.unwrap();
    reference.mock.forget_calls();
    reference.run(plan).await.unwrap();
    let calls = reference.mock.calls().len() as u64;
    let after = reference.picture().await;
    for call in 1..=calls {
        for fault in [Fault::nth(call, ErrorKind::Busy), Fault::nth(call, ErrorKind::Timeout).after_effect()] {
            let bench = begin(kind).await;
            let plan = planned(kind, &bench).await.unwrap();
            bench.mock.inject(fault.clone());
            let result = bench.run(plan).await;
            let open = bench.store.unfinished().await.unwrap();
            if let [operation] = open.as_slice() {
                let cancel = CancellationToken::new();
                let cx = context(&bench.host, &cancel);
                bench.executor().finish(&operation.header.id, Direction::Forward, cx).await.unwrap();
            }
            let now = bench.picture().await;
            if result.is_err() && open.is_empty() {
                assert_eq!(visible(kind, &now), visible(kind, &before), "{kind} {fault:?}");
            } else {
                assert_eq!(now, after, "{kind} {fault:?}");
            }
            bench.assert_nothing_open().await;
        }
    }
}

/// What somebody sees of the host. What a pull has copied stays when it is taken back: the image shows the same upon its base
/// as without it.
fn visible(kind: usize, picture: &str) -> String {
    picture.lines().filter(|line| kind != 1 || !line.contains("\"backing\"")).collect::<Vec<_>>().join("\n")
}

async fn begin(kind: usize) -> Bench {
    if kind == 3 { at_rest().await } else { bench().await }
}

async fn planned(kind: usize, bench: &Bench) -> Result<Plan> {
    match kind {
        0 => commit(bench, "solo", &DiskCommit::new(vda())).await,
        1 => pull(bench, "solo", &DiskPull::new(vda())).await,
        _ => relocate(bench, "solo", &to_iso()).await,
    }
}

struct Template {
    mock: Mutex<Option<Mock>>,
    kind: usize,
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = begin(self.kind).await;
        let plan = planned(self.kind, &bench).await?;
        *self.mock.lock().unwrap() = Some(bench.mock.clone());
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let mock = self.mock.lock().unwrap().clone().unwrap();
        picture(host, &mock).await
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn commits_and_moves_end_before_or_after_whatever_fails_at_whatever_step() {
    // A pull is one step that changes nothing that anybody sees; above, each of its calls fails.
    for (kind, steps) in [(0, 3), (2, 4), (3, 3)] {
        let coverage = check(&Template { mock: Mutex::new(None), kind }).await.unwrap();
        assert_eq!(coverage.steps, steps, "{kind}");
    }
}
