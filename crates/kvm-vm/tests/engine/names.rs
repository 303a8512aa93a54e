//! Every input of the corpus that can enter here: what is refused writes nothing, what is taken lives a whole life.

use kvm_core::inputs::{Row, Verdict, rows};
use kvm_core::{Autostart, ErrorKind, PowerAction, Resource, Result, VmName};
use kvm_vm::{
    CreateSpec, DeleteOptions, ImportOptions, Running, Trust, Volumes, plan_create, plan_delete, plan_import, rename,
    resolve,
};
use kvm_xml::{Document as _, Domain, StoragePool};
use serde_json::{Value, json};

use crate::support::{Bench, said};

const ALL: DeleteOptions = DeleteOptions { volumes: Volumes::Delete, running: Running::PowerOff };

fn read(value: &Value) -> Result<CreateSpec> {
    CreateSpec::read(value)
}

/// The field of a specification that a kind of input goes into; `None` when it is not UTF-8 and so no JSON either.
fn specification(kind: &str, row: &Row) -> Option<Value> {
    let text = row.text()?;
    let mut value = json!({"name": "web", "nics": []});
    match kind {
        "vm_name" => value["name"] = json!(text),
        "uuid" => value["uuid"] = json!(text),
        "vcpu" => value["vcpus"] = json!(text),
        "size" => value["disks"] = json!([{"size": text}]),
        "volume_name" => value["disks"] = json!([{"size": "1M", "name": text}]),
        "pool_name" => value["disks"] = json!([{"size": "1M", "pool": text}]),
        "disk_path" => value["iso"] = json!(text),
        "description" => value["description"] = json!(text),
        "label" => value["tags"] = json!([text]),
        "mac" => value["nics"] = json!([{"user": true, "mac": text}]),
        "network_name" => value["nics"] = json!([{"network": text}]),
        _ => return None,
    }
    Some(value)
}

const KINDS: [&str; 11] = [
    "vm_name",
    "uuid",
    "vcpu",
    "size",
    "volume_name",
    "pool_name",
    "disk_path",
    "description",
    "label",
    "mac",
    "network_name",
];

