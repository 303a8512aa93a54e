//! Snapshots and checkpoints of a real guest: what it wrote is there again, and nothing is left afterwards.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_a_host_within};
use serde_json::Value;

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// For a test with a guest that boots more than once.
const LIMIT: Duration = Duration::from_secs(420);

async fn in_guest(host: &LabHost, vm: &str, command: &[&str]) -> String {
    eventually(BOOT, "an answer of the guest's agent", async || host.exec_in_guest(vm, command).await).await.0
}

/// Writes into the second disk of the guest, past every cache, so that the disk alone has it.
async fn write(host: &LabHost, vm: &str, text: &str) {
    let command = format!("printf '%-512s' '{text}' | dd of=/dev/vdb bs=512 seek=2048 conv=fsync 2>/dev/null && sync");
    in_guest(host, vm, &["/bin/sh", "-c", &command]).await;
}

/// What is on the second disk, read from the disk itself.
async fn read(host: &LabHost, vm: &str) -> String {
    let command = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vdb bs=512 skip=2048 count=1 2>/dev/null";
    in_guest(host, vm, &["/bin/sh", "-c", command]).await.trim_end_matches([' ', '\0']).to_owned()
}

/// A guest with a second disk to write to.
async fn guest(host: &LabHost, kvmctl: &Kvmctl, stem: &str) -> String {
    let vm = host.unique(stem);
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let machine = ["--memory", "192M", "--vcpus", "1", "--network", "none", "--start"];
    let data = format!("64M,name={vm}-data.qcow2");
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
    vm
}

/// `name` or `name*` for the current one, with its parent.
async fn tree(kvmctl: &Kvmctl, vm: &str) -> Vec<String> {
    let all = kvmctl.json(&["snap", "list", vm]).await;
    let one = |one: &Value| {
        let mark = if one["current"] == true { "*" } else { "" };
        format!("{}{mark} < {}", one["name"].as_str().unwrap_or_default(), one["parent"].as_str().unwrap_or("-"))
    };
    all.as_array().map(|all| all.iter().map(one).collect()).unwrap_or_default()
}

async fn state(kvmctl: &Kvmctl, vm: &str) -> String {
    kvmctl.json(&["vm", "show", vm]).await["state"].as_str().unwrap_or_default().to_owned()
}

/// The images of a VM's disks.
async fn images(kvmctl: &Kvmctl, vm: &str) -> Vec<String> {
    let disks = kvmctl.json(&["disk", "list", vm]).await;
    let source = |disk: &Value| disk["source"].as_str().unwrap_or_default().to_owned();
    disks.as_array().map(|disks| disks.iter().map(source).collect()).unwrap_or_default()
}

#[test]
fn a_running_guest_goes_back_to_an_internal_snapshot_with_its_memory() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let kvmctl = host.kvmctl();
        let vm = guest(host, &kvmctl, "internal").await;
        write(host, &vm, "one").await;
        in_guest(host, &vm, &["/bin/sh", "-c", "echo remembered > /run/memory"]).await;
        kvmctl.ok(&["snap", "create", &vm, "first", "--description", "with memory"]).await;
        let shown = kvmctl.json(&["snap", "show", &vm, "first"]).await;
        assert_eq!(
            (&shown["kind"], &shown["memory"], &shown["state"]),
            (&"internal".into(), &"internal".into(), &"running".into())
        );
        write(host, &vm, "two").await;
        in_guest(host, &vm, &["/bin/sh", "-c", "echo forgotten > /run/memory"]).await;
        kvmctl.ok(&["snap", "create", &vm, "second"]).await;
        assert_eq!(tree(&kvmctl, &vm).await, ["first < -", "second* < first"]);

        kvmctl.ok(&["snap", "revert", &vm, "first", "--yes"]).await;
        assert_eq!(state(&kvmctl, &vm).await, "running");
        assert_eq!(in_guest(host, &vm, &["cat", "/run/memory"]).await.trim(), "remembered");
        assert_eq!(read(host, &vm).await, "one");
        // What is taken now begins a branch.
        kvmctl.ok(&["snap", "create", &vm, "third"]).await;
        assert_eq!(tree(&kvmctl, &vm).await, ["first < -", "second < first", "third* < first"]);
        let drawn = kvmctl.ok(&["snap", "list", &vm, "--tree"]).await;
        let names: Vec<_> = drawn.lines().map(|line| line.split("  (internal").next().unwrap_or_default()).collect();
        assert_eq!(names, ["first", "  second", "  third", "    (now)"], "{drawn}");

        kvmctl.ok(&["snap", "revert", &vm, "second", "--paused", "--yes"]).await;
        assert_eq!(state(&kvmctl, &vm).await, "paused");
        kvmctl.ok(&["vm", "resume", &vm]).await;
        assert_eq!(read(host, &vm).await, "two");

        kvmctl.ok(&["snap", "delete", &vm, "first", "--children", "--yes"]).await;
        assert_eq!(tree(&kvmctl, &vm).await, Vec::<String>::new());
        assert_eq!(read(host, &vm).await, "two");
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn external_snapshots_are_taken_quietly_gone_back_to_and_merged() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let kvmctl = host.kvmctl();
        let vm = guest(host, &kvmctl, "external").await;
        let base = images(&kvmctl, &vm).await;
        write(host, &vm, "one").await;
        kvmctl.ok(&["snap", "create", &vm, "quiet", "--quiesce"]).await;
        let shown = kvmctl.json(&["snap", "show", &vm, "quiet"]).await;
        assert_eq!(
            (&shown["kind"], &shown["memory"], &shown["state"]),
            (&"external".into(), &Value::Null, &"off".into())
        );
        assert_ne!(images(&kvmctl, &vm).await, base);
        // The guest writes again: it was let go.
        write(host, &vm, "two").await;
        in_guest(host, &vm, &["/bin/sh", "-c", "echo remembered > /run/memory"]).await;
        kvmctl.ok(&["snap", "create", &vm, "whole"]).await;
        let shown = kvmctl.json(&["snap", "show", &vm, "whole"]).await;
        assert_eq!((&shown["kind"], &shown["memory"]), (&"external".into(), &"external".into()));
        write(host, &vm, "three").await;
        in_guest(host, &vm, &["/bin/sh", "-c", "echo forgotten > /run/memory"]).await;

        kvmctl.ok(&["snap", "revert", &vm, "whole", "--yes"]).await;
        assert_eq!(in_guest(host, &vm, &["cat", "/run/memory"]).await.trim(), "remembered");
        assert_eq!(read(host, &vm).await, "two");

        // Back to the disks alone: off, or after a boot.
        kvmctl.ok(&["snap", "revert", &vm, "quiet", "--yes"]).await;
        assert_eq!(state(&kvmctl, &vm).await, "off");
        kvmctl.ok(&["snap", "revert", &vm, "quiet", "--running", "--yes"]).await;
        assert_eq!(read(host, &vm).await, "one");
        assert_eq!(tree(&kvmctl, &vm).await, ["quiet* < -", "whole < quiet"]);

        // One at which two branches begin waits; the end of the other branch goes, then it does.
        let refused = kvmctl.run(&["snap", "delete", &vm, "quiet", "--yes"]).await;
        assert_eq!(refused.code, Some(5), "{refused}");
        kvmctl.ok(&["snap", "delete", &vm, "whole", "--yes"]).await;
        write(host, &vm, "four").await;
        kvmctl.ok(&["snap", "delete", &vm, "quiet", "--yes"]).await;
        assert_eq!(images(&kvmctl, &vm).await, base);
        assert_eq!(read(host, &vm).await, "four");
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        // No overlay and no memory file is left, and no pool knows one.
        host.assert_as(&before).await;
    });
}

