//! Devices of a host as a real libvirt tells of them. The machine that the lab runs on has no IOMMU, so none is given away here.

use std::collections::BTreeSet;

use kvm_lab::on_a_host;
use serde_json::Value;

/// The exit code for what is not there.
const NOT_FOUND: i32 = 3;

#[test]
fn the_list_is_that_of_libvirt() {
    on_a_host(async |host| {
        let kvmctl = host.kvmctl();
        let listed =
            kvmctl.ok(&["host", "devices", "--type", "pci,usb,net,storage,scsi,drm,mdev,other", "-o", "json"]).await;
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let names: BTreeSet<_> = listed.iter().filter_map(|device| device["name"].as_str()).collect();
        let told = host.virsh(&["nodedev-list"]).await;
        // Machines of other tests come and go, and their network devices with them.
        let lasting = told.split_whitespace().filter(|name| !name.starts_with("net_"));
        let missing: Vec<_> = lasting.filter(|name| !names.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?} of {names:?}");

        let pci: Vec<_> = listed.iter().filter(|device| device["type"] == "pci").collect();
        let addresses: BTreeSet<_> = pci.iter().filter_map(|device| device["address"].as_str()).collect();
        let exist = host.exec(&["ls", "/sys/bus/pci/devices"]).await;
        assert_eq!(addresses, exist.stdout.split_whitespace().collect(), "addresses of PCI devices");
        assert!(pci.iter().all(|device| device["class"]["code"].is_string()), "{pci:?}");

        // The doctor and the list agree on the IOMMU.
        let groups = pci.iter().filter(|device| !device["iommu_group"].is_null()).count();
        let findings: Vec<Value> = serde_json::from_str(&kvmctl.run(&["doctor", "-o", "json"]).await.stdout).unwrap();
        let iommu = findings.iter().find(|finding| finding["check"] == "iommu").unwrap();
        assert_eq!(iommu["status"] == "ok", groups > 0, "{iommu}");
    });
}

#[test]
fn what_the_host_does_not_have_is_refused_before_anything_changes() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("passthrough"));
        kvmctl.ok(&["vm", "create", &vm, "--memory", "128M", "--network", "user", "--disk", "16M"]).await;
        let defined = host.virsh(&["dumpxml", "--inactive", &vm]).await;
        let mediated = "mdev=83b8f4f2-509f-482f-8c1e-e6bfe0fa1001";
        for absent in ["pci=ff:1f.7", "pci=ff:1f.7,group", "usb=1209:0001", "usb=999-999", mediated] {
            let refused = kvmctl.run(&["device", "attach", &vm, absent]).await;
            assert_eq!(refused.code, Some(NOT_FOUND), "{absent}: {}", refused.stderr);
        }
        assert_eq!(host.virsh(&["dumpxml", "--inactive", &vm]).await, defined);
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}
