//! Volumes of an iSCSI target, which have no path on the host: guests write to them over the network.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kvm_lab::{LabHost, TARGET, eventually, on_a_host};
use serde_json::Value;

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// The host's name for the target.
const INITIATOR: &str = "iqn.2026-11.lab:host";
const MIB: u64 = 1 << 20;

async fn in_guest(host: &LabHost, vm: &str, script: &str) -> String {
    let answer = async || host.exec_in_guest(vm, &["sh", "-c", script]).await;
    eventually(BOOT, "an answer of the guest's agent", answer).await.0
}

fn holds(unit: &Path, mark: &str) -> bool {
    fs::read(unit).unwrap().windows(mark.len()).any(|part| part == mark.as_bytes())
}

#[test]
fn a_guest_writes_to_a_volume_over_the_network() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm, pool) = (host.kvmctl(), host.unique("iscsi"), host.unique("san"));
        let units = host.serve_target(&[64 * MIB, 32 * MIB]).await;
        let at = ["--source-host", host.address(), "--initiator", INITIATOR];
        let found = kvmctl.json(&[&["pool", "discover", "iscsi-direct"], &at[..]].concat()).await;
        assert_eq!(found[0]["devices"][0], TARGET, "{found}");
        let kind = ["--type", "iscsi-direct", "--source-device", TARGET];
        kvmctl.ok(&[&["pool", "create", &pool], &kind[..], &at[..]].concat()).await;

        let listed = kvmctl.json(&["vol", "list", &pool]).await;
        let unit = listed.as_array().unwrap().iter().find(|volume| volume["name"] == "unit:0:0:1").unwrap();
        let address = format!("ip-{}:3260-iscsi-{TARGET}-lun-1", host.address());
        assert_eq!((&unit["path"], &unit["address"]), (&Value::Null, &Value::from(address)), "{unit}");
        // libvirt counts up to the last block, without it.
        assert_eq!(unit["capacity_bytes"], 64 * MIB - 512);
        let volume = format!("{pool}/unit:0:0:1");
        assert_eq!(kvmctl.json(&["vol", "show", &volume]).await["address"], unit["address"]);

        // One disk from the beginning, and one that is plugged in while the guest runs.
        let (boot, second) = (host.place_boot_disk(&vm).await, format!("volume={pool}/unit:0:0:2"));
        let disks = ["--disk", &format!("volume={boot}"), "--disk", &second];
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "user", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm], &disks[..], &machine[..]].concat()).await;
        in_guest(host, &vm, "[ $(cat /sys/block/vdb/size) = 65536 ]").await;
        kvmctl.ok(&["disk", "attach", &vm, &format!("volume={volume}")]).await;
        let disks = kvmctl.json(&["disk", "list", &vm]).await;
        let plugged = disks.as_array().unwrap().iter().find(|disk| disk["target"] == "vdc").unwrap();
        assert_eq!((&plugged["source"], &plugged["documents"]), (&Value::from(&*volume), &Value::from("both")));
        let appears = async || in_guest(host, &vm, "ls /sys/block").await.contains("vdc").then_some(());
        eventually(BOOT, "vdc in the guest", appears).await;
        for (disk, unit, mark) in [("vdb", &units[1], "the second unit"), ("vdc", &units[0], "the first unit")] {
            in_guest(host, &vm, &format!("echo '{mark}' | dd of=/dev/{disk} bs=512 seek=9 conv=sync,fsync 2>&1")).await;
            assert!(holds(unit, mark), "what the guest wrote to {disk} is on the target");
        }

        // While it is in use, nothing overwrites it; no volume of the target is an orphan but the controller's own.
        assert_eq!(kvmctl.run(&["vol", "wipe", &volume, "--yes"]).await.code, Some(5));
        let orphans = kvmctl.json(&["vol", "list", &pool, "--orphans"]).await;
        let orphans: Vec<_> = orphans.as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
        assert_eq!(orphans, ["unit:0:0:0"]);
        let graph = kvmctl.ok(&["disk", "graph"]).await;
        assert!(graph.contains(&volume), "{graph}");

        // After a new start the guest reads what it wrote.
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        kvmctl.ok(&["vm", "start", &vm]).await;
        let read = in_guest(host, &vm, "dd if=/dev/vdc bs=512 skip=9 count=1 2>/dev/null").await;
        assert!(read.contains("the first unit"), "{read}");
        kvmctl.ok(&["disk", "detach", &vm, "vdc", "--delete-volume", "--yes"]).await;

        // The machine goes, what is on the target stays until somebody overwrites it.
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        assert!(holds(&units[0], "the first unit") && holds(&units[1], "the second unit"));
        assert_eq!(kvmctl.run(&["vol", "delete", &volume, "--yes"]).await.code, Some(7));
        assert_eq!(kvmctl.run(&["vol", "download", &volume, "/nowhere/disk.raw"]).await.code, Some(7));
        assert_eq!(kvmctl.run(&["pool", "delete", &pool, "--destroy-data", "--yes"]).await.code, Some(7));
        kvmctl.ok(&["vol", "wipe", &volume, "--yes"]).await;
        assert!(!holds(&units[0], "the first unit"), "wiped");
        kvmctl.ok(&["pool", "stop", &pool]).await;
        kvmctl.ok(&["pool", "delete", &pool, "--yes"]).await;
        host.assert_as(&before).await;
    });
}
