//! Devices that come and go in a running guest, seen from the host and from inside.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_a_host};
use serde_json::Value;

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// What a guest does at once, with patience for a busy machine.
const SOON: Duration = Duration::from_secs(60);

async fn in_guest(host: &LabHost, vm: &str, command: &[&str]) -> String {
    eventually(BOOT, "an answer of the guest's agent", async || host.exec_in_guest(vm, command).await).await.0
}

/// Waits until a file in the guest says this.
async fn guest_says(host: &LabHost, vm: &str, file: &str, wanted: &str) {
    let says = async || (in_guest(host, vm, &["cat", file]).await.trim() == wanted).then_some(());
    eventually(SOON, &format!("{wanted} in {file}"), says).await;
}

/// Waits until a directory of the guest has these entries.
async fn guest_lists(host: &LabHost, vm: &str, directory: &str, wanted: &[&str]) {
    let lists = async || {
        let listed = in_guest(host, vm, &["ls", directory]).await;
        (listed.split_whitespace().collect::<Vec<_>>() == wanted).then_some(())
    };
    eventually(SOON, &format!("{wanted:?} in {directory}"), lists).await;
}

/// The short names of a VM's devices that are in both its documents.
async fn both(kvmctl: &Kvmctl, noun: &str, key: &str, vm: &str) -> Vec<String> {
    let listed = kvmctl.json(&[noun, "list", vm]).await;
    let devices = listed.as_array().cloned().unwrap_or_default();
    let name = |device: &Value| device[key].as_str().map(ToOwned::to_owned);
    devices.iter().filter(|device| device["documents"] == "both").filter_map(name).collect()
}

#[test]
fn devices_come_and_go_in_a_running_guest() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("devices"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let iso = format!("default/{vm}-medium.img");
        kvmctl.ok(&["vol", "create", &iso, "1M", "--format", "raw"]).await;
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--iso", &iso], &machine[..]].concat()).await;
        let nothing = kvmctl.json(&["vm", "pending", &vm]).await;
        assert_eq!(nothing["changes"], Value::Array(vec![]), "a machine as it was started: {nothing}");

        // A second disk, which the guest sees, and which grows while the guest looks.
        kvmctl.ok(&["disk", "attach", &vm, "64M"]).await;
        assert_eq!(both(&kvmctl, "disk", "target", &vm).await, ["vda", "vdb", "sda"]);
        let disks = async || in_guest(host, &vm, &["ls", "/sys/block"]).await.contains("vdb").then_some(());
        eventually(SOON, "vdb in the guest", disks).await;
        guest_says(host, &vm, "/sys/block/vdb/size", "131072").await;
        kvmctl.ok(&["disk", "resize", &vm, "vdb", "96M"]).await;
        guest_says(host, &vm, "/sys/block/vdb/size", "196608").await;

        // A second network device; its cable is pulled and plugged in again.
        kvmctl.ok(&["nic", "attach", &vm, "default,mac=52:54:00:de:71:ce"]).await;
        assert_eq!(both(&kvmctl, "nic", "mac", &vm).await.len(), 2);
        guest_lists(host, &vm, "/sys/class/net", &["eth0", "eth1", "lo"]).await;
        kvmctl.ok(&["nic", "link", &vm, "52:54:00:de:71:ce", "down"]).await;
        let links = host.virsh(&["domif-getlink", &vm, "52:54:00:de:71:ce"]).await;
        assert!(links.contains("down"), "{links}");
        kvmctl.ok(&["nic", "link", &vm, "52:54:00:de:71:ce", "up"]).await;

        // Both go again, when the guest has given them up.
        kvmctl.ok(&["nic", "detach", &vm, "52:54:00:de:71:ce"]).await;
        guest_lists(host, &vm, "/sys/class/net", &["eth0", "lo"]).await;
        kvmctl.ok(&["disk", "detach", &vm, "vdb", "--delete-volume", "--yes"]).await;
        assert_eq!(both(&kvmctl, "disk", "target", &vm).await, ["vda", "sda"]);
        assert_eq!(kvmctl.run(&["vol", "show", &format!("default/{vm}-1.qcow2")]).await.code, Some(3));

        // The medium goes and comes; libvirt says the same.
        kvmctl.ok(&["disk", "eject", &vm]).await;
        assert!(!host.virsh(&["domblklist", &vm]).await.contains("medium.img"));
        kvmctl.ok(&["disk", "insert", &vm, &iso]).await;
        assert!(host.virsh(&["domblklist", &vm]).await.contains("medium.img"));

        // What is configured alone waits.
        kvmctl.ok(&["vm", "set", &vm, "--memory", "128M", "--only", "config"]).await;
        let waits = kvmctl.json(&["vm", "pending", &vm]).await;
        assert_eq!(waits["changes"][0]["path"], "current_memory.value", "{waits}");

        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        kvmctl.ok(&["vol", "delete", &iso, "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_virtual_cpu_is_plugged_into_a_running_guest() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (host.kvmctl(), host.unique("vcpus"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "2", "--network", "user"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;
        kvmctl.ok(&["vm", "set", &vm, "--vcpus", "1"]).await;
        kvmctl.ok(&["vm", "start", &vm]).await;
        guest_says(host, &vm, "/sys/devices/system/cpu/present", "0").await;
        kvmctl.ok(&["vm", "set", &vm, "--vcpus", "2", "--memory", "200M"]).await;
        guest_says(host, &vm, "/sys/devices/system/cpu/present", "0-1").await;
        assert_eq!(kvmctl.run(&["vm", "set", &vm, "--vcpus", "3"]).await.code, Some(2));
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
    });
}
