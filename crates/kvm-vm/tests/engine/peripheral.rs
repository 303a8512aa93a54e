//! Devices that are neither disks, nor network devices, nor screens: plugged in and out, and those of new machines.

use std::sync::Mutex;

use async_trait::async_trait;
use kvm_core::op::Catalogue;
use kvm_core::op::Plan;
use kvm_core::op::template::{Scenario, check};
use kvm_core::{DiskRoot, ErrorKind, Host, Impact, Peripheral, Result, View};
use kvm_mock::{Fault, Method, Mock, Script};
use kvm_vm::{AttachPlan, CreateSpec, DeviceAttach, DeviceDetach, plan_create, plan_device_attach, plan_device_detach};

use crate::support::{Bench, catalogue, said};

fn attach_as(text: &str, impact: Option<Impact>) -> DeviceAttach {
    DeviceAttach { device: text.parse().unwrap(), impact }
}

async fn attach(bench: &Bench, vm: &str, wanted: &DeviceAttach) -> Result<AttachPlan> {
    plan_device_attach(&bench.host, &bench.vm(vm).await, wanted, &bench.cx()).await
}

async fn detach(bench: &Bench, vm: &str, device: &str, impact: Option<Impact>) -> Result<kvm_vm::DetachPlan> {
    let wanted = DeviceDetach { impact, ..DeviceDetach::new(device.parse().unwrap()) };
    plan_device_detach(&bench.host, &bench.vm(vm).await, &wanted).await
}

/// What tells the devices of a document apart.
async fn devices(host: &Host, vm: &str, view: View) -> Vec<String> {
    let vm = kvm_vm::resolve(host, vm).await.unwrap();
    let document = host.hypervisor.definition(&vm.id, view).await.unwrap();
    let mut keys: Vec<_> = Peripheral::of(&document.devices.unwrap()).map(|device| device.key().to_string()).collect();
    keys.retain(|key| !key.starts_with("controller:"));
    keys
}

/// A host where `/srv/data` may be shared.
fn sharing() -> Bench {
    let mut bench = Bench::new();
    bench.policy.allowed_paths = vec![DiskRoot::parse("/srv").unwrap(), DiskRoot::parse("/images").unwrap()];
    for (asked, real) in [("/srv/data", "/srv/data"), ("/srv/link", "/etc"), ("/images/a", "/images/a")] {
        let argv = ["realpath", "--canonicalize-existing", "--zero", "--", asked];
        bench.mock.add_program(Script::printing(&argv, &format!("{real}\0")));
    }
    bench
}

