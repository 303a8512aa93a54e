//! Plans of new machines: what they say, what they refuse, and what is left of them.

use std::sync::Mutex;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Hook, Moment, Plan, Verdict};
use kvm_core::{Bytes, DiskRoot, ErrorKind, Host, Resource, Result, VmState};
use kvm_mock::{Fault, Method, Mock, Script};
use kvm_vm::{CreateSpec, plan_create};
use kvm_xml::Document as _;
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, catalogue, context, picture, read, said, spec};

const FULL: &str = r#"{
    "name": "web01", "title": "Shop", "tags": ["web", "owner=shop"], "protection": true, "autostart": "on",
    "start": "paused", "vcpus": 4, "memory": "4GiB", "firmware": "uefi-secure", "tpm": true, "boot_menu": true,
    "disks": [{"size": "20GiB"}, {"size": "1G", "format": "raw", "bus": "scsi", "cache": "none"},
              {"volume": "default/free.qcow2"}],
    "iso": "iso/debian.iso", "boot": ["cdrom", "disk", "network"],
    "nics": [{"network": "default", "mac": "52:54:00:0a:0b:0c"}, {"bridge": "br0", "model": "e1000e"}, {"user": true}],
    "graphics": "spice"
}"#;

async fn planned(bench: &Bench, json: &str) -> Result<kvm_vm::CreatePlan> {
    plan_create(&bench.host, &spec(json), &bench.cx()).await
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_a_full_specification_is_this_text() {
    let bench = Bench::new();
    let create = planned(&bench, FULL).await.unwrap();
    let target = bench.host.hypervisor.capabilities().await.unwrap().target;
    assert_eq!(create.plan.to_string().replace(&target, "TARGET"), include_str!("golden/create.txt").trim_end());
    assert_eq!(create.document.to_xml().replace(&create.id.to_string(), "UUID"), include_str!("golden/create.xml"));
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_the_shortest_specification_is_this_text() {
    let bench = Bench::empty();
    let create = planned(&bench, r#"{"name": "a", "os": "windows"}"#).await.unwrap();
    let target = bench.host.hypervisor.capabilities().await.unwrap().target;
    assert_eq!(create.plan.to_string().replace(&target, "TARGET"), include_str!("golden/create-short.txt").trim_end());
    let xml = create.document.to_xml().replace(&create.id.to_string(), "UUID");
    assert_eq!(xml, include_str!("golden/create-short.xml"));
}

#[tokio::test(start_paused = true)]
async fn a_created_machine_is_as_its_specification_says() {
    let bench = Bench::new();
    let create = planned(&bench, FULL).await.unwrap();
    bench.run(create.plan).await.unwrap();
    bench.assert_nothing_open().await;
    let vm = bench.vm("web01").await;
    assert_eq!((vm.id, vm.state, vm.autostart), (create.id, VmState::Paused, Some(true)));
    assert_eq!((vm.vcpus, vm.max_memory), (Some(4), Some(Bytes::from_gib(4))));
    let notes = kvm_vm::notes(&bench.host, &vm.id).await.unwrap();
    assert_eq!(notes.tags.len(), 2);
    assert_eq!(notes.protection, kvm_core::Protection::On);
    let pool = "default".parse().unwrap();
    let second = bench.host.storage.find_volume(&pool, &"web01-1.img".parse().unwrap()).await.unwrap();
    assert_eq!((second.capacity, second.format.as_deref()), (Bytes::GIB, Some("raw")));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_with_its_name_before_anything_is_written() {
    let bench = Bench::new();
    let before = bench.picture().await;
    for (json, wanted) in [
        (r#"{"name": "db"}"#, "already_exists [VM db]: there is a VM named db already"),
        (
            r#"{"name": "a", "nics": [{"network": "default", "mac": "52:54:00:00:00:02"}]}"#,
            "already_exists [field mac]: VM db has the MAC address 52:54:00:00:00:02 already",
        ),
        (
            r#"{"name": "a", "nics": [{"network": "default", "mac": "52:54:0:0:0:9"}, {"network": "default", "mac": "52:54:0:0:0:9"}]}"#,
            "invalid_input [field mac]: two network devices",
        ),
        (
            r#"{"name": "a", "vcpus": 300}"#,
            "invalid_input [field vcpus]: 300 virtual CPUs are more than this host gives",
        ),
        (r#"{"name": "a", "memory": "65GiB"}"#, "invalid_input [field memory]: 65 GiB are more than this host gives"),
        (r#"{"name": "a", "arch": "sparc"}"#, "invalid_input [field arch]: this host runs no guests for sparc"),
        (r#"{"name": "a", "machine": "pc-9"}"#, "invalid_input [field machine]: this host has no machine type pc-9"),
        (
            r#"{"name": "a", "machine": "pc", "firmware": "uefi-secure"}"#,
            "invalid_input [field firmware]: secure boot needs",
        ),
        (r#"{"name": "a", "boot": ["cdrom"]}"#, "invalid_input [field boot]: cannot boot from cdrom"),
        (r#"{"name": "a", "boot": ["network", "network"]}"#, "invalid_input [field boot]: cannot boot from network"),
        (r#"{"name": "a", "disks": [{"size": "1G", "pool": "none"}]}"#, "not_found [pool none]: no pool named none"),
        (
            r#"{"name": "a", "disks": [{"size": "1G", "pool": "archive"}]}"#,
            "invalid_state [pool archive]: pool archive is not active",
        ),
        (
            r#"{"name": "a", "disks": [{"size": "500G"}]}"#,
            "no_space [pool default]: not enough space in pool default for a.qcow2 | asked 500 GiB, free",
        ),
        (
            r#"{"name": "a", "disks": [{"size": "1G", "name": "db.qcow2"}]}"#,
            "already_exists [volume default/db.qcow2]: there is a volume default/db.qcow2 already",
        ),
        (
            r#"{"name": "a", "disks": [{"size": "1G", "name": "x"}, {"size": "1G", "name": "x"}]}"#,
            "invalid_input [field disks]: two disks are /images/x",
        ),
        (r#"{"name": "a", "disks": [{"volume": "default/none"}]}"#, "not_found [volume "),
        (
            r#"{"name": "a", "disks": [{"path": "/images/none"}]}"#,
            "not_found [volume /images/none]: no pool knows a volume at",
        ),
        (
            r#"{"name": "a", "disks": [{"path": "/srv/x.img", "format": "raw"}]}"#,
            "invalid_input [field disk_path]: disk path",
        ),
        (r#"{"name": "a", "iso": "/images-evil/x.iso"}"#, "invalid_input [field disk_path]: disk path"),
        (r#"{"name": "a", "kernel": {"kernel": "/srv/vmlinuz"}}"#, "invalid_input [field disk_path]: disk path"),
        (
            r#"{"name": "a", "nics": [{"network": "lan"}]}"#,
            "not_found [network lan]: no network named lan | networks there are",
        ),
        (
            r#"{"name": "a", "nics": [{"network": "idle"}], "start": "yes"}"#,
            "invalid_state [network idle]: network idle is not active",
        ),
    ] {
        let e = planned(&bench, json).await.unwrap_err();
        assert!(said(&e).starts_with(wanted), "{json}\n  wanted {wanted}\n  said   {}", said(&e));
    }
    let id = bench.vm("db").await.id;
    let e = planned(&bench, &format!(r#"{{"name": "a", "uuid": "{id}"}}"#)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists);
    assert_eq!(bench.picture().await, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_network_is_fine_for_a_machine_that_stays_off() {
    let bench = Bench::new();
    let create = planned(&bench, r#"{"name": "a", "nics": [{"network": "idle"}]}"#).await.unwrap();
    assert!(create.plan.to_string().contains("not active"), "{}", create.plan);
}

#[tokio::test(start_paused = true)]
async fn thin_volumes_may_exceed_the_pool_when_that_is_asked_for() {
    let bench = Bench::new();
    let json = r#"{"name": "a", "disks": [{"size": "500G"}], "allow_overcommit": true}"#;
    bench.run(planned(&bench, json).await.unwrap().plan).await.unwrap();
    assert_eq!(bench.vm("a").await.state, VmState::Off);
}

#[tokio::test(start_paused = true)]
async fn files_below_allowed_paths_are_taken_unless_a_link_leads_elsewhere() {
    let mut bench = Bench::new();
    bench.policy.allowed_paths = vec![DiskRoot::parse("/srv/iso").unwrap()];
    let realpath = |asked: &str, real: &str| {
        let argv = ["realpath", "--canonicalize-existing", "--zero", "--", asked];
        Script::printing(&argv, &format!("{real}\0"))
    };
    bench.mock.add_program(realpath("/srv/iso/good.iso", "/srv/iso/good.iso"));
    bench.mock.add_program(realpath("/srv/iso/link.iso", "/etc/shadow"));
    let with = |iso: &str| format!(r#"{{"name": "a", "iso": "{iso}"}}"#);
    let create = planned(&bench, &with("/srv/iso/good.iso")).await.unwrap();
    assert!(create.document.to_xml().contains("<source file='/srv/iso/good.iso'/>"));
    let e = planned(&bench, &with("/srv/iso/link.iso")).await.unwrap_err();
    assert!(e.message().contains("symbolic link"), "{e}");
    let e = planned(&bench, &with("/srv/iso/gone.iso")).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    let json = r#"{"name": "a", "disks": [{"path": "/srv/iso/good.iso"}]}"#;
    let e = planned(&bench, json).await.unwrap_err();
    assert_eq!(
        said(&e),
        "invalid_input [field format]: the format of /srv/iso/good.iso is not known; say raw or qcow2"
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_looked_at_is_refused() {
    let mut bench = Bench::new();
    bench.policy.allowed_paths = vec![DiskRoot::parse("/srv").unwrap()];
    let e = planned(&bench, r#"{"name": "a", "iso": "/srv/a.iso"}"#).await.unwrap_err();
    assert_eq!(e.resource(), Some(&Resource::File("/srv/a.iso".into())));
    assert_eq!(e.message(), "it cannot be seen where /srv/a.iso leads");
}

#[test]
fn a_key_that_nobody_knows_is_named_with_its_place() {
    for (json, field, part) in [
        (r#"{"name": "a", "colour": "red"}"#, "colour", "unknown field `colour`"),
        (r#"{"name": "a", "disks": [{"size": "1G", "siez": 1}]}"#, "disks[0].siez", "unknown field `siez`"),
        (r#"{"name": "a", "memory": "1e3"}"#, "memory", "memory \"1e3\""),
        (r#"{"name": "a", "memory": 1e3}"#, "memory", "memory \"1000.0\""),
        (r#"{"name": "a", "vcpus": -1}"#, "vcpus", "number of virtual CPUs \"-1\""),
        (r#"{"name": "a", "vcpus": 4294967296}"#, "vcpus", "4294967296"),
        (r#"{"name": "..", "vcpus": 1}"#, "name", "VM name \"..\""),
        (r#"{"name": "a", "start": "perhaps"}"#, "start", "no, yes, paused"),
        (r#"{"name": "a", "cpu": "-x"}"#, "cpu", "cpu \"-x\""),
    ] {
        let e = read(json).unwrap_err();
        assert_eq!(e.resource(), Some(&Resource::Field(field.into())), "{json}: {e:?}");
        assert!(e.message().contains(part), "{json}: {e}");
    }
}

#[test]
fn a_specification_that_is_written_is_read_back_the_same() {
    let full = spec(FULL);
    let again: CreateSpec = serde_json::from_str(&serde_json::to_string(&full).unwrap()).unwrap();
    assert_eq!(again, full);
    let short = CreateSpec::new("a".parse().unwrap());
    assert_eq!(spec(r#"{"name": "a"}"#), short);
    assert_eq!(serde_json::from_str::<CreateSpec>(&serde_json::to_string(&short).unwrap()).unwrap(), short);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_made_meanwhile_is_never_taken_back() {
    let bench = Bench::new();
    let create = planned(&bench, r#"{"name": "a", "disks": [{"size": "1G"}, {"size": "2G"}]}"#).await.unwrap();
    let pool = "default".parse().unwrap();
    let theirs = "<volume><name>a-1.qcow2</name><capacity>4096</capacity></volume>";
    let theirs = kvm_xml::StorageVolume::from_xml(theirs).unwrap();
    bench.host.storage.create_volume(&pool, &theirs).await.unwrap();
    let before = bench.picture().await;
    let e = bench.run(create.plan).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists);
    assert_eq!(bench.picture().await, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_any_call_leaves_nothing_behind() {
    let bench = Bench::new();
    let create = planned(&bench, FULL).await.unwrap();
    bench.mock.forget_calls();
    bench.run(create.plan).await.unwrap();
    let calls = bench.mock.calls().len() as u64;
    let after = bench.picture().await;
    assert!(calls >= 10, "{calls}");

    for call in 1..=calls {
        for fault in [
            Fault::nth(call, ErrorKind::NoSpace),
            Fault::nth(call, ErrorKind::Denied),
            Fault::nth(call, ErrorKind::Timeout).after_effect(),
        ] {
            let bench = Bench::new();
            let create = planned(&bench, FULL).await.unwrap();
            let before = bench.picture().await;
            bench.mock.inject(fault.clone());
            let wanted = match bench.run(create.plan).await {
                // A lost answer of `NotFound` is `NotFound` all the same.
                Ok(()) => &after,
                Err(_) => &before,
            };
            assert_eq!(&bench.picture().await, wanted, "{fault:?}");
            bench.assert_nothing_open().await;
        }
    }
}

/// Dies right after a step.
#[derive(Debug)]
struct DieAfter(&'static str);

#[async_trait]
impl Hook for DieAfter {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        if moment == Moment::After && name == self.0 { Verdict::Die } else { Verdict::Continue }
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_was_written_to_survives_the_undo_of_an_old_operation() {
    let bench = Bench::new();
    let create = planned(&bench, r#"{"name": "a", "disks": [{"size": "1G", "format": "raw"}]}"#).await.unwrap();
    let cancel = CancellationToken::new();
    let executor = bench.executor().with_hook(std::sync::Arc::new(DieAfter("define")));
    executor.run(create.plan, context(&bench.host, &cancel)).await.unwrap_err();
    // Somebody uses the machine that the dead process had made, and the operation is undone after that.
    bench.mock.write_at("/images/a.img", 0, &vec![7; 8 << 20]).unwrap();
    let open = kvm_core::op::Store::unfinished(&bench.store).await.unwrap();
    let e =
        bench.executor().finish(&open[0].header.id, Direction::Back, context(&bench.host, &cancel)).await.unwrap_err();
    assert!(said(&e).contains("volume default/a.img stays: 8 MiB were written to it since"), "{}", said(&e));
    assert_eq!(bench.mock.read_at("/images/a.img", 0, 1).unwrap(), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_somebody_started_survives_the_undo_of_an_old_operation() {
    let bench = Bench::new();
    let create = planned(&bench, r#"{"name": "a", "disks": [{"size": "1G"}]}"#).await.unwrap();
    let cancel = CancellationToken::new();
    let executor = bench.executor().with_hook(std::sync::Arc::new(DieAfter("define")));
    executor.run(create.plan, context(&bench.host, &cancel)).await.unwrap_err();
    bench.host.hypervisor.power(&create.id, kvm_core::PowerAction::Start).await.unwrap();
    let before = bench.picture().await;
    let open = kvm_core::op::Store::unfinished(&bench.store).await.unwrap();
    let id = &open[0].header.id;
    let e = bench.executor().finish(id, Direction::Back, context(&bench.host, &cancel)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidState);
    assert_eq!(bench.picture().await, before);
}

struct Template {
    mock: Mutex<Option<Mock>>,
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = Bench::new();
        let create = plan_create(&bench.host, &spec(FULL), &bench.cx()).await?;
        *self.mock.lock().unwrap() = Some(bench.mock.clone());
        Ok((bench.host, create.plan))
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
async fn creating_ends_before_or_after_whatever_fails_at_whatever_step() {
    let coverage = check(&Template { mock: Mutex::new(None) }).await.unwrap();
    assert_eq!(coverage.steps, 5);
    assert!(coverage.runs > 30, "{coverage:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_family_is_named() {
    let bench = Bench::new();
    bench.mock.fail_next(Method::Capabilities, ErrorKind::Unavailable);
    let e = planned(&bench, r#"{"name": "a"}"#).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable);
}