#[test]
fn what_would_lose_another_snapshot_is_refused_where_libvirt_would_do_it() {
    on_a_host_within(LIMIT, async |host| {
        let kvmctl = host.kvmctl();
        let vm = guest(host, &kvmctl, "mixed").await;
        kvmctl.ok(&["snap", "create", &vm, "inner"]).await;
        kvmctl.ok(&["snap", "create", &vm, "outer", "--external", "--disk-only"]).await;
        kvmctl.ok(&["snap", "create", &vm, "inside", "--internal"]).await;
        for (words, what) in [
            (["snap", "revert", &vm, "inner", "--yes"], "the state of outer"),
            (["snap", "delete", &vm, "outer", "--yes"], "is internal"),
            (["snap", "delete", &vm, "inner", "--yes"], "shut it down first"),
        ] {
            let refused = kvmctl.run(&words).await;
            assert_eq!(refused.code, Some(5), "{refused}");
            assert!(refused.stderr.contains(what), "{refused}");
        }
        kvmctl.ok(&["vm", "power-off", &vm, "--yes"]).await;
        kvmctl.ok(&["snap", "delete", &vm, "inner", "--yes"]).await;
        let refused = kvmctl.run(&["snap", "delete", &vm, "outer", "--yes"]).await;
        assert!(refused.code == Some(5) && refused.stderr.contains("snapshot inside is inside"), "{refused}");
        kvmctl.ok(&["snap", "delete", &vm, "outer", "--children", "--yes"]).await;
        assert_eq!(tree(&kvmctl, &vm).await, Vec::<String>::new());
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
    });
}

#[test]
fn checkpoints_say_how_much_was_written_since() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let kvmctl = host.kvmctl();
        let vm = guest(host, &kvmctl, "checkpoint").await;
        write(host, &vm, "one").await;
        kvmctl.ok(&["checkpoint", "create", &vm, "monday"]).await;
        let fill = "dd if=/dev/urandom of=/dev/vdb bs=1M seek=8 count=3 conv=fsync 2>/dev/null; sync";
        in_guest(host, &vm, &["/bin/sh", "-c", fill]).await;
        kvmctl.ok(&["checkpoint", "create", &vm, "tuesday"]).await;
        let changed = async |at: usize| {
            let all = kvmctl.json(&["checkpoint", "list", &vm]).await;
            let disks = all[at]["changes"].as_array().cloned().unwrap_or_default();
            let vdb = disks.iter().find(|disk| disk["disk"] == "vdb").and_then(|disk| disk["changed_bytes"].as_u64());
            vdb.unwrap_or_else(|| panic!("no changes of vdb: {all}"))
        };
        // In whole blocks of the bitmap, as many as were touched.
        assert!((3 << 20..5 << 20).contains(&changed(0).await), "{} since monday", changed(0).await);
        assert!(changed(1).await < 1 << 20, "{} since tuesday", changed(1).await);

        let refused = kvmctl.run(&["snap", "revert", &vm, "none", "--yes"]).await;
        assert_eq!(refused.code, Some(3), "{refused}");
        kvmctl.ok(&["checkpoint", "delete", &vm, "monday", "--yes"]).await;
        let all = kvmctl.json(&["checkpoint", "list", &vm]).await;
        assert_eq!((&all[0]["name"], &all[0]["parent"], &all[1]), (&"tuesday".into(), &Value::Null, &Value::Null));
        kvmctl.ok(&["checkpoint", "delete", &vm, "tuesday", "--yes"]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}
