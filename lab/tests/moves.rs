//! Machines that move to a second real host with their disks, and are on one host alone whatever cuts the move short.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, moment_passes, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// How long a move may take to define the machine on the other host.
const DEFINED: Duration = Duration::from_secs(120);
/// Not in the state that something is in.
const INVALID_STATE: i32 = 5;

/// A guest that boots by itself, with a second disk of another format to write on.
async fn guest(kvmctl: &Kvmctl, host: &LabHost, firmware: &[&str]) -> String {
    let vm = host.unique("moved");
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let data = format!("64M,name={vm}-data.raw,format=raw");
    let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..], firmware].concat()).await;
    host.sh_in_guest(&vm, "pat write /dev/vdb 0 16 seed && sync").await;
    vm
}

const SUM: &str = "echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 0 16";
const WHO: &str = "cat /sys/class/net/e*/address /sys/class/dmi/id/product_uuid";

/// Whether a host has a machine.
async fn has(kvmctl: &Kvmctl, place: &str) -> bool {
    kvmctl.run(&["vm", "show", place]).await.code == Some(0)
}

#[test]
fn a_guest_with_uefi_is_shut_down_moves_and_runs_on_the_other_host_alone() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, &["--firmware", "uefi"]).await;
        let there = format!("two/{vm}");
        kvmctl.ok(&["vm", "autostart", &vm]).await;
        let (sum, who) = (one.sh_in_guest(&vm, SUM).await, one.sh_in_guest(&vm, WHO).await);
        // One that runs is not moved without a word about it.
        let go = ["move", &vm, "two", "--yes"];
        let refused = kvmctl.run(&go).await;
        assert!(refused.code == Some(INVALID_STATE) && refused.stderr.contains("kvmctl vm migrate"), "{refused}");

        let go = [&go[..], &["--shutdown=3m"]].concat();
        let planned = kvmctl.ok(&[&go[..], &["--dry-run"]].concat()).await;
        for word in ["shut down", "guard", "_VARS.fd", "remove", "autostart"] {
            assert!(planned.contains(word), "no {word} in\n{planned}");
        }
        let moved = kvmctl.json(&go).await;
        assert_eq!((moved["name"].as_str(), moved["host"].as_str()), (Some(&*vm), Some("two")), "{moved}");
        assert_eq!(moved["images"].as_array().map(Vec::len), Some(2), "{moved}");
        assert_eq!(two.sh_in_guest(&vm, SUM).await, sum, "its data have come along");
        assert_eq!(two.sh_in_guest(&vm, WHO).await, who, "it is the same machine");
        assert_eq!(kvmctl.json(&["vm", "show", &there]).await["autostart"], true);
        one.assert_as(&before.0).await;

        kvmctl.ok(&["vm", "delete", &there, "--power-off", "--delete-volumes", "--yes"]).await;
        two.assert_as(&before.1).await;
    });
}

/// When `kvmctl` is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After this part of the time that a move takes.
    Part(f64),
    /// When the other host has the definition.
    Defined,
}

#[test]
fn a_move_that_is_killed_ends_with_one_whole_machine_on_one_host() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, &[]).await;
        one.sh_in_guest(&vm, "dd if=/dev/urandom of=/dev/vdb bs=1M count=60 seek=2 conv=fsync 2>/dev/null").await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let (here, there) = (format!("one/{vm}"), format!("two/{vm}"));
        let sums = async |host: &LabHost| {
            let place = |disk: &str| format!("/var/lib/libvirt/images/{vm}{disk}");
            let printed = host.exec(&["sha256sum", &place(".qcow2"), &place("-data.raw")]).await.succeeded();
            printed.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let original = sums(one).await;
        let go = ["move", &here, "two", "--bandwidth", "16M", "--yes"];
        let rehearsal = kvmctl.run(&go).await;
        let length = rehearsal.took;
        rehearsal.succeeded();
        one.assert_as(&before.0).await;
        let back = ["move", &there, "one", "--yes"];
        kvmctl.ok(&back).await;
        two.assert_as(&before.1).await;
        assert_eq!(sums(one).await, original);

        let mut interrupted = 0;
        for (moment, way) in [
            (Moment::Part(0.3), "undo"),
            (Moment::Part(0.6), "resume"),
            (Moment::Defined, "undo"),
            (Moment::Defined, "resume"),
            (Moment::Part(0.97), "resume"),
        ] {
            let running = kvmctl.start(&go);
            match moment {
                Moment::Part(part) => moment_passes(length.mul_f64(part)).await,
                Moment::Defined => {
                    let look = async || two.virsh(&["list", "--all", "--name"]).await.contains(&vm).then_some(());
                    eventually(DEFINED, "the machine on the other host", look).await;
                }
            }
            running.signal(Signal::KILL);
            let ended = running.ended().await;
            assert!(!ended.stderr.contains("panicked"), "{moment:?}: {ended}");
            interrupted += u32::from(ended.code != Some(0));
            if has(&kvmctl, &here).await && has(&kvmctl, &there).await {
                for place in [&here, &there] {
                    assert_eq!(kvmctl.run(&["vm", "start", place]).await.code, Some(INVALID_STATE), "{moment:?}");
                }
            }
            for operation in kvmctl.json(&["op", "list", "--open"]).await.as_array().into_iter().flatten() {
                let id = Value::as_str(&operation["operation"]).unwrap_or_default();
                if kvmctl.run(&["op", way, id]).await.code != Some(0) {
                    // Past the point of no return there is one way.
                    kvmctl.ok(&["op", "resume", id]).await;
                }
            }
            let (is_here, is_there) = (has(&kvmctl, &here).await, has(&kvmctl, &there).await);
            assert!(is_here != is_there, "{moment:?}, {way}: here {is_here}, there {is_there}");
            let (host, other, empty) = if is_here { (one, two, &before.1) } else { (two, one, &before.0) };
            assert_eq!(sums(host).await, original, "{moment:?}, {way}");
            other.assert_as(empty).await;
            if is_there {
                kvmctl.ok(&back).await;
            }
        }
        // Else the moments were badly chosen, and nothing was proved.
        assert!(interrupted >= 3, "{interrupted} of 5 were interrupted");

        // It still is a machine that boots.
        kvmctl.ok(&["vm", "start", &vm]).await;
        one.sh_in_guest(&vm, "pat sum /dev/vdb 0 1").await;
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}
