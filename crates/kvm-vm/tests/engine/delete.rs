//! Plans of the end of machines: what goes, what stays, and what nobody may lose.

use std::sync::Mutex;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Plan, Store as _};
use kvm_core::{ErrorKind, Existing, Host, Protection, Result, VmId};
use kvm_mock::{Fault, Mock, Script};
use kvm_vm::{DeleteOptions, NotesChange, Running, Volumes, plan_delete};
use kvm_xml::{Document as _, Domain};
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, catalogue, context, picture, said};

const ALL: DeleteOptions = DeleteOptions { volumes: Volumes::Delete, running: Running::PowerOff };

async fn planned(bench: &Bench, name: &str, options: DeleteOptions) -> Result<Plan> {
    plan_delete(&bench.host, &bench.vm(name).await, &options).await
}

async fn shown(bench: &Bench, name: &str, options: DeleteOptions) -> String {
    let target = bench.host.hypervisor.capabilities().await.unwrap().target;
    planned(bench, name, options).await.unwrap().to_string().replace(&target, "TARGET")
}

#[tokio::test(start_paused = true)]
async fn the_plan_says_what_goes_and_what_stays_and_why() {
    let bench = Bench::new();
    assert_eq!(shown(&bench, "build-01", ALL).await, include_str!("golden/delete.txt").trim_end());
    let kept = DeleteOptions { volumes: Volumes::Keep, ..ALL };
    assert_eq!(shown(&bench, "build-01", kept).await, include_str!("golden/delete-keep.txt").trim_end());
}

