//! Guests that move from one real host to another while they write, and are on exactly one of them whatever breaks.

use std::time::Duration;

use kvm_lab::{Ended, Kvmctl, LabHost, TARGET, eventually, moment_passes, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// The longest migration of these tests, over a link that was slowed down.
const MOVE: Duration = Duration::from_secs(300);
/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// The state of a machine does not allow it.
const INVALID_STATE: i32 = 5;
/// Somebody asked to stop.
const CANCELLED: i32 = 130;

/// A user who knows both hosts, by their TLS listeners, as `one` and `two`.
fn kvmctl(one: &LabHost, two: &LabHost) -> Kvmctl {
    let kvmctl = Kvmctl::new([""; 0]);
    let entry = |alias: &str, host: &LabHost| {
        let pki = host.lab().dir().join("pki");
        format!("[{alias}]\ntarget = 'qemu+tls://{}/system'\npki = '{}'\n", host.address(), pki.display())
    };
    kvmctl.give("config/kvm-manager/hosts.toml", entry("one", one) + &entry("two", two));
    kvmctl.give("config/kvm-manager/config.toml", "connect = 'one'\n");
    kvmctl
}

/// A guest that boots by itself, with a second disk to write on.
async fn guest(kvmctl: &Kvmctl, host: &LabHost, memory: &str) -> String {
    let vm = host.unique("moving");
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let machine = ["--memory", memory, "--vcpus", "1", "--network", "default", "--start"];
    let data = format!("64M,name={vm}-data.qcow2");
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
    in_guest(host, &vm, &["true"]).await;
    vm
}

async fn in_guest(host: &LabHost, vm: &str, command: &[&str]) -> String {
    let answer = async || host.exec_in_guest(vm, command).await;
    eventually(BOOT, &format!("an answer of the guest on {}", host.name()), answer).await.0
}

/// The state of a machine on a host, by libvirt's own client; `None` when it has none.
async fn state(host: &LabHost, vm: &str) -> Option<String> {
    let all = host.virsh(&["list", "--all", "--name"]).await;
    match all.lines().any(|name| name.trim() == vm) {
        true => Some(host.virsh(&["domstate", vm]).await.trim().to_owned()),
        false => None,
    }
}

/// Waits until a migration from this host is under way.
async fn under_way(host: &LabHost, vm: &str) {
    let moving = async || host.virsh(&["domjobinfo", vm]).await.contains("Unbounded").then_some(());
    eventually(BOOT, "a migration under way", moving).await;
}

/// Writes on the second disk what can be told from everything else, and gives its sum.
async fn write_pattern(host: &LabHost, vm: &str) -> String {
    in_guest(host, vm, &["pat", "write", "/dev/vdb", "0", "16", "seed"]).await;
    in_guest(host, vm, &["pat", "sum", "/dev/vdb", "0", "16"]).await
}

/// What the second disk holds, read from the disk and not from the guest's memory.
async fn read_pattern(host: &LabHost, vm: &str) -> String {
    in_guest(host, vm, &["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"]).await;
    in_guest(host, vm, &["pat", "sum", "/dev/vdb", "0", "16"]).await
}

/// Has the guest write one block of the second disk after the other, over and over, and note which is done.
async fn keep_writing(host: &LabHost, vm: &str) {
    let script = "echo 0 > /run/writing; (i=0; while [ -e /run/writing ]; do pat write /dev/vdb $((i % 24)) 1 w$i && \
                  echo $i > /run/note && mv /run/note /run/written; i=$((i + 1)); done) > /dev/null 2>&1 &";
    in_guest(host, vm, &["sh", "-c", script]).await;
    let begun = async || in_guest(host, vm, &["sh", "-c", "cat /run/written || true"]).await.trim().parse::<u64>().ok();
    eventually(BOOT, "a first block", async || begun().await.filter(|n| *n >= 2)).await;
}

/// Ends the writing, and compares each block on the disk with what was written there last.
async fn assert_written(host: &LabHost, vm: &str) {
    let before: u64 = in_guest(host, vm, &["cat", "/run/written"]).await.trim().parse().unwrap();
    let more = async || {
        let now: u64 = in_guest(host, vm, &["cat", "/run/written"]).await.trim().parse().ok()?;
        (now > before).then_some(())
    };
    eventually(BOOT, "a guest that still writes", more).await;
    in_guest(host, vm, &["rm", "/run/writing"]).await;
    let ended = async || in_guest(host, vm, &["sh", "-c", "pidof dd || true"]).await.trim().is_empty().then_some(());
    eventually(BOOT, "the end of the writing", ended).await;
    let check = "sync; echo 3 > /proc/sys/vm/drop_caches; last=$(cat /run/written); i=$((last > 23 ? last - 23 : 0)); \
                 while [ $i -le $last ]; do \
                 a=$(pat sum /dev/vdb $((i % 24)) 1); b=$(pat gen 1 w$i | sha256sum | cut -d' ' -f1); \
                 [ \"$a\" = \"$b\" ] || echo \"block $((i % 24)): not w$i\"; i=$((i + 1)); done; echo checked";
    assert_eq!(in_guest(host, vm, &["sh", "-c", check]).await.trim(), "checked");
}

/// The guest runs here and nowhere else. Gives the host that has it.
async fn exactly_one<'a>(one: &'a LabHost, two: &'a LabHost, vm: &str) -> &'a LabHost {
    let states = async || {
        let states = (state(one, vm).await, state(two, vm).await);
        match (states.0.as_deref(), states.1.as_deref()) {
            (Some("running"), None) => Some(one),
            (None, Some("running")) => Some(two),
            _ => None,
        }
    };
    eventually(BOOT, "the guest on exactly one host", states).await.0
}

/// Takes back the operations of this status.
async fn take_back(kvmctl: &Kvmctl, status: &str) {
    let all = kvmctl.json(&["op", "list"]).await;
    for operation in all.as_array().unwrap().iter().filter(|operation| operation["status"] == status) {
        kvmctl.ok(&["op", "undo", operation["operation"].as_str().unwrap()]).await;
    }
}

async fn delete(kvmctl: &Kvmctl, host: &str, vm: &str) {
    kvmctl.ok(&["-c", host, "vm", "delete", vm, "--power-off", "--delete-volumes", "--yes"]).await;
}

fn long(kvmctl: &Kvmctl, arguments: &[&str]) -> kvm_lab::Program {
    kvmctl.program(arguments).within(MOVE)
}

fn no_panic(ended: &Ended) {
    assert!(!ended.stderr.contains("panicked"), "{ended}");
}

#[test]
fn a_running_guest_moves_with_its_disks_and_back() {
    on_two_hosts(LIMIT, async |one, two| {
        let (kvmctl, before) = (kvmctl(one, two), two.stock().await);
        let vm = guest(&kvmctl, one, "192M").await;
        kvmctl.ok(&["vm", "autostart", &vm]).await;
        let sum = write_pattern(one, &vm).await;

        let looked = kvmctl.json(&["vm", "migrate", &vm, "two", "--copy-storage", "--dry-run"]).await;
        let checks = looked["checks"].as_array().unwrap();
        assert!(checks.iter().all(|check| check["verdict"] == "ok" || check["check"] == "cpu"), "{looked}");
        two.assert_as(&before).await;

        let moved = kvmctl.json(&["vm", "migrate", &vm, "two", "--copy-storage", "--yes"]).await;
        assert_eq!(moved["status"], "succeeded", "{moved}");
        assert!(moved["migration"]["memory"]["done_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{moved}");
        assert_eq!(exactly_one(one, two, &vm).await.name(), two.name());
        assert_eq!(read_pattern(two, &vm).await, sum);
        let there = kvmctl.json(&["-c", "two", "vm", "list", "--select", &format!("name={vm}")]).await;
        assert_eq!((&there[0]["persistent"], &there[0]["autostart"]), (&Value::Bool(true), &Value::Bool(true)));

        // And back, led by the source over its own TLS connection, encrypted; the old images are in the way first.
        let back = ["-c", "two", "vm", "migrate", &vm, "one", "--copy-storage", "--lead", "source", "--tls", "--yes"];
        assert_eq!(kvmctl.run(&back).await.code, Some(INVALID_STATE));
        for volume in [format!("default/{vm}.qcow2"), format!("default/{vm}-data.qcow2")] {
            kvmctl.ok(&["vol", "delete", &volume, "--yes"]).await;
        }
        kvmctl.ok(&back).await;
        assert_eq!(exactly_one(one, two, &vm).await.name(), one.name());
        assert_eq!(read_pattern(one, &vm).await, sum);
        delete(&kvmctl, "one", &vm).await;
    });
}

#[test]
fn a_guest_on_shared_storage_moves_and_what_only_looks_shared_is_found_out() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = kvmctl(one, two);
        let name = one.unique("shared");
        let place = one.lab().dir().join("shared").join(&name);
        std::fs::create_dir(&place).unwrap();
        let target = place.to_string_lossy().into_owned();
        for host in ["one", "two"] {
            kvmctl.ok(&["-c", host, "pool", "create", &name, "--target", &target]).await;
        }
        std::fs::copy(one.lab().dir().join("guest/boot.qcow2"), place.join("boot.qcow2")).unwrap();
        for host in [one, two] {
            host.virsh(&["pool-refresh", &name]).await;
        }
        let (boot, data) = (format!("volume={name}/boot.qcow2"), format!("64M,pool={name},name=data.qcow2"));
        let machine = ["--memory", "192M", "--vcpus", "1", "--network", "default", "--start"];
        kvmctl.ok(&[&["vm", "create", &name, "--disk", &boot, "--disk", &data], &machine[..]].concat()).await;
        two.virsh(&["pool-refresh", &name]).await;
        let sum = write_pattern(one, &name).await;
        kvmctl.ok(&["vm", "migrate", &name, "two", "--yes"]).await;
        assert_eq!(exactly_one(one, two, &name).await.name(), two.name());
        assert_eq!(read_pattern(two, &name).await, sum);
        let left: Vec<_> = std::fs::read_dir(&place).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "a marker is left: {left:?}");
        delete(&kvmctl, "two", &name).await;
        std::fs::remove_dir_all(&place).unwrap();

        // The same path, size and format on both hosts, and not the same image.
        let vm = guest(&kvmctl, one, "192M").await;
        for volume in [format!("{vm}.qcow2"), format!("{vm}-data.qcow2")] {
            let images = "/var/lib/libvirt/images";
            let of = |host: &LabHost| host.file(images).join(&volume);
            std::fs::copy(of(one), of(two)).unwrap();
        }
        two.virsh(&["pool-refresh", "default"]).await;
        let refused = kvmctl.run(&["vm", "migrate", &vm, "two", "--yes"]).await;
        assert_eq!(refused.code, Some(INVALID_STATE), "{refused}");
        assert!(refused.stderr.contains("is not the same storage"), "{refused}");
        assert_eq!(exactly_one(one, two, &vm).await.name(), one.name());
        delete(&kvmctl, "one", &vm).await;
    });
}

