//! Copies of machines whose images remember what was written: only that is read, and what is lost is read in full.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_two_hosts};
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// The VM is not in a state for it.
const INVALID_STATE: i32 = 5;

/// A guest with a second qcow2 disk.
async fn guest(kvmctl: &Kvmctl, host: &LabHost) -> String {
    let vm = host.unique("tracked");
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let data = format!("256M,name={vm}-data.qcow2");
    let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
    host.sh_in_guest(&vm, "dd if=/dev/urandom of=/dev/vdb bs=1M count=64 conv=fsync 2>/dev/null").await;
    host.sh_in_guest(&vm, "pat write /dev/vdb 0 16 seed && sync").await;
    vm
}

fn image<'a>(synced: &'a Value, disk: &str) -> &'a Value {
    let images = synced["images"].as_array().unwrap();
    images.iter().find(|image| image["disk"] == disk).unwrap_or_else(|| panic!("no {disk} in {synced}"))
}

fn spared(synced: &Value) -> u64 {
    image(synced, "vdb")["spared_bytes"].as_u64().unwrap()
}

/// What the guest finds in the parts of its disk that the test has written.
const SUMS: &str =
    "echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 0 16; pat sum /dev/vdb 40 1; pat sum /dev/vdb 100 2";

/// The replica has what its source had.
async fn assert_same(one: &LabHost, two: &LabHost, vm: &str) {
    let path = format!("/var/lib/libvirt/images/{vm}-data.qcow2");
    let images = format!("{vm}-data.qcow2");
    let there = two.file("/var/lib/libvirt/images").join(&images);
    let beside = one.file("/var/lib/libvirt/images").join(format!("{images}.replica"));
    std::fs::copy(there, &beside).unwrap();
    let compared = one.exec(&["qemu-img", "compare", "-U", &path, &format!("{path}.replica")]).await;
    std::fs::remove_file(beside).unwrap();
    compared.succeeded();
}