#[tokio::test(start_paused = true)]
async fn deleting_removes_what_the_plan_names_and_nothing_else() {
    let bench = Bench::new();
    let before = kvm_vm::inventory(&bench.host).await.unwrap();
    bench.run(planned(&bench, "build-01", ALL).await.unwrap()).await.unwrap();
    bench.assert_nothing_open().await;
    let after = kvm_vm::inventory(&bench.host).await.unwrap();
    assert_eq!(
        before.diff(&after),
        ["VM build-01 is gone", "volume default/build-01-data.img is gone", "volume default/build-01.qcow2 is gone"]
    );
    let left: Vec<_> = bench.mock.files().unwrap().into_keys().filter(|f| f.contains("build-01")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_running_machine_is_deleted_only_when_it_may_be_switched_off() {
    let bench = Bench::new();
    let e = planned(&bench, "build-01", DeleteOptions::default()).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_state [VM build-01]: VM build-01 is running"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn a_protected_machine_stays_also_when_it_is_protected_after_the_plan() {
    let bench = Bench::new();
    let e = planned(&bench, "safe", ALL).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_state [VM safe]: VM safe is protected"), "{}", said(&e));

    let plan = planned(&bench, "db", ALL).await.unwrap();
    let on = NotesChange { protection: Some(Protection::On), ..NotesChange::default() };
    kvm_vm::change_notes(&bench.host, &bench.vm("db").await.id, &on).await.unwrap();
    let before = bench.picture().await;
    assert_eq!(bench.run(plan).await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(bench.picture().await, before);
}

/// Adds a machine with this in its devices, as somebody else would.
fn plant(bench: &Bench, name: &str, devices: &str) -> VmId {
    let xml = format!(
        "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>{name}</name>\
         <uuid>{}</uuid><memory>1048576</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>{devices}</domain>",
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes())
    );
    bench.mock.plant(&xml).unwrap()
}

fn stays(plan: &str, volume: &str) -> bool {
    plan.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|words| match words[..] {
        ["keep", _, name, ..] => name.ends_with(volume),
        _ => false,
    })
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_another_machine_names_in_any_way_stays() {
    for other in [
        "<devices><disk type='file'><source file='//images/./build-01.qcow2'/><target dev='vda'/></disk></devices>",
        "<devices><disk type='volume'><source pool='default' volume='build-01.qcow2'/><target dev='vda'/></disk></devices>",
        "<devices><filesystem type='mount'><source dir='/images'/><target dir='x'/></filesystem></devices>",
        "<qemu:commandline><qemu:arg value='file=/images/build-01.qcow2,if=virtio'/></qemu:commandline>",
        "<devices><disk type='file'><source file='/x'/><backingStore type='file'><source file='/images/build-01.qcow2'/>\
         </backingStore><target dev='vda'/></disk></devices>",
    ] {
        let bench = Bench::new();
        plant(&bench, "other", other);
        let plan = shown(&bench, "build-01", ALL).await;
        assert!(stays(&plan, "build-01.qcow2"), "{other}\n{plan}");
        assert!(plan.contains("used by other"), "{plan}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_the_same_file_under_another_name_stays() {
    let bench = Bench::new();
    plant(
        &bench,
        "other",
        "<devices><disk type='file'><source file='/elsewhere/link.qcow2'/><target dev='vda'/></disk></devices>",
    );
    let without = shown(&bench, "build-01", ALL).await;
    assert!(!stays(&without, "build-01.qcow2"), "{without}");

    // The host's file system says that both names lead to one file.
    let calls = bench.mock.calls();
    let asked = calls.iter().rev().find(|c| c.subject.starts_with("stat ")).unwrap();
    let argv: Vec<_> = asked.subject.split(' ').collect();
    let answer: String = argv[4..]
        .iter()
        .enumerate()
        .map(|(i, path)| {
            let inode = if path.ends_with("build-01.qcow2") || path.ends_with("link.qcow2") { 7 } else { 100 + i };
            format!("1:{inode}:{path}\0")
        })
        .collect();
    bench.mock.add_program(Script::printing(&argv, &answer));
    let with = shown(&bench, "build-01", ALL).await;
    assert!(stays(&with, "build-01.qcow2"), "{with}");
}

#[tokio::test(start_paused = true)]
async fn a_volume_below_an_overlay_stays() {
    let bench = Bench::new();
    let overlay = "<volume><name>over.qcow2</name><capacity>1048576</capacity><target><format type='qcow2'/></target>\
                   <backingStore><path>/images/build-01-data.img</path><format type='raw'/></backingStore></volume>";
    let overlay = kvm_xml::StorageVolume::from_xml(overlay).unwrap();
    bench.host.storage.create_volume(&"default".parse().unwrap(), &overlay).await.unwrap();
    let plan = shown(&bench, "build-01", ALL).await;
    assert!(stays(&plan, "build-01-data.img"), "{plan}");
    assert!(plan.contains("backing file of default/over.qcow2"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_put_to_use_after_the_plan_stays() {
    let bench = Bench::new();
    let plan = planned(&bench, "build-01", ALL).await.unwrap();
    plant(
        &bench,
        "late",
        "<devices><disk type='file'><source file='/images/build-01.qcow2'/><target dev='vda'/></disk></devices>",
    );
    bench.run(plan).await.unwrap();
    bench.assert_nothing_open().await;
    let files = bench.mock.files().unwrap();
    assert!(files.contains_key("/images/build-01.qcow2"));
    assert!(!files.contains_key("/images/build-01-data.img"));
}

#[tokio::test(start_paused = true)]
async fn images_outside_of_pools_and_read_only_disks_stay() {
    let bench = Bench::new();
    let id = plant(
        &bench,
        "odd",
        "<devices><disk type='file'><source file='/elsewhere/a.img'/><target dev='vda'/></disk>\
         <disk type='file'><source file='/images/free.qcow2'/><target dev='vdb'/><readonly/></disk>\
         <disk type='network'><source protocol='nbd' name='x'/><target dev='vdc'/></disk>\
         <disk type='file' device='cdrom'><target dev='sda'/></disk></devices>",
    );
    let plan = shown(&bench, "odd", ALL).await;
    assert!(stays(&plan, "/elsewhere/a.img") && plan.contains("in no active pool"), "{plan}");
    assert!(stays(&plan, "default/free.qcow2") && plan.contains("read-only"), "{plan}");
    assert_eq!(planned(&bench, "odd", ALL).await.unwrap().steps.len(), 1);
    bench.host.hypervisor.find(&kvm_core::VmRef::Id(id)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_live_document_counts_as_well_as_the_stored_one() {
    let bench = Bench::new();
    // Redefined without its data disk while it runs: the disk is still plugged in.
    let build = bench.vm("build-01").await;
    let mut stored: Domain = bench.host.hypervisor.definition(&build.id, kvm_core::View::CONFIG).await.unwrap();
    let disks = &mut stored.devices.as_mut().unwrap().disk;
    disks.retain(|d| d.source.as_ref().and_then(|s| s.file.as_deref()) != Some("/images/build-01-data.img"));
    bench.host.hypervisor.define(&stored, Existing::Replace).await.unwrap();
    plant(
        &bench,
        "other",
        "<devices><disk type='file'><source file='/images/build-01-data.img'/><target dev='vda'/></disk></devices>",
    );
    let plan = shown(&bench, "other", ALL).await;
    assert!(stays(&plan, "build-01-data.img") && plan.contains("used by build-01"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_any_call_leaves_the_machine_or_is_finished_by_resuming() {
    let bench = Bench::new();
    let before = bench.picture().await;
    let plan = planned(&bench, "build-01", ALL).await.unwrap();
    bench.mock.forget_calls();
    bench.run(plan).await.unwrap();
    let calls = bench.mock.calls().len() as u64;
    let after = bench.picture().await;

    for call in 1..=calls {
        for fault in [Fault::nth(call, ErrorKind::Busy), Fault::nth(call, ErrorKind::Timeout).after_effect()] {
            let bench = Bench::new();
            let plan = planned(&bench, "build-01", ALL).await.unwrap();
            bench.mock.inject(fault.clone());
            let result = bench.run(plan).await;
            let open = bench.store.unfinished().await.unwrap();
            if let [operation] = open.as_slice() {
                let cancel = CancellationToken::new();
                let cx = context(&bench.host, &cancel);
                bench.executor().finish(&operation.header.id, Direction::Forward, cx).await.unwrap();
            }
            let wanted = if result.is_err() && open.is_empty() { &before } else { &after };
            assert_eq!(&bench.picture().await, wanted, "{fault:?}");
            bench.assert_nothing_open().await;
        }
    }
}

struct Template {
    mock: Mutex<Option<Mock>>,
    vm: &'static str,
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = Bench::new();
        let plan = planned(&bench, self.vm, ALL).await?;
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
async fn deleting_ends_before_or_after_whatever_fails_at_whatever_step() {
    for (vm, steps) in [("build-01", 4), ("db", 2), ("fleeting", 2)] {
        let coverage = check(&Template { mock: Mutex::new(None), vm }).await.unwrap();
        assert_eq!(coverage.steps, steps, "{vm}");
    }
}