#[test]
fn a_guest_that_dirties_memory_faster_than_the_link_is_brought_over_by_post_copy() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = kvmctl(one, two);
        let vm = guest(&kvmctl, one, "192M").await;
        let sum = write_pattern(one, &vm).await;
        in_guest(one, &vm, &["load", "on", "64"]).await;
        one.fault(&["rate", "40000"]).await;
        let limits = ["--timeout", "30s", "--at-timeout", "post-copy", "--yes"];
        let arguments = [&["vm", "migrate", &vm, "two", "--copy-storage"], &limits[..]].concat();
        let moved = long(&kvmctl, &arguments).run().await;
        one.fault(&["unrate"]).await;
        moved.succeeded();
        assert_eq!(exactly_one(one, two, &vm).await.name(), two.name());
        in_guest(two, &vm, &["load", "off"]).await;
        assert_eq!(read_pattern(two, &vm).await, sum);
        delete(&kvmctl, "two", &vm).await;
    });
}

#[test]
fn a_migration_that_is_interrupted_leaves_both_hosts_as_they_were() {
    on_two_hosts(LIMIT, async |one, two| {
        let (kvmctl, before) = (kvmctl(one, two), two.stock().await);
        let vm = guest(&kvmctl, one, "192M").await;
        let slowly = ["vm", "migrate", &vm, "two", "--copy-storage", "--bandwidth", "1M", "--yes"];
        let running = long(&kvmctl, &slowly).start();
        under_way(one, &vm).await;
        running.signal(Signal::INT);
        let ended = running.ended().await;
        no_panic(&ended);
        assert_eq!(ended.code, Some(CANCELLED), "{ended}");
        assert_eq!(exactly_one(one, two, &vm).await.name(), one.name());
        two.assert_as(&before).await;

        // What has no network there does not even begin.
        kvmctl.ok(&["net", "create", &format!("{vm}-net"), "--cidr", "10.93.7.1/24"]).await;
        kvmctl.ok(&["nic", "attach", &vm, &format!("{vm}-net")]).await;
        let refused = kvmctl.run(&["vm", "migrate", &vm, "two", "--copy-storage", "--yes"]).await;
        assert_eq!(refused.code, Some(INVALID_STATE), "{refused}");
        assert!(refused.stderr.contains(&format!("{vm}-net does not exist on the destination")), "{refused}");
        two.assert_as(&before).await;
        delete(&kvmctl, "one", &vm).await;
        kvmctl.ok(&["net", "stop", &format!("{vm}-net")]).await;
        kvmctl.ok(&["net", "delete", &format!("{vm}-net"), "--yes"]).await;
    });
}

