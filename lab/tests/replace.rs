//! A clone that takes the place of a machine on a second real host, which is there until the clone stands.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, moment_passes, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);

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
