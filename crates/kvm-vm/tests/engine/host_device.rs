//! Devices of a host: groups, functions, users, and what the doctor says of the IOMMU.

use kvm_core::{HostDevices as _, MockWorld, Output, Target};
use kvm_mock::{Mock, Script};
use kvm_vm::doctor::{Check, Finding, Patient, Status, diagnose};
use kvm_vm::{HostDevice, HostDeviceKind, host_devices};

use crate::support::Bench;

/// The host of `mock:///demo`.
pub(crate) fn demo() -> Bench {
    Bench::of(|clock| Mock::open(&MockWorld::Demo, None, clock))
}

fn at<'a>(devices: &'a [HostDevice], address: &str) -> &'a HostDevice {
    let is = |device: &&HostDevice| device.address.as_ref().is_some_and(|there| there.to_string() == address);
    devices.iter().find(is).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_group_names_its_other_members_with_their_drivers() {
    let devices = host_devices(&demo().host).await.unwrap();
    let group = at(&devices, "0000:01:00.0").iommu_group.as_ref().unwrap();
    let others: Vec<_> =
        group.others.iter().map(|other| (other.address.to_string(), other.driver.as_deref())).collect();
    assert_eq!((group.number, others), (12, vec![("0000:01:00.1".to_owned(), Some("snd_hda_intel"))]));
    assert_eq!(at(&devices, "0000:02:00.0").iommu_group.as_ref().unwrap().others, []);
}

#[tokio::test(start_paused = true)]
async fn physical_and_virtual_functions_know_each_other() {
    let devices = host_devices(&demo().host).await.unwrap();
    let physical = at(&devices, "0000:81:00.0").virtual_functions.as_ref().unwrap();
    let functions: Vec<_> = physical.addresses.iter().map(ToString::to_string).collect();
    assert_eq!((physical.max, functions), (Some(63), vec!["0000:81:10.0".into(), "0000:81:10.2".into()]));
    assert_eq!(at(&devices, "0000:81:10.2").physical_function.unwrap().to_string(), "0000:81:00.0");
    assert_eq!(at(&devices, "enp129s0f0").parent.as_deref(), Some("pci_0000_81_00_0"));
}

#[tokio::test(start_paused = true)]
async fn lists_are_ordered_by_kind_and_address() {
    let devices = host_devices(&demo().host).await.unwrap();
    assert!(devices.is_sorted_by_key(|device| (device.kind, device.address.clone())));
    assert_eq!(devices.last().unwrap().kind, HostDeviceKind::Other);
    let usb: Vec<_> = devices.iter().filter(|device| device.kind == HostDeviceKind::Usb).collect();
    assert_eq!(usb.len(), 2);
    let json = serde_json::to_value(usb[0]).unwrap();
    assert_eq!((&json["address"], &json["product"]["id"]), (&"1-4".into(), &"c52b".into()));
    let class = &serde_json::to_value(at(&devices, "0000:01:00.0")).unwrap()["class"];
    assert_eq!((&class["code"], &class["name"]), (&"030000".into(), &"VGA controller".into()));
}

#[tokio::test(start_paused = true)]
async fn users_are_found_in_the_documents_of_all_machines() {
    let bench = demo();
    bench
        .mock
        .plant(
            "<domain type='kvm'><name>games</name><uuid>8fbf2b8e-3b3c-4b1e-9a51-0000000000aa</uuid>\
             <memory unit='MiB'>256</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>\
             <hostdev mode='subsystem' type='pci' managed='yes'><source>\
               <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source></hostdev>\
             <hostdev mode='subsystem' type='usb' managed='yes'><source>\
               <vendor id='0x046d'/><product id='0xc52b'/></source></hostdev>\
             </devices></domain>",
        )
        .unwrap();
    let devices = host_devices(&bench.host).await.unwrap();
    let used: Vec<_> = devices.iter().filter(|device| !device.used_by.is_empty()).collect();
    assert_eq!(used.len(), 2);
    for device in [at(&devices, "0000:01:00.0"), at(&devices, "1-4")] {
        let users: Vec<_> = device.used_by.iter().map(|user| (user.vm.as_str(), user.running)).collect();
        assert_eq!(users, [("games", false)]);
    }
}

async fn iommu(bench: &Bench, target: &str) -> Finding {
    let target = Target::parse(target).unwrap();
    let patient = Patient { target: &target, host: Ok(&bench.host), transport: Some(&bench.mock), vm: None };
    let findings = diagnose(&patient, &*bench.clock).await;
    findings.into_iter().find(|finding| finding.check == Check::Iommu).unwrap()
}

fn answers(bench: &Bench, argv: &[&str], status: i32) {
    let output = Output { status: Some(status), stdout: Vec::new(), stderr: Vec::new() };
    bench.mock.add_program(Script { output, ..Script::printing(argv, "") });
}

#[tokio::test(start_paused = true)]
async fn the_doctor_counts_groups_or_names_the_parameter() {
    let finding = iommu(&demo(), "mock:///demo").await;
    assert_eq!((finding.status, finding.what.contains("8 groups")), (Status::Ok, true), "{finding:?}");

    let bench = Bench::empty();
    assert_eq!(iommu(&bench, "mock:///empty").await.status, Status::Skipped);
    answers(&bench, &["test", "-e", "/sys/kernel/iommu_groups/0"], 1);
    answers(&bench, &["test", "-e", "/sys/firmware/acpi/tables/DMAR"], 0);
    answers(&bench, &["test", "-e", "/sys/firmware/acpi/tables/IVRS"], 1);
    let finding = iommu(&bench, "qemu+ssh://h/system").await;
    assert_eq!(finding.status, Status::Warn);
    assert!(
        finding.fix.unwrap().starts_with("add intel_iommu=on iommu=pt to the kernel's parameters (GRUB_CMDLINE_LINUX")
    );
}

#[tokio::test(start_paused = true)]
async fn a_mediated_device_is_listed_with_its_type() {
    let bench = demo();
    let parent = kvm_core::HostDeviceName::adopt("pci_0000_41_00_0").unwrap();
    let id = kvm_core::MdevId::parse("83b8f4f2-509f-482f-8c1e-e6bfe0fa1001").unwrap();
    let spec = kvm_core::MdevSpec::new(parent, "nvidia-222", id).unwrap();
    bench.mock.create(&spec).await.unwrap();
    let devices = host_devices(&bench.host).await.unwrap();
    let made = at(&devices, &id.to_string());
    assert_eq!((made.kind, made.mediated_type.as_deref()), (HostDeviceKind::Mdev, Some("nvidia-222")));
    assert_eq!(at(&devices, "0000:41:00.0").mediated_types[0].available, Some(15));
}
