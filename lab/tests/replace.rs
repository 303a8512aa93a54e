//! Clones, and machines from backups, that take the place of one on a second real host, which is there until they stand.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, moment_passes, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// Something has the name already.
const ALREADY_EXISTS: i32 = 4;

async fn finish(kvmctl: &Kvmctl, way: &str) -> usize {
    let open = kvmctl.json(&["op", "list", "--open"]).await;
    let open = open.as_array().cloned().unwrap_or_default();
    for operation in &open {
        let id = Value::as_str(&operation["operation"]).unwrap_or_default();
        kvmctl.ok(&["op", way, id]).await;
    }
    open.len()
}

async fn sum(host: &LabHost, name: &str) -> String {
    let printed = host.exec(&["sha256sum", &format!("/var/lib/libvirt/images/{name}")]).await.succeeded();
    printed.split(' ').next().unwrap_or_default().to_owned()
}

/// The digests of the images that a machine has by its definition.
async fn images(vm: &str, host: &LabHost) -> Vec<String> {
    let mut sums = Vec::new();
    for line in host.virsh(&["domblklist", vm]).await.lines() {
        if let Some((_, file)) = line.rsplit_once('/') {
            sums.push(sum(host, file).await);
        }
    }
    sums
}

#[test]
fn a_clone_replaces_a_machine_with_uefi_and_taken_back_it_is_what_it_was() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = one.unique("newer");
        let disk = format!("volume={}", one.place_boot_disk(&vm).await);
        let data = format!("64M,name={vm}-data.raw,format=raw");
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--firmware", "uefi", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
        one.sh_in_guest(&vm, "dd if=/dev/urandom of=/dev/vdb bs=1M count=60 conv=fsync 2>/dev/null").await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let copy = format!("{vm}-copy");
        kvmctl.ok(&["clone", &vm, "two", "--name", &copy]).await;
        let old = two.stock().await;
        let file = format!("of=/var/lib/libvirt/images/{vm}-data.raw");
        let dd = ["dd", "if=/dev/urandom", &file, "bs=1M", "count=20", "seek=8", "conv=notrunc,fsync"];
        one.exec(&dd).await.succeeded();

        let replace = ["clone", &vm, "two", "--name", &copy, "--replace", "--yes", "--bandwidth", "16M"];
        // Killed on the way, and taken back: the old one has lost nothing.
        let running = kvmctl.start(&replace);
        moment_passes(Duration::from_secs(4)).await;
        running.signal(Signal::KILL);
        assert_ne!(running.ended().await.code, Some(0), "the moment was badly chosen");
        assert_eq!(finish(&kvmctl, "undo").await, 1);
        two.assert_as(&old).await;

        let planned = kvmctl.ok(&[&replace[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains(".replaced-") && planned.contains("_VARS-1.fd"), "{planned}");
        kvmctl.ok(&replace).await;
        let data = format!("{copy}-data-1.raw");
        assert_eq!(sum(two, &data).await, sum(one, &format!("{vm}-data.raw")).await);
        let listed = two.virsh(&["list", "--all", "--name"]).await;
        assert!(listed.contains(&copy) && !listed.contains(".replaced-"), "{listed}");
        kvmctl.ok(&["vm", "start", &format!("two/{copy}")]).await;
        two.sh_in_guest(&copy, "pat sum /dev/vdb 0 1").await;
        // What is replaced may stay.
        kvmctl.ok(&["vm", "power-off", &format!("two/{copy}")]).await;
        let kept = kvmctl.json(&[&replace[..], &["--keep-replaced"]].concat()).await;
        let kept = kept["kept_as"].as_str().unwrap_or_else(|| panic!("nothing was kept: {kept}")).to_owned();

        for place in [format!("one/{vm}"), format!("two/{copy}"), format!("two/{kept}")] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn what_is_restored_replaces_a_machine_and_taken_back_that_is_what_it_was() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let (vm, old) = (one.unique("stored"), two.unique("older"));
        let small = ["--memory", "64M", "--network", "none"];
        let disks = [format!("48M,name={vm}.raw,format=raw"), format!("48M,name={old}.raw,format=raw")];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disks[0]], &small[..]].concat()).await;
        kvmctl.ok(&[&["-c", "two", "vm", "create", &old, "--disk", &disks[1]], &small[..]].concat()).await;
        for (host, vm) in [(one, &vm), (two, &old)] {
            let file = format!("of=/var/lib/libvirt/images/{vm}.raw");
            host.exec(&["dd", "if=/dev/urandom", &file, "bs=1M", "count=40", "conv=notrunc,fsync"]).await.succeeded();
        }
        let dir = "/var/lib/libvirt/backup";
        two.exec(&["mkdir", "-p", dir]).await.succeeded();
        let store = format!("two:{dir}");
        kvmctl.ok(&["backup", "create", &vm, &store]).await;
        let stored = sum(one, &format!("{vm}.raw")).await;
        let (stock, was) = (two.stock().await, sum(two, &format!("{old}.raw")).await);

        let restore = ["restore", &store, &vm, "--name", &old, "--host", "two"];
        let taken = kvmctl.run(&restore).await;
        assert_eq!(taken.code, Some(ALREADY_EXISTS), "{taken}");
        let replace = [&restore[..], &["--replace", "--yes", "--bandwidth", "8M"]].concat();
        let planned = kvmctl.ok(&[&replace[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains(".replaced-"), "{planned}");
        // Killed on the way, and taken back: the old one has lost nothing.
        let running = kvmctl.start(&replace);
        moment_passes(Duration::from_secs(3)).await;
        running.signal(Signal::KILL);
        assert_ne!(running.ended().await.code, Some(0), "the moment was badly chosen");
        assert_eq!(finish(&kvmctl, "undo").await, 1);
        two.assert_as(&stock).await;
        assert_eq!(sum(two, &format!("{old}.raw")).await, was);

        // What is replaced may stay, with what it had.
        let kept = kvmctl.json(&[&replace[..], &["--keep-replaced"]].concat()).await;
        let kept = kept["kept_as"].as_str().unwrap_or_else(|| panic!("nothing was kept: {kept}")).to_owned();
        assert_eq!(images(&old, two).await, [&*stored]);
        assert_eq!(images(&kept, two).await, [was]);
        kvmctl.ok(&["vm", "delete", &format!("two/{kept}"), "--delete-volumes", "--yes"]).await;
        // Else it goes once the other one stands.
        kvmctl.ok(&replace).await;
        assert_eq!(images(&old, two).await, [stored]);
        let listed = two.virsh(&["list", "--all", "--name"]).await;
        assert!(!listed.contains(".replaced-"), "{listed}");

        for place in [format!("one/{vm}"), format!("two/{old}")] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
        two.exec(&["rm", "-r", dir]).await.succeeded();
    });
}
