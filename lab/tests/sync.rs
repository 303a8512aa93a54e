//! Replicas on a second real host: brought up to date while the source writes, whole whatever cuts a sync short, and
//! promoted when the source's host has lost power.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, moment_passes, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// For so long a link is cut.
const CUT: Duration = Duration::from_secs(10);
/// Not in the state that something is in.
const INVALID_STATE: i32 = 5;

/// A guest that boots by itself, with a second disk of another format to write on.
async fn guest(kvmctl: &Kvmctl, host: &LabHost) -> String {
    let vm = host.unique("synced");
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let data = format!("64M,name={vm}-data.raw,format=raw");
    let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
    host.sh_in_guest(&vm, "pat write /dev/vdb 0 16 seed && sync").await;
    vm
}

/// What the guest finds in the parts of its disk that the test has written.
const SUM: &str = "echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 0 16; pat sum /dev/vdb 24 1";

fn bytes(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_guest_that_writes_is_synced_twice_its_host_loses_power_and_the_replica_runs_with_its_data() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one).await;
        // It writes all the time, behind what is compared.
        let script = "touch /run/writing; (i=0; while [ -e /run/writing ]; do pat write /dev/vdb $((32 + i % 4)) 1 w$i; \
                      i=$((i + 1)); done) > /dev/null 2>&1 &";
        one.sh_in_guest(&vm, script).await;
        let sync = ["sync", &vm, "two"];
        let first = kvmctl.json(&sync).await;
        assert_eq!((first["first"].as_bool(), first["host"].as_str()), (Some(true), Some("two")), "{first}");
        let (there, listed) = (format!("two/{vm}"), ["replica", "list", "one", "two"]);
        let replica = kvmctl.json(&["replica", "show", &there]).await;
        assert_eq!(
            (&replica["consistency"], &replica["vm_state"]),
            (&"application".into(), &"off".into()),
            "{replica}"
        );

        one.sh_in_guest(&vm, "pat write /dev/vdb 24 1 later && sync").await;
        let sum = one.sh_in_guest(&vm, SUM).await;
        let planned = kvmctl.ok(&[&sync[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains("would be sent"), "{planned}");
        let second = kvmctl.json(&sync).await;
        let (length, changed, sent) =
            (bytes(&second, "length_bytes"), bytes(&second, "changed_bytes"), bytes(&second, "sent_bytes"));
        assert!(changed >= 1 << 20 && changed < length / 4 && sent < length / 4, "{second}");
        assert!(second["images"].as_array().unwrap().iter().all(|image| image["written_from_outside"] == false));
        let roles: Vec<_> = kvmctl.json(&listed).await.as_array().unwrap().iter().map(|r| r["role"].clone()).collect();
        assert_eq!(roles, ["source", "replica"]);

        one.fault(&["crash"]).await;
        let promoted = kvmctl.json(&["replica", "promote", &there, "--start"]).await;
        assert!(promoted["source_seen"]["unreachable"].is_string(), "{promoted}");
        assert_eq!(two.sh_in_guest(&vm, SUM).await, sum, "what was synced is there");

        one.comes_back().await;
        one.mend().await;
        assert_eq!(kvmctl.run(&sync).await.code, Some(INVALID_STATE));
        two.sh_in_guest(&vm, "pat write /dev/vdb 24 1 newest && sync").await;
        let sum = two.sh_in_guest(&vm, SUM).await;
        let inverted = kvmctl.json(&["replica", "invert", &there, "one", "--yes"]).await;
        assert_eq!(inverted["first"], false, "{inverted}");
        assert!(bytes(&inverted, "changed_bytes") < bytes(&inverted, "length_bytes") / 4, "{inverted}");
        kvmctl.ok(&["vm", "power-off", &there]).await;
        kvmctl.ok(&["replica", "promote", &vm, "--start"]).await;
        assert_eq!(one.sh_in_guest(&vm, SUM).await, sum);

        for place in [format!("one/{vm}"), there] {
            kvmctl.ok(&["vm", "delete", &place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

/// What cuts a sync short.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kvmctl` is killed.
    Kill,
    /// The link to the replica's host is cut for a while: the sync may well survive that.
    Cut,
}

#[test]
fn a_sync_that_is_cut_short_leaves_the_old_replica_or_the_new_one_and_never_half() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one).await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let there = format!("two/{vm}");
        let sync = ["sync", &vm, "two", "--bandwidth", "16M"];
        let sums = async |host: &LabHost| {
            let place = |disk: &str| format!("/var/lib/libvirt/images/{vm}{disk}");
            let printed = host.exec(&["sha256sum", &place(".qcow2"), &place("-data.raw")]).await.succeeded();
            printed.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        // Both disks change, so that half of them would be seen.
        let change = async || {
            for (file, at) in [("-data.raw", "8"), (".qcow2", "60")] {
                let file = format!("of=/var/lib/libvirt/images/{vm}{file}");
                let seek = format!("seek={at}");
                let dd = ["dd", "if=/dev/urandom", &file, "bs=1M", "count=20", &seek, "conv=notrunc,fsync"];
                one.exec(&dd).await.succeeded();
            }
        };
        kvmctl.ok(&["sync", &vm, "two"]).await;
        assert_eq!(sums(two).await, sums(one).await);
        change().await;
        let rehearsal = kvmctl.run(&sync).await;
        let length = rehearsal.took;
        rehearsal.succeeded();
        let mut interrupted = 0;
        for (fault, way, moment) in [
            (Fault::Kill, "undo", 0.2),
            (Fault::Kill, "resume", 0.4),
            (Fault::Kill, "resume", 0.6),
            (Fault::Cut, "undo", 0.5),
            (Fault::Kill, "resume", 0.8),
        ] {
            let old = sums(two).await;
            change().await;
            let new = sums(one).await;
            let running = kvmctl.start(&sync);
            moment_passes(length.mul_f64(moment)).await;
            match fault {
                Fault::Kill => running.signal(Signal::KILL),
                Fault::Cut => {
                    two.fault(&["cut"]).await;
                    moment_passes(CUT).await;
                    two.fault(&["heal"]).await;
                }
            }
            let ended = running.ended().await;
            assert!(!ended.stderr.contains("panicked"), "{fault:?}: {ended}");
            interrupted += u32::from(ended.code != Some(0));
            // Its helper ends with the connection.
            let replica = kvmctl.json(&["replica", "show", &there]).await;
            if replica["state"] != "applying" {
                let now = sums(two).await;
                assert!(now == old || now == new, "{fault:?} at {moment}: half a replica");
            }
            for operation in kvmctl.json(&["op", "list", "--open"]).await.as_array().into_iter().flatten() {
                let id = Value::as_str(&operation["operation"]).unwrap_or_default();
                if kvmctl.run(&["op", way, id]).await.code != Some(0) {
                    // Past the point of no return there is one way.
                    kvmctl.ok(&["op", "resume", id]).await;
                }
            }
            let now = sums(two).await;
            assert!(now == old || now == new, "{fault:?} at {moment}: half a replica after {way}");
            let replica = kvmctl.json(&["replica", "show", &there]).await;
            assert_eq!(replica["state"], "current", "{replica}");
            kvmctl.ok(&["sync", &vm, "two"]).await;
            assert_eq!(sums(two).await, new, "{fault:?}");
        }
        // Else the moments were badly chosen, and nothing was proved.
        assert!(interrupted >= 3, "{interrupted} of 5 were interrupted");

        // What is written to the replica from outside is told, and overwritten.
        let file = format!("of=/var/lib/libvirt/images/{vm}-data.raw");
        two.exec(&["dd", "if=/dev/urandom", &file, "bs=64k", "count=1", "seek=9", "conv=notrunc"]).await.succeeded();
        let told = kvmctl.json(&["sync", &vm, "two"]).await;
        let written: Vec<_> =
            told["images"].as_array().unwrap().iter().map(|i| i["written_from_outside"].clone()).collect();
        assert_eq!(written, [false, true], "{told}");
        assert_eq!(bytes(&told, "changed_bytes"), 64 << 10, "{told}");
        assert_eq!(sums(two).await, sums(one).await);
        // Nothing changed: nothing is sent, and nothing is read.
        let idle = kvmctl.json(&["sync", &vm, "two"]).await;
        assert_eq!(bytes(&idle, "changed_bytes"), 0, "{idle}");
        assert!(idle["images"].as_array().unwrap().iter().all(|image| image["read_in_full"] == false), "{idle}");

        for place in [format!("one/{vm}"), there] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}