#[test]
fn a_link_that_is_cut_for_four_seconds_costs_a_writing_guest_nothing_that_it_wrote() {
    on_two_hosts(LIMIT, async |one, two| {
        let (kvmctl, before) = (kvmctl(one, two), two.stock().await);
        let vm = guest(&kvmctl, one, "192M").await;
        keep_writing(one, &vm).await;
        one.fault(&["rate", "100000"]).await;
        let limits = ["--auto-converge", "--timeout", "40s", "--at-timeout", "suspend", "--yes"];
        let arguments = [&["vm", "migrate", &vm, "two", "--copy-storage"], &limits[..]].concat();
        let running = long(&kvmctl, &arguments).start();
        under_way(one, &vm).await;
        two.fault(&["cut"]).await;
        moment_passes(Duration::from_secs(4)).await;
        two.fault(&["heal"]).await;
        let ended = running.ended().await;
        one.fault(&["unrate"]).await;
        no_panic(&ended);
        let has_it = exactly_one(one, two, &vm).await;
        assert_eq!(ended.code == Some(0), has_it.name() == two.name(), "{ended}");
        assert_written(has_it, &vm).await;
        if has_it.name() == one.name() {
            two.assert_as(&before).await;
        }
        delete(&kvmctl, if has_it.name() == one.name() { "one" } else { "two" }, &vm).await;
    });
}