#[tokio::test(start_paused = true)]
async fn what_the_corpus_refuses_is_refused_by_name_and_writes_nothing() {
    let bench = Bench::new();
    let before = bench.picture().await;
    let mut refused = 0;
    for kind in KINDS {
        for row in rows(kind).iter().filter(|row| row.verdict == Verdict::Reject) {
            let Some(value) = specification(kind, row) else { continue };
            let result = match read(&value) {
                Ok(spec) => plan_create(&bench.host, &spec, &bench.cx()).await.map(drop),
                Err(e) => Err(e),
            };
            let Err(e) = result else { panic!("{kind}, line {}: {value}", row.line) };
            assert!(e.resource().is_some(), "{kind}, line {}: {}", row.line, said(&e));
            refused += 1;
        }
    }
    assert!(refused > 120, "only {refused} inputs were tried");
    assert_eq!(bench.picture().await, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_corpus_adopts_is_refused_for_something_new() {
    for kind in ["vm_name", "volume_name"] {
        for row in rows(kind).iter().filter(|row| row.verdict == Verdict::Adopt) {
            let Some(value) = specification(kind, row) else { continue };
            assert!(read(&value).is_err(), "{kind}, line {}: {value}", row.line);
        }
    }
}

/// Created, found, renamed there and back, exported, deleted, imported, and deleted with its volume.
async fn whole_life(bench: &Bench, row: &Row) -> Result<()> {
    let name = row.text().unwrap();
    let mut value = specification("vm_name", row).unwrap();
    value["disks"] = json!([{"size": "1M"}]);
    bench.run(plan_create(&bench.host, &read(&value)?, &bench.cx()).await?.plan).await?;
    let vm = resolve(&bench.host, name).await?;
    assert_eq!(vm.name, *name);

    rename(&bench.host, &vm.id, &VmName::parse("between")?).await?;
    rename(&bench.host, &vm.id, &vm.name).await?;

    let exported = kvm_vm::export(&bench.host, &vm.id, kvm_core::Secrets::Hide).await?;
    bench.run(plan_delete(&bench.host, &vm, &DeleteOptions::default()).await?).await?;
    let import = plan_import(&bench.host, &exported, &ImportOptions::default(), &bench.cx()).await?;
    bench.run(import.plan).await?;

    let vm = resolve(&bench.host, name).await?;
    bench.run(plan_delete(&bench.host, &vm, &ALL).await?).await
}

#[tokio::test(start_paused = true)]
async fn names_that_are_taken_live_from_create_to_delete() {
    let mut lived = 0;
    for row in rows("vm_name").iter().filter(|row| row.verdict == Verdict::Accept) {
        let bench = Bench::empty();
        let pool = "<pool type='dir'><name>default</name><target><path>/images</path></target></pool>";
        bench.host.storage.create_pool(&StoragePool::from_xml(pool).unwrap(), Autostart::On).await.unwrap();
        let before = bench.picture().await;
        let life = whole_life(&bench, row).await;
        life.unwrap_or_else(|e| panic!("line {} ({}): {}", row.line, row.why, said(&e)));
        assert_eq!(bench.picture().await, before, "line {}", row.line);
        lived += 1;
    }
    assert!(lived > 50, "only {lived} names were tried");
}

/// Found, started, shown safely, and deleted.
async fn second_half_of_life(bench: &Bench, name: &str) -> Result<()> {
    let vm = resolve(&bench.host, name).await?;
    bench.host.hypervisor.power(&vm.id, PowerAction::Start).await?;
    let vm = resolve(&bench.host, name).await?;
    let plan = plan_delete(&bench.host, &vm, &ALL).await?;
    let shown = plan.to_string();
    assert!(!shown.contains(['\u{202e}', '\u{200b}', '\t', '\u{9b}']), "{shown:?}");
    bench.run(plan).await
}

fn nameless() -> Domain {
    let xml = "<domain type='kvm'><uuid>8fbf2b8e-3b3c-4b1e-9a51-000000000001</uuid><memory>1048576</memory>\
               <vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os></domain>";
    Domain::from_xml(xml).unwrap()
}

#[tokio::test(start_paused = true)]
async fn names_that_exist_already_are_found_started_and_deleted() {
    let mut adopted = 0;
    for row in rows("vm_name").iter().filter(|row| row.verdict == Verdict::Adopt) {
        let Some(name) = row.text() else { continue };
        let bench = Bench::empty();
        let before = bench.picture().await;
        bench.mock.plant(&Domain { name: Some(name.to_owned()), ..nameless() }.to_xml()).unwrap();
        let life = second_half_of_life(&bench, name).await;
        life.unwrap_or_else(|e| panic!("line {} ({}): {}", row.line, row.why, said(&e)));
        assert_eq!(bench.picture().await, before, "line {}", row.line);
        adopted += 1;
    }
    assert!(adopted > 20, "only {adopted} names were tried");
}

#[tokio::test(start_paused = true)]
async fn a_document_with_a_hostile_name_is_not_imported() {
    for row in rows("vm_name").iter().filter(|row| row.verdict != Verdict::Accept) {
        let Some(name) = row.text() else { continue };
        let bench = Bench::empty();
        let xml = Domain { name: Some(name.to_owned()), ..nameless() }.to_xml();
        for trust in [Trust::Checked, Trust::Full] {
            let options = ImportOptions { trust, ..ImportOptions::default() };
            let e = plan_import(&bench.host, &xml, &options, &bench.cx()).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "line {}: {e:?}", row.line);
            assert!(matches!(e.resource(), Some(Resource::Field(_))), "line {}: {e:?}", row.line);
        }
    }
}

/// What libvirt starts, and what it does not: the agent's socket has room for 53 bytes of a name, the monitor's for 60.
#[tokio::test(start_paused = true)]
async fn a_name_too_long_for_a_socket_costs_the_agent_or_is_refused() {
    const AGENT: &str = "org.qemu.guest_agent.0";
    for (name, has_agent) in [("数".repeat(17), true), ("数".repeat(18), false), ("数".repeat(66), false)] {
        let bench = Bench::empty();
        let spec = CreateSpec::new(VmName::parse(&name).unwrap());
        let created = plan_create(&bench.host, &spec, &bench.cx()).await.unwrap();
        let tells = created.plan.lines.iter().any(|line| line.action == "leave out" && line.name == AGENT);
        assert_eq!((created.document.to_xml().contains(AGENT), tells), (has_agent, !has_agent), "{name}");
        let plain = plan_create(&bench.host, &CreateSpec::new(VmName::parse("a").unwrap()), &bench.cx()).await.unwrap();
        let options = ImportOptions { name: Some(spec.name), ..ImportOptions::default() };
        let imported = plan_import(&bench.host, &plain.document.to_xml(), &options, &bench.cx()).await.unwrap();
        let tells = imported.plan.lines.iter().any(|line| line.action == "leave out" && line.name == AGENT);
        assert_eq!((imported.document.to_xml().contains(AGENT), tells), (has_agent, !has_agent), "{name}");
    }
    let bench = Bench::empty();
    let long = VmName::parse(&"🐧".repeat(16)).unwrap();
    let created = plan_create(&bench.host, &CreateSpec::new(long.clone()), &bench.cx()).await.map(drop);
    let options = ImportOptions { name: Some(long), trust: Trust::Full, ..ImportOptions::default() };
    let imported = plan_import(&bench.host, &nameless().to_xml(), &options, &bench.cx()).await.map(drop);
    for e in [created.unwrap_err(), imported.unwrap_err()] {
        assert_eq!((e.kind(), e.resource()), (ErrorKind::InvalidInput, Some(&Resource::Field("name".into()))), "{e:?}");
    }

    bench
        .run(plan_create(&bench.host, &CreateSpec::new(VmName::parse("a").unwrap()), &bench.cx()).await.unwrap().plan)
        .await
        .unwrap();
    let vm = bench.vm("a").await;
    rename(&bench.host, &vm.id, &VmName::parse(&"数".repeat(17)).unwrap()).await.unwrap();
    for name in ["数".repeat(18), "🐧".repeat(16)] {
        let e = rename(&bench.host, &vm.id, &VmName::parse(&name).unwrap()).await.unwrap_err();
        assert_eq!((e.kind(), e.resource()), (ErrorKind::InvalidInput, Some(&Resource::Field("name".into()))), "{e:?}");
    }
}