#[test]
fn what_was_written_is_remembered_and_nothing_else_is_read() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one).await;
        let (sync, tracked) = (["sync", &vm, "two"], ["sync", &vm, "two", "--track"]);
        let planned = kvmctl.ok(&[&tracked[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains("remembered"), "{planned}");
        assert_eq!(spared(&kvmctl.json(&tracked).await), 0, "there was nothing to go by");
        let checkpoints = async || {
            let listed = kvmctl.json(&["checkpoint", "list", &vm]).await;
            listed.as_array().unwrap().iter().map(|it| it["name"].to_string()).collect::<Vec<_>>()
        };
        let first = checkpoints().await;
        assert_eq!(first.len(), 1, "{first:?}");

        one.sh_in_guest(&vm, "pat write /dev/vdb 40 1 later && pat write /dev/vdb 100 2 new && sync").await;
        one.sh_in_guest(&vm, "blkdiscard -o $((60 << 20)) -l $((2 << 20)) /dev/vdb || true").await;
        let second = kvmctl.json(&tracked).await;
        let data = image(&second, "vdb");
        assert!(spared(&second) > 48 << 20, "{data}");
        assert!(data["changed_bytes"].as_u64().unwrap() >= 3 << 20, "{data}");
        let then = checkpoints().await;
        assert!(then.len() == 1 && then != first, "{then:?}");
        // A machine that is off still knows what was written since.
        one.sh_in_guest(&vm, "pat write /dev/vdb 41 1 last && sync").await;
        kvmctl.ok(&["vm", "shutdown", &vm, "--timeout", "2m"]).await;
        let third = kvmctl.json(&sync).await;
        assert!(spared(&third) > 48 << 20, "{third}");
        assert_same(one, two, &vm).await;

        // It is put back from a copy, and goes on from there: what its bitmap says is about another past.
        let file = format!("/var/lib/libvirt/images/{vm}-data.qcow2");
        let host = async |script: String| one.exec(&["sh", "-c", &script]).await.succeeded();
        host(format!("cp {file} /root/{vm}.then; qemu-io -f qcow2 -c 'write -P 7 50M 1M' {file}")).await;
        assert!(spared(&kvmctl.json(&sync).await) > 48 << 20);
        host(format!(
            "cat /root/{vm}.then > {file}; rm /root/{vm}.then; qemu-io -f qcow2 -c 'write -P 9 20M 1M' {file}"
        ))
        .await;
        let put_back = kvmctl.json(&sync).await;
        assert!(spared(&put_back) > 48 << 20, "{put_back}");
        assert_same(one, two, &vm).await;

        // QEMU is killed: what it remembered is gone with it.
        kvmctl.ok(&["vm", "start", &vm]).await;
        one.sh_in_guest(&vm, "pat write /dev/vdb 42 1 killed && sync").await;
        let kill = format!("kill -9 \"$(cat /run/libvirt/qemu/{vm}.pid)\"");
        one.exec(&["sh", "-c", &kill]).await.succeeded();
        let is_off = async || (kvmctl.json(&["vm", "show", &vm]).await["state"] == "off").then_some(());
        eventually(Duration::from_secs(30), "libvirt to see that its QEMU is gone", is_off).await;
        let fourth = kvmctl.json(&sync).await;
        assert_eq!(spared(&fourth), 0, "{fourth}");
        assert_same(one, two, &vm).await;

        for place in [format!("one/{vm}"), format!("two/{vm}")] {
            kvmctl.ok(&["vm", "delete", &place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn a_later_backup_reads_only_what_was_written_since_and_has_all_of_it() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one).await;
        let (dir, store) = ("/var/lib/libvirt/backup", "two:/var/lib/libvirt/backup");
        two.exec(&["mkdir", "-p", dir]).await.succeeded();
        let create = ["backup", "create", &vm, store, "--track"];
        let first = kvmctl.json(&create).await;
        assert_eq!(spared(&first), 0, "there was nothing to go by");

        // It writes all the time, behind what is compared.
        let script = "touch /run/writing; (i=0; while [ -e /run/writing ]; do pat write /dev/vdb $((200 + i % 8)) 1 w$i; \
                      i=$((i + 1)); done) > /dev/null 2>&1 &";
        one.sh_in_guest(&vm, script).await;
        one.sh_in_guest(&vm, "pat write /dev/vdb 40 1 later && pat write /dev/vdb 100 2 new && sync").await;
        let sum = one.sh_in_guest(&vm, SUMS).await;
        let second = kvmctl.json(&create).await;
        let data = image(&second, "vdb");
        assert!(spared(&second) > 48 << 20, "{data}");
        let changed = data["changed_bytes"].as_u64().unwrap();
        assert!((3 << 20..32 << 20).contains(&changed), "{data}");
        assert_eq!(kvmctl.json(&["checkpoint", "list", &vm]).await.as_array().map(Vec::len), Some(1));

        // Off, it lies still, and can be compared whole: what was not read was not guessed.
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let third = kvmctl.json(&["backup", "create", &vm, store]).await;
        let stored = format!("{dir}/{}/vdb.qcow2", third["backup"].as_str().unwrap());
        let digest = async |host: &LabHost, file: &str| {
            host.exec(&["sha256sum", file]).await.succeeded().split(' ').next().unwrap_or_default().to_owned()
        };
        let image = format!("/var/lib/libvirt/images/{vm}-data.qcow2");
        assert_eq!(digest(two, &stored).await, digest(one, &image).await);

        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        let (again, point) = (format!("{vm}-again"), second["backup"].as_str().unwrap());
        kvmctl.ok(&["restore", store, point, "--name", &again, "--host", "two", "--start"]).await;
        assert_eq!(two.sh_in_guest(&again, SUMS).await, sum);

        kvmctl.ok(&["vm", "delete", &format!("two/{again}"), "--power-off", "--delete-volumes", "--yes"]).await;
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
        two.exec(&["rm", "-r", dir]).await.succeeded();
    });
}

#[test]
fn another_tools_checkpoint_is_left_alone() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one).await;
        kvmctl.ok(&["checkpoint", "create", &vm, "theirs"]).await;
        let refused = kvmctl.run(&["sync", &vm, "two", "--track"]).await;
        assert_eq!(refused.code, Some(INVALID_STATE), "{refused}");
        assert!(refused.stderr.contains("theirs"), "{refused}");
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
    });
}