#[tokio::test(start_paused = true)]
async fn a_device_comes_into_both_documents_and_goes_again() {
    let bench = Bench::new();
    let before = devices(&bench.host, "build-01", View::CONFIG).await;
    let AttachPlan { plan, device, .. } = attach(&bench, "build-01", &attach_as("rng", None)).await.unwrap();
    assert!(plan.to_string().ends_with("\n  attach  device  rng:ua-rng1"), "{plan}");
    bench.run(plan).await.unwrap();
    for view in [View::LIVE, View::CONFIG] {
        assert!(devices(&bench.host, "build-01", view).await.contains(&device.to_string()));
    }
    let second = attach(&bench, "build-01", &attach_as("rng=builtin", Some(Impact::Config))).await.unwrap();
    assert_eq!(second.device.to_string(), "rng:ua-rng2");
    bench.run(detach(&bench, "build-01", "rng:ua-rng1", None).await.unwrap().plan).await.unwrap();
    for view in [View::LIVE, View::CONFIG] {
        assert_eq!(devices(&bench.host, "build-01", view).await, before);
    }
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_name_the_only_one_of_its_kind_is_meant() {
    let bench = Bench::new();
    for text in ["sound=ich9", "watchdog"] {
        bench.run(attach(&bench, "db", &attach_as(text, None)).await.unwrap().plan).await.unwrap();
    }
    assert_eq!(detach(&bench, "db", "sound", None).await.unwrap().device.to_string(), "sound:ua-sound1");
    assert_eq!(detach(&bench, "db", "watchdog", None).await.unwrap().device.to_string(), "watchdog:i6300esb");
    bench.run(attach(&bench, "db", &attach_as("sound=usb", None)).await.unwrap().plan).await.unwrap();
    let e = detach(&bench, "db", "sound", None).await.unwrap_err();
    assert_eq!(e.detail(), Some("say which: sound:ua-sound1, sound:ua-sound2"));
    for (device, kind) in [("sound:ua-sound3", ErrorKind::NotFound), ("vsock", ErrorKind::NotFound)] {
        assert_eq!(detach(&bench, "db", device, None).await.unwrap_err().kind(), kind, "{device}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_before_anything_is_written() {
    let bench = sharing();
    let before = bench.picture().await;
    let (live, config) = (Some(Impact::Live), Some(Impact::Config));
    for (vm, text, impact, says) in [
        ("build-01", "sound", None, "unsupported [field device]: sound:ua-sound1 cannot be plugged into a running VM"),
        ("build-01", "watchdog=itco", live, "unsupported [field device]"),
        ("build-01", "controller=usb", None, "unsupported [field device]"),
        ("build-01", "clipboard", None, "unsupported [field device]: channel:com.redhat.spice.0"),
        ("build-01", "redirect", config, "invalid_input [field device]: USB devices are redirected over SPICE"),
        (
            "build-01",
            "share=/srv/data,tag=data",
            None,
            "invalid_state [VM build-01]: VM build-01 was started with memory",
        ),
        (
            "build-01",
            "share=/home/me,tag=data",
            config,
            "invalid_input [field share]: directory \"/home/me\" is below no",
        ),
        ("build-01", "share=/srv/link,tag=data", config, "invalid_input [field share]"),
        ("build-01", "share=/srv/gone,tag=data", config, "not_found [file /srv/gone]"),
        (
            "build-01",
            "share=/images/a,tag=data",
            config,
            "invalid_input [field share]: directory \"/images/a\" is where pool",
        ),
        ("db", "rng", live, "invalid_state [VM db]: VM db is off"),
    ] {
        let e = attach(&bench, vm, &attach_as(text, impact)).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
    assert_eq!(bench.picture().await, before);
    for text in ["vsock=5", "watchdog=i6300esb,action=poweroff"] {
        bench.run(attach(&bench, "build-01", &attach_as(text, None)).await.unwrap().plan).await.unwrap();
    }
    for (text, says) in [
        ("vsock", "already_exists [field device]: VM build-01 has vsock already"),
        ("watchdog=itco,action=reset", "invalid_input [field action]"),
    ] {
        let e = attach(&bench, "build-01", &attach_as(text, config)).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_directory_brings_shared_memory_along() {
    let bench = sharing();
    let AttachPlan { plan, .. } =
        attach(&bench, "db", &attach_as("share=/srv/data,tag=data,readonly", None)).await.unwrap();
    let shown = plan.to_string();
    let (_, lines) = shown.split_once('\n').unwrap();
    assert_eq!(
        lines,
        "  change  memory  db          shared with processes of the host, from its next start\n  \
         attach  device  share:data  /srv/data, read-only"
    );
    bench.run(plan).await.unwrap();
    let document = bench.host.hypervisor.definition(&bench.vm("db").await.id, View::CONFIG).await.unwrap();
    let xml = kvm_xml::Document::to_xml(&document);
    for part in ["<source type='memfd'/>", "<access mode='shared'/>", "<driver type='virtiofs'/>", "<readonly/>"] {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    // Once the memory is shared, nothing of it changes.
    let other = sharing_more(&bench, "/srv/other");
    let plan = attach(other, "db", &attach_as("share=/srv/other,tag=other", None)).await.unwrap().plan;
    assert!(!plan.to_string().contains("memory"), "{plan}");
}

fn sharing_more<'a>(bench: &'a Bench, directory: &str) -> &'a Bench {
    let argv = ["realpath", "--canonicalize-existing", "--zero", "--", directory];
    bench.mock.add_program(Script::printing(&argv, &format!("{directory}\0")));
    bench
}

#[tokio::test(start_paused = true)]
async fn a_new_machine_has_the_devices_that_its_specification_names() {
    let bench = sharing();
    let json = r#"{"name": "a", "graphics": "spice", "devices": [
        {"share": "/srv/data", "tag": "data"}, {"watchdog": "auto", "action": "poweroff"}, {"vsock": 7}, {"sound": "auto"},
        {"redirect": "auto"}, {"clipboard": "auto"}, {"rng": "builtin"}, {"controller": "scsi"}]}"#;
    let spec = CreateSpec::read(&mut serde_json::Deserializer::from_str(json)).unwrap();
    let create = plan_create(&bench.host, &spec, &bench.cx()).await.unwrap();
    let xml = kvm_xml::Document::to_xml(&create.document);
    for part in [
        "<access mode='shared'/>",
        "<watchdog model='i6300esb' action='poweroff'/>",
        "<cid auto='no' address='7'/>",
        "<sound model='ich9'>",
        "<redirdev bus='usb' type='spicevmc'>",
        "<backend model='builtin'/>",
        "<controller type='scsi' index='0' model='virtio-scsi'/>",
    ] {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    assert_eq!(xml.matches("com.redhat.spice.0").count(), 1, "SPICE brings the clipboard along: {xml}");
    assert!(create.plan.to_string().contains("share:data             /srv/data\n"), "{}", create.plan);
    bench.run(create.plan).await.unwrap();

    let two = json.replace(r#"{"rng": "builtin"}"#, r#"{"vsock": "auto"}"#).replace(r#""a""#, r#""b""#);
    let spec = CreateSpec::read(&mut serde_json::Deserializer::from_str(&two)).unwrap();
    let e = plan_create(&bench.host, &spec, &bench.cx()).await.unwrap_err();
    assert_eq!(said(&e), "already_exists [field device]: VM b has vsock already");
}

/// Plans on `db`, which is off, and on `build-01`, which runs.
struct Template {
    mock: Mutex<Option<Mock>>,
    plan: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    AttachShare,
    AttachRng,
    DetachRng,
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = sharing();
        let plan = match self.plan {
            Kind::AttachShare => attach(&bench, "db", &attach_as("share=/srv/data,tag=data", None)).await?.plan,
            Kind::AttachRng => attach(&bench, "build-01", &attach_as("rng", None)).await?.plan,
            Kind::DetachRng => {
                let new = attach(&bench, "build-01", &attach_as("rng", None)).await?.document;
                let build = bench.vm("build-01").await;
                bench.host.hypervisor.devices().unwrap().attach(&build.id, &new, Impact::Both).await?;
                detach(&bench, "build-01", "rng", None).await?.plan
            }
        };
        *self.mock.lock().unwrap() = Some(bench.mock.clone());
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let db = kvm_vm::resolve(host, "db").await?;
        let memory = host.hypervisor.definition(&db.id, View::CONFIG).await?.memory_backing;
        let of = async |vm: &str, view| devices(host, vm, view).await;
        let (live, config) = (of("build-01", View::LIVE).await, of("build-01", View::CONFIG).await);
        Ok(format!("{memory:?}\n{:?}\n{live:?}\n{config:?}", of("db", View::CONFIG).await))
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_of_devices_ends_before_or_after_whatever_fails_at_whatever_step() {
    for (plan, steps) in [(Kind::AttachShare, 2), (Kind::AttachRng, 1), (Kind::DetachRng, 1)] {
        let coverage = check(&Template { mock: Mutex::new(None), plan }).await;
        assert_eq!(coverage.unwrap_or_else(|e| panic!("{plan:?}: {e:?}")).steps, steps, "{plan:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_memory_module_needs_a_place_room_and_a_cell() {
    let bench = Bench::new();
    let e = attach(&bench, "db", &attach_as("dimm=512M", None)).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_input [field dimm]: the VM has no places for memory modules"), "{e}");
    let json = r#"{"name":"modules","memory":"1GiB","max_memory":"2GiB","memory_slots":2,"vcpus":2}"#;
    let spec = CreateSpec::read(&mut serde_json::Deserializer::from_str(json)).unwrap();
    let create = plan_create(&bench.host, &spec, &bench.cx()).await.unwrap();
    let most = create.document.max_memory.as_ref().unwrap();
    assert_eq!((most.slots, most.bytes()), (Some(2), Some(2 << 30)));
    let cells = create.document.cpu.as_ref().unwrap().numa.as_ref().unwrap();
    assert_eq!(cells.cell.len(), 1, "libvirt plugs modules into cells alone");
    bench.run(create.plan).await.unwrap();

    for (text, says) in [
        ("dimm=1025M", "invalid_input [field dimm]: the VM has 1 GiB and can have 2 GiB at most"),
        ("dimm=0", "invalid_input [field device]: dimm memory"),
        ("dimm=256M,node=1", "invalid_input [field node]: there is no NUMA cell 1: the VM has 1, from 0"),
    ] {
        let e = match text.parse() {
            Ok(device) => attach(&bench, "modules", &DeviceAttach { device, impact: None }).await.unwrap_err(),
            Err(e) => e,
        };
        assert!(said(&e).starts_with(says), "{text}: {}", said(&e));
    }
    for number in 1..=2 {
        let AttachPlan { plan, device, .. } = attach(&bench, "modules", &attach_as("dimm=256M", None)).await.unwrap();
        assert_eq!(device.to_string(), format!("memory:ua-memory{number}"));
        bench.run(plan).await.unwrap();
    }
    let e = attach(&bench, "modules", &attach_as("dimm=256M", None)).await.unwrap_err();
    assert!(said(&e).contains("all 2 places for memory modules are taken"), "{e}");
    bench.run(detach(&bench, "modules", "memory:ua-memory1", None).await.unwrap().plan).await.unwrap();
    assert!(attach(&bench, "modules", &attach_as("dimm=256M", None)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_keeps_a_memory_module_is_said_to_and_what_it_takes() {
    let bench = Bench::new();
    let json = r#"{"name":"modules","memory":"1GiB","max_memory":"2GiB","memory_slots":2,"start":true}"#;
    let spec = CreateSpec::read(&mut serde_json::Deserializer::from_str(json)).unwrap();
    bench.run(plan_create(&bench.host, &spec, &bench.cx()).await.unwrap().plan).await.unwrap();
    bench.run(attach(&bench, "modules", &attach_as("dimm=256M", None)).await.unwrap().plan).await.unwrap();
    let plan = async || detach(&bench, "modules", "memory:ua-memory1", None).await.unwrap().plan;
    bench.mock.inject(Fault::next(Method::DetachDevice, ErrorKind::InvalidState));
    let refused = bench.run(plan().await).await.unwrap_err();
    bench.mock.set_obedience(&bench.vm("modules").await.id, None).unwrap();
    let silent = bench.run(plan().await).await.unwrap_err();
    for (e, kind) in [(refused, ErrorKind::InvalidState), (silent, ErrorKind::Timeout)] {
        assert_eq!(e.kind(), kind);
        assert!(said(&e).contains("online_movable"), "{}", said(&e));
    }
}

#[tokio::test(start_paused = true)]
async fn places_for_modules_need_room_for_them() {
    let bench = Bench::new();
    for (json, says) in [
        (r#"{"name":"a","memory_slots":2}"#, "invalid_input [field memory-slots]"),
        (r#"{"name":"a","memory":"1GiB","max_memory":"2GiB","memory_slots":1,"devices":[{"dimm":"1GiB"}]}"#, "at once"),
    ] {
        let spec = CreateSpec::read(&mut serde_json::Deserializer::from_str(json)).unwrap();
        let e = plan_create(&bench.host, &spec, &bench.cx()).await.unwrap_err();
        assert!(said(&e).contains(says), "{}", said(&e));
    }
    for slots in ["0", "256", "-1", "1.5", "\"many\""] {
        let json = format!(r#"{{"name":"a","memory_slots":{slots}}}"#);
        assert!(CreateSpec::read(&mut serde_json::Deserializer::from_str(&json)).is_err(), "{slots}");
    }
}