#[test]
fn a_libvirtd_that_dies_in_the_middle_leaves_the_guest_on_exactly_one_host() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = kvmctl(one, two);
        let before = two.stock().await;
        let vm = guest(&kvmctl, one, "192M").await;
        keep_writing(one, &vm).await;
        for victim in [one, two] {
            let slowly = ["vm", "migrate", &vm, "two", "--copy-storage", "--bandwidth", "1M", "--yes"];
            let running = long(&kvmctl, &slowly).start();
            under_way(one, &vm).await;
            victim.fault(&["kill", "libvirtd"]).await;
            victim.fault(&["start", "libvirtd"]).await;
            let ended = running.ended().await;
            no_panic(&ended);
            assert_ne!(ended.code, Some(0), "{ended}");
            assert_eq!(exactly_one(one, two, &vm).await.name(), one.name());
            // What it could not take back by itself is taken back when that is asked for.
            take_back(&kvmctl, "needs_attention").await;
            two.assert_as(&before).await;
        }
        assert_written(one, &vm).await;
        delete(&kvmctl, "one", &vm).await;
    });
}

#[test]
fn a_kvmctl_that_is_killed_in_the_middle_leaves_the_guest_on_exactly_one_host() {
    on_two_hosts(LIMIT, async |one, two| {
        let (kvmctl, before) = (kvmctl(one, two), two.stock().await);
        let vm = guest(&kvmctl, one, "192M").await;
        let slowly = ["vm", "migrate", &vm, "two", "--copy-storage", "--bandwidth", "1M", "--yes"];
        let running = long(&kvmctl, &slowly).start();
        under_way(one, &vm).await;
        running.signal(Signal::KILL);
        running.ended().await;
        take_back(&kvmctl, "interrupted").await;
        assert_eq!(exactly_one(one, two, &vm).await.name(), one.name());
        two.assert_as(&before).await;
        kvmctl.ok(&["vm", "migrate", &vm, "two", "--copy-storage", "--yes"]).await;
        assert_eq!(exactly_one(one, two, &vm).await.name(), two.name());
        delete(&kvmctl, "two", &vm).await;
        two.assert_as(&before).await;
        // The old images are left where the guest was.
        assert_eq!(state(one, &vm).await, None);
    });
}

#[test]
fn a_disk_over_the_network_stays_where_it_is_when_its_guest_moves() {
    on_two_hosts(LIMIT, async |one, two| {
        let (kvmctl, vm, pool) = (kvmctl(one, two), one.unique("reached"), one.unique("san"));
        one.serve_target(&[64 << 20]).await;
        let words = ["--type", "iscsi-direct", "--source-host", one.address(), "--source-device", TARGET];
        let pool_on = async |host: &str| {
            let create = ["-c", host, "pool", "create", &pool, "--initiator", &format!("iqn.2026-11.lab:{host}")];
            kvmctl.ok(&[&create[..], &words[..]].concat()).await;
        };
        pool_on("one").await;
        let disk = format!("volume={}", one.place_boot_disk(&vm).await);
        let (unit, machine) = (format!("volume={pool}/unit:0:0:1"), ["--memory", "192M", "--vcpus", "1", "--start"]);
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &unit], &machine[..]].concat()).await;
        in_guest(one, &vm, &["true"]).await;
        let sum = write_pattern(one, &vm).await;

        let migrate = ["vm", "migrate", &vm, "two", "--copy-storage", "--yes"];
        assert_eq!(kvmctl.run(&migrate).await.code, Some(INVALID_STATE), "without the pool there");
        pool_on("two").await;
        kvmctl.ok(&migrate).await;
        assert_eq!(exactly_one(one, two, &vm).await.name(), two.name());
        assert_eq!(read_pattern(two, &vm).await, sum);
        delete(&kvmctl, "two", &vm).await;
        for host in ["one", "two"] {
            kvmctl.ok(&["-c", host, "pool", "stop", &pool]).await;
            kvmctl.ok(&["-c", host, "pool", "delete", &pool, "--yes"]).await;
        }
    });
}
