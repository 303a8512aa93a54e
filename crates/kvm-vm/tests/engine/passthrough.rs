//! Devices of a host in machines: what is refused and why, and what a machine gets.

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{Autostart, Error, ErrorKind, Host, Impact, Result, View};
use kvm_vm::{
    AttachPlan, CreateSpec, DeviceAttach, DeviceDetach, NetworkMode, NetworkSpec, host_devices, plan_create,
    plan_device_attach, plan_device_detach, plan_network_create,
};

use crate::host_device::demo;
use crate::support::{Bench, catalogue, said};

async fn attach(bench: &Bench, vm: &str, device: &str, impact: Option<Impact>) -> Result<AttachPlan> {
    let wanted = DeviceAttach { device: device.parse()?, impact };
    plan_device_attach(&bench.host, &bench.vm(vm).await, &wanted, &bench.cx()).await
}

/// Attaches and carries it out.
async fn give(bench: &Bench, vm: &str, device: &str) {
    let plan = attach(bench, vm, device, None).await.unwrap().plan;
    bench.run(plan).await.unwrap();
}

async fn refusal(bench: &Bench, vm: &str, device: &str) -> Error {
    attach(bench, vm, device, None).await.unwrap_err()
}

/// The devices of the host that a machine has, as their addresses.
async fn given(host: &Host, vm: &str) -> Vec<String> {
    let devices = host_devices(host).await.unwrap();
    let has = |device: &&kvm_vm::HostDevice| device.used_by.iter().any(|user| user.vm == *vm);
    devices.iter().filter(has).filter_map(|device| Some(device.address.as_ref()?.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_not_viable_is_refused_with_its_other_members() {
    let e = refusal(&demo(), "web-03", "pci=01:00.0").await;
    assert_eq!(
        said(&e),
        "invalid_state [device pci_0000_01_00_0]: device 0000:01:00.0 cannot be given alone: IOMMU group 12 is not viable | \
         0000:01:00.1  Audio device  GA102 High Definition Audio Controller  driver snd_hda_intel\n\
         give the VM the whole group (pci=0000:01:00.0,group), or let go of the others: vfio-pci as their driver"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_as_one_and_is_viable_when_others_let_go() {
    let bench = demo();
    let plan = attach(&bench, "web-03", "pci=01:00.0,group", None).await.unwrap().plan;
    assert!(plan.to_string().contains("hostdev:0000:01:00.1"), "{plan}");
    bench.run(plan).await.unwrap();
    assert_eq!(given(&bench.host, "web-03").await, ["0000:01:00.0", "0000:01:00.1"]);
    bench.assert_nothing_open().await;

    // What a machine has already, and what waits for guests, does not stand against the rest.
    let wanted = DeviceDetach::new("hostdev:0000:01:00.0".parse().unwrap());
    let detach = plan_device_detach(&bench.host, &bench.vm("web-03").await, &wanted).await.unwrap();
    bench.run(detach.plan).await.unwrap();
    assert_eq!(given(&bench.host, "web-03").await, ["0000:01:00.1"]);
    give(&bench, "web-03", "pci=01:00.0").await;
    assert_eq!(refusal(&bench, "web-03", "pci=01:00.0").await.kind(), ErrorKind::AlreadyExists);

    let bench = demo();
    bench
        .mock
        .plant_device(
            "<device><name>pci_0000_01_00_1</name><parent>computer</parent><driver><name>vfio-pci</name></driver>\
             <capability type='pci'><domain>0</domain><bus>1</bus><slot>0</slot><function>1</function>\
             <iommuGroup number='12'/></capability></device>",
        )
        .unwrap();
    attach(&bench, "web-03", "pci=01:00.0", None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_host_needs_stays_with_it() {
    let bench = demo();
    let needed = |e: &Error| e.message().contains("needed by the host itself");
    // Nothing is known of mounts and routes: the only disks stay.
    let e = refusal(&bench, "web-03", "pci=02:00.0").await;
    assert_eq!((e.kind(), needed(&e)), (ErrorKind::InvalidState, true), "{}", said(&e));

    let table = |path: &str, text: &str| {
        let (path, text) = (std::path::PathBuf::from(path), text.as_bytes().to_vec());
        let transport = bench.host.transport.clone();
        async move { transport.write_file(&path, &text, 0o444).await.unwrap() }
    };
    table("/proc/mounts", "/dev/nvme0n1p2 / ext4 rw 0 0\n").await;
    table("/proc/net/route", "Iface\tDestination\nenp129s0f0\t00000000\n").await;
    let root = refusal(&bench, "web-03", "pci=02:00.0").await;
    assert_eq!(root.detail(), Some("/dev/nvme0n1p2 is mounted at /"));
    let route = refusal(&bench, "web-03", "pci=81:00.0").await;
    assert_eq!((needed(&route), route.detail()), (true, Some("the host's default route leaves by it")));
    assert!(!needed(&refusal(&bench, "web-03", "pci=05:00.0").await));
}

#[tokio::test(start_paused = true)]
async fn what_another_machine_has_is_refused_and_names_it() {
    let bench = demo();
    give(&bench, "web-01", "usb=046d:c52b").await;
    for same in ["usb=046d:c52b", "usb=1-4"] {
        let e = refusal(&bench, "web-03", same).await;
        assert_eq!(e.kind(), ErrorKind::InvalidState);
        assert!(e.message().contains("belongs to VM web-01, which runs with it"), "{e}");
    }
    give(&bench, "web-03", "pci=81:10.0").await;
    let e = refusal(&bench, "web-01", "pci=81:10.0").await;
    assert!(e.message().contains("belongs to VM web-03, which gets it when it starts"), "{e}");
    let e = refusal(&bench, "web-01", "pci=81:00.0").await;
    assert!(e.message().contains("its virtual functions are in use"), "{e}");
    assert_eq!(e.detail(), Some("0000:81:10.0 is used by web-03"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_given_at_all_says_why() {
    let bench = demo();
    bench
        .mock
        .plant_device(
            "<device><name>pci_0000_0a_00_0</name><parent>computer</parent><capability type='pci'><domain>0</domain>\
             <bus>10</bus><slot>0</slot><function>0</function></capability></device>",
        )
        .unwrap();
    for (device, kind, says) in [
        ("pci=00:01.0", ErrorKind::InvalidState, "is a bridge"),
        ("pci=0a:00.0", ErrorKind::InvalidState, "the IOMMU is off"),
        ("pci=09:00.0", ErrorKind::NotFound, "no pci device 0000:09:00.0"),
        ("usb=1-9", ErrorKind::NotFound, "no usb device 1-9"),
        ("usb=1209:0001", ErrorKind::NotFound, "no usb device 1209:0001"),
        ("mdev=83b8f4f2-509f-482f-8c1e-e6bfe0fa1001", ErrorKind::NotFound, "no mdev device"),
    ] {
        let e = refusal(&bench, "web-03", device).await;
        assert!(e.kind() == kind && e.message().contains(says), "{device}: {}", said(&e));
    }
    let e = refusal(&bench, "web-01", "pci=01:00.0,group").await;
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{}", said(&e));
    attach(&bench, "web-01", "pci=01:00.0,group", Some(Impact::Config)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_machine_is_made_with_devices_of_its_host() {
    let bench = demo();
    let spec = r#"{"name": "games", "disks": [], "devices": [{"pci": "0000:01:00.0", "group": true}, {"usb": "1-6"}]}"#;
    let spec = CreateSpec::read(&mut serde_json::Deserializer::from_str(spec)).unwrap();
    let create = plan_create(&bench.host, &spec, &bench.cx()).await.unwrap();
    bench.run(create.plan).await.unwrap();
    assert_eq!(given(&bench.host, "games").await, ["0000:01:00.0", "0000:01:00.1", "1-6"]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_made_of_a_physical_function_alone() {
    let bench = demo();
    let pool = |uplink: &str| {
        let spec = NetworkSpec {
            mode: NetworkMode::Sriov,
            uplink: Some(uplink.parse().unwrap()),
            ..NetworkSpec::new("functions".parse().unwrap())
        };
        spec.document().unwrap()
    };
    plan_network_create(&bench.host, &pool("enp129s0f0"), Autostart::On, &bench.cx()).await.unwrap();
    let e = plan_network_create(&bench.host, &pool("eno1"), Autostart::On, &bench.cx()).await.unwrap_err();
    assert_eq!(
        said(&e),
        "invalid_input [field uplink]: interface eno1 is no physical function of SR-IOV | the host has enp129s0f0"
    );
}

/// A whole group for a machine that is off.
struct Group;

#[async_trait]
impl Scenario for Group {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = demo();
        let plan = attach(&bench, "web-03", "pci=01:00.0,group", None).await?.plan;
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let vm = kvm_vm::resolve(host, "web-03").await?;
        let document = host.hypervisor.definition(&vm.id, View::CONFIG).await?;
        Ok(kvm_xml::Document::to_xml(&document))
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_given_whole_or_not_at_all_whatever_fails() {
    assert_eq!(check(&Group).await.unwrap().steps, 2);
}
