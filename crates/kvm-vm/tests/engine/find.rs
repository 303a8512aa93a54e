//! Finding, selecting, and the columns that cost.

use kvm_core::{AddressSource, Bytes, ErrorKind, Selector, Tag, VmFilter};
use kvm_mock::{Fault, Method};
use kvm_vm::{WideColumns, addresses, inventory, resolve, select, wide};

use crate::support::{Bench, said};

#[tokio::test(start_paused = true)]
async fn a_machine_is_found_by_name_and_by_uuid() {
    let bench = Bench::new();
    let by_name = resolve(&bench.host, "db").await.unwrap();
    let by_uuid = resolve(&bench.host, &by_name.id.to_string().to_uppercase()).await.unwrap();
    assert_eq!(by_name, by_uuid);
}

#[tokio::test(start_paused = true)]
async fn a_typing_error_gets_a_suggestion() {
    let bench = Bench::new();
    let e = resolve(&bench.host, "build01").await.unwrap_err();
    assert_eq!(said(&e), "not_found [VM build01]: no VM named build01 | did you mean build-01?");
    let e = resolve(&bench.host, "nothing-like-it").await.unwrap_err();
    assert_eq!((e.kind(), e.detail()), (ErrorKind::NotFound, None));
    let e = resolve(&bench.host, "..").await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_uuid_that_is_another_machines_name_is_refused() {
    let bench = Bench::new();
    let id = bench.vm("db").await.id;
    let xml = format!(
        "<domain type='kvm'><name>{id}</name><uuid>8fbf2b8e-3b3c-4b1e-9a51-000000000001</uuid><memory>1048576</memory>\
         <os><type arch='x86_64'>hvm</type></os><vcpu>1</vcpu></domain>"
    );
    bench.mock.plant(&xml).unwrap();
    let e = resolve(&bench.host, &id.to_string()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput);
    assert!(e.message().contains("the uuid of one VM and the name of another"));
}

#[tokio::test(start_paused = true)]
async fn tags_are_read_only_for_selectors_that_ask_for_them() {
    let bench = Bench::new();
    let names = async |selector: &str| {
        let vms = select(&bench.host, &Selector::parse(selector).unwrap()).await.unwrap();
        vms.into_iter().map(|vm| vm.name.as_str().to_owned()).collect::<Vec<_>>()
    };
    bench.mock.forget_calls();
    assert_eq!(names("state=running").await, ["build-01", "deaf", "fleeting"]);
    assert!(bench.mock.calls().iter().all(|c| c.method != Method::Definition));
    assert_eq!(names("tag=owner").await, ["build-01"]);
    assert_eq!(names("tag!=prod,state=off").await, ["safe"]);
}

#[tokio::test(start_paused = true)]
async fn a_selection_that_cannot_be_complete_is_an_error() {
    let bench = Bench::new();
    bench.mock.fail_next(Method::Definition, ErrorKind::Unavailable);
    let e = select(&bench.host, &Selector::parse("tag=prod").unwrap()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn addresses_come_from_the_first_source_that_knows() {
    let bench = Bench::new();
    let id = bench.vm("build-01").await.id;
    let found = addresses(&bench.host, &id, &*bench.clock).await.unwrap();
    assert_eq!(found[0].address.to_string(), "192.168.122.41");
    assert_eq!(found[0].source, AddressSource::Lease);

    bench.mock.fail_next(Method::Addresses, ErrorKind::Unsupported);
    let found = addresses(&bench.host, &id, &*bench.clock).await.unwrap();
    assert_eq!(found[0].source, AddressSource::Agent);

    bench.mock.inject(Fault::next(Method::Addresses, ErrorKind::Unavailable));
    let e = addresses(&bench.host, &id, &*bench.clock).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable, "the host itself is gone");

    let off = bench.vm("db").await.id;
    assert_eq!(addresses(&bench.host, &off, &*bench.clock).await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn wide_columns_are_known_or_left_out() {
    let bench = Bench::new();
    let vms = bench.host.hypervisor.list(&VmFilter::all()).await.unwrap();
    let all = WideColumns { tags: true, addresses: true, cpu: true };
    let rows = wide(&bench.host, &vms, all, &*bench.clock).await;
    let row = |name: &str| &rows[vms.iter().position(|vm| vm.name == name).unwrap()];
    assert!(row("build-01").tags.as_ref().unwrap().contains(&Tag::parse("ci").unwrap()));
    assert_eq!(row("build-01").addresses.as_ref().unwrap().len(), 1);
    assert!(row("build-01").cpu_percent.is_some());
    assert_eq!((&row("db").addresses, row("db").cpu_percent), (&None, None));

    bench.mock.forget_calls();
    let none = wide(&bench.host, &vms, WideColumns::default(), &*bench.clock).await;
    assert!(none.iter().all(|row| *row == kvm_vm::WideRow::default()));
    assert!(bench.mock.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_host_costs_seconds_and_not_an_error() {
    let bench = Bench::new();
    let vms = bench.host.hypervisor.list(&VmFilter::all()).await.unwrap();
    bench.mock.set_latency(std::time::Duration::from_secs(60));
    let begun = tokio::time::Instant::now();
    let columns = WideColumns { tags: true, addresses: true, cpu: true };
    let rows = wide(&bench.host, &vms, columns, &*bench.clock).await;
    assert!(rows.iter().all(|row| *row == kvm_vm::WideRow::default()), "{rows:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_inventory_is_the_same_as_long_as_nothing_changes() {
    let bench = Bench::new();
    let before = inventory(&bench.host).await.unwrap();
    assert_eq!(before.machines.len(), 5);
    assert_eq!(before.volumes["default/db.qcow2"].capacity, Bytes::from_gib(40));
    assert!(before.volumes.keys().all(|name| !name.starts_with("archive/")));
    assert!(before.diff(&inventory(&bench.host).await.unwrap()).is_empty());
    let db = bench.vm("db").await;
    bench.host.hypervisor.power(&db.id, kvm_core::PowerAction::Start).await.unwrap();
    let after = inventory(&bench.host).await.unwrap();
    assert_eq!(before.diff(&after).len(), 1, "{:?}", before.diff(&after));
}
