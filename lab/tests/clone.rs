//! Machines that are cloned from one real host to another, while they write and while they are off.

use std::time::Duration;

use kvm_lab::{Ended, Kvmctl, LabHost, moment_passes, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// For so long a link is cut.
const CUT: Duration = Duration::from_secs(10);
/// Something of that name is there.
const ALREADY_EXISTS: i32 = 4;

/// A guest that boots by itself, with a second disk of another format to write on.
async fn guest(kvmctl: &Kvmctl, host: &LabHost, firmware: &[&str]) -> String {
    let vm = host.unique("original");
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let data = format!("64M,name={vm}-data.raw,format=raw");
    let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..], firmware].concat()).await;
    host.sh_in_guest(&vm, "pat write /dev/vdb 0 16 seed && sync").await;
    vm
}

const SUM: &str = "echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 0 16";
const MACS: &str = "cat /sys/class/net/e*/address";

#[test]
fn a_guest_that_writes_is_cloned_to_another_host_and_both_run() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, &[]).await;
        let sum = one.sh_in_guest(&vm, SUM).await;
        // It writes all the time, behind what is compared.
        let script = "touch /run/writing; (i=0; while [ -e /run/writing ]; do pat write /dev/vdb $((32 + i % 24)) 1 w$i; \
                      i=$((i + 1)); echo $i > /run/written; done) > /dev/null 2>&1 &";
        one.sh_in_guest(&vm, script).await;
        let twin = format!("{vm}-twin");
        let clone = ["clone", &vm, "two", "--name", &twin, "--start"];

        let planned = kvmctl.ok(&[&clone[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains("hold") && planned.contains("application-consistent"), "{planned}");
        let done = kvmctl.json(&clone).await;
        assert_eq!((done["name"].as_str(), done["host"].as_str()), (Some(&*twin), Some("two")), "{done}");

        assert_eq!(two.sh_in_guest(&twin, SUM).await, sum, "what the guest wrote before is in the clone");
        assert_ne!(two.sh_in_guest(&twin, MACS).await, one.sh_in_guest(&vm, MACS).await);
        // The original has not stood still, and its disks are where they were.
        let written = one.sh_in_guest(&vm, "cat /run/written").await.parse::<u64>().unwrap();
        one.sh_in_guest(&vm, &format!("while [ $(cat /run/written) -le {written} ]; do :; done")).await;
        assert_eq!(kvmctl.json(&["snap", "list", &vm]).await.as_array().map(Vec::len), Some(0));
        one.sh_in_guest(&vm, "rm /run/writing").await;
        assert_eq!(one.sh_in_guest(&vm, SUM).await, sum);
        // A second time the name is taken, and nothing is written.
        assert_eq!(kvmctl.run(&clone).await.code, Some(ALREADY_EXISTS));

        for place in [format!("one/{vm}"), format!("two/{twin}")] {
            kvmctl.ok(&["vm", "delete", &place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn a_machine_with_uefi_that_is_off_is_cloned_with_its_variables_and_an_overlay_becomes_whole() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, &["--firmware", "uefi"]).await;
        let sum = one.sh_in_guest(&vm, SUM).await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        // From here on its disks are overlays.
        kvmctl.ok(&["snap", "create", &vm, "layer", "--external", "--disk-only"]).await;
        let twin = format!("{vm}-twin");
        let planned = kvmctl.ok(&["clone", &vm, "two", "--name", &twin, "--dry-run"]).await;
        assert!(planned.contains("which becomes whole") && planned.contains("_VARS.fd"), "{planned}");
        kvmctl.ok(&["clone", &vm, "two", "--name", &twin, "--start"]).await;
        assert_eq!(two.sh_in_guest(&twin, SUM).await, sum);
        for disk in kvmctl.json(&["disk", "list", &format!("two/{twin}")]).await.as_array().unwrap() {
            let info = two.exec(&["qemu-img", "info", "-U", disk["source"].as_str().unwrap()]).await.succeeded();
            assert!(!info.contains("backing file"), "{info}");
        }
        kvmctl.ok(&["snap", "delete", &vm, "layer", "--yes"]).await;
        for place in [format!("one/{vm}"), format!("two/{twin}")] {
            kvmctl.ok(&["vm", "delete", &place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

/// What cuts a clone short.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kvmctl` is killed.
    Kill,
    /// The link to the other host is cut for a while: the clone may well survive that.
    Cut,
    /// Somebody presses Ctrl-C.
    Interrupt,
}

impl Fault {
    async fn at(self, moment: Duration, two: &LabHost, kvmctl: &Kvmctl, clone: &[&str]) -> Ended {
        let running = kvmctl.start(clone);
        moment_passes(moment).await;
        match self {
            Self::Kill => running.signal(Signal::KILL),
            Self::Interrupt => running.signal(Signal::INT),
            Self::Cut => {
                two.fault(&["cut"]).await;
                moment_passes(CUT).await;
                two.fault(&["heal"]).await;
            }
        }
        running.ended().await
    }
}

#[test]
fn a_clone_that_is_cut_short_is_completed_or_taken_back_and_never_half() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, &[]).await;
        one.sh_in_guest(&vm, "dd if=/dev/urandom of=/dev/vdb bs=1M count=60 seek=2 conv=fsync 2>/dev/null").await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let (source, target) = (one.stock().await, two.stock().await);
        let twin = format!("{vm}-twin");
        let clone = ["clone", &vm, "two", "--name", &twin, "--bandwidth", "16M"];
        let sum = async |host: &LabHost, vm: &str| {
            let path = format!("/var/lib/libvirt/images/{vm}-data.raw");
            let printed = host.exec(&["sha256sum", &path]).await.succeeded();
            printed.split(' ').next().unwrap_or_default().to_owned()
        };
        let original = sum(one, &vm).await;
        let rehearsal = kvmctl.run(&clone).await;
        let length = rehearsal.took;
        rehearsal.succeeded();
        assert_eq!(sum(two, &twin).await, original);
        let delete = ["vm", "delete", &format!("two/{twin}"), "--delete-volumes", "--yes"];
        kvmctl.ok(&delete).await;
        two.assert_as(&target).await;

        let mut interrupted = 0;
        for (fault, way, moment) in [
            (Fault::Kill, "resume", 0.6),
            (Fault::Kill, "undo", 0.4),
            (Fault::Cut, "resume", 0.5),
            (Fault::Interrupt, "undo", 0.5),
        ] {
            let ended = fault.at(length.mul_f64(moment), two, &kvmctl, &clone).await;
            assert!(!ended.stderr.contains("panicked"), "{fault:?}: {ended}");
            let is_there = async || kvmctl.run(&["vm", "show", &format!("two/{twin}")]).await.code == Some(0);
            if ended.code != Some(0) {
                interrupted += 1;
                assert!(!is_there().await, "{fault:?}: half a clone");
            }
            for operation in kvmctl.json(&["op", "list", "--open"]).await.as_array().into_iter().flatten() {
                let id = Value::as_str(&operation["operation"]).unwrap_or_default();
                kvmctl.ok(&["op", way, id]).await;
            }
            if is_there().await {
                assert_eq!(sum(two, &twin).await, original, "{fault:?}");
                kvmctl.ok(&delete).await;
            }
            two.assert_as(&target).await;
            one.assert_as(&source).await;
        }
        // Else the moments were badly chosen, and nothing was proved.
        assert!(interrupted >= 2, "{interrupted} of 4 were interrupted");
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}
