//! Copies that are started once on real hosts: they boot, or do not, and are afterwards what they were.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// A guest that boots has come up by then, also beside a compiler.
const BOOT: &str = "90s";
/// A trial has begun by then.
const BEGUN: Duration = Duration::from_secs(60);
/// Something is not what it should be: a copy does not boot.
const NOT_PROVED: i32 = 10;
/// The request is wrong.
const INVALID_INPUT: i32 = 2;
/// Somebody pressed Ctrl-C.
const CANCELLED: i32 = 130;
const IMAGES: &str = "/var/lib/libvirt/images";

/// A machine that boots by itself when it is started, with a second disk of another format.
async fn machine(kvmctl: &Kvmctl, host: &LabHost, firmware: &[&str]) -> String {
    let vm = host.unique("tried");
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let data = format!("64M,name={vm}-data.raw,format=raw");
    let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..], firmware].concat()).await;
    vm
}

/// All files of the pool with their digests.
async fn sums(host: &LabHost) -> String {
    host.exec(&["sh", "-c", &format!("cd {IMAGES} && sha256sum *")]).await.succeeded()
}

/// Waits until a trial runs.
async fn trial_runs(host: &LabHost) {
    let running = async || host.virsh(&["list", "--name"]).await.contains("-proof-").then_some(());
    eventually(BEGUN, "a trial runs", running).await;
}

async fn open_operations(kvmctl: &Kvmctl) -> Vec<String> {
    let open = kvmctl.json(&["op", "list", "--open"]).await;
    let ids = open.as_array().into_iter().flatten().filter_map(|op| op["operation"].as_str().map(str::to_owned));
    ids.collect()
}

#[test]
fn a_clone_is_proved_its_images_stay_and_a_trial_that_is_cut_short_leaves_nothing() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one, &[]).await;
        let twin = format!("{vm}-twin");
        let there = format!("two/{twin}");
        let clone = ["clone", &vm, "two", "--name", &twin, "--prove", "--timeout", BOOT];
        let planned = kvmctl.ok(&[&clone[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains("prove") && planned.contains("until its agent answers"), "{planned}");
        let done = kvmctl.json(&clone).await;
        let proof = &done["proof"];
        assert_eq!((&proof["result"], &proof["by"]), (&"proved".into(), &"agent".into()), "{done}");
        assert!(proof["images"].as_array().unwrap().iter().all(|image| image["root"].is_string()), "{proof}");
        assert!(proof["versions"]["qemu"].is_string() && proof["versions"]["machine"].is_string(), "{proof}");
        // It is noted on the clone, and on nothing else.
        let shown = kvmctl.json(&["replica", "show", &there]).await;
        assert_eq!(&shown["proof"]["trial"], &proof["trial"], "{shown}");
        assert_eq!(kvmctl.json(&["vm", "show", &there]).await["proof"]["result"], "proved");
        assert_eq!(kvmctl.json(&["replica", "show", &vm]).await["proof"], Value::Null);

        // A trial reads the images, writes to none, and is gone.
        let stock = two.stock().await;
        let images = sums(two).await;
        assert!(!images.contains("-proof-"), "{images}");
        let prove = ["replica", "prove", &there, "--timeout", BOOT];
        for signal in [Signal::INT, Signal::KILL] {
            let running = kvmctl.start(&prove);
            trial_runs(two).await;
            // Its card has no link, and it is no machine that stays.
            let trial = two.virsh(&["list", "--name"]).await.trim().to_owned();
            let xml = two.virsh(&["dumpxml", &trial]).await;
            assert!(xml.contains("<link state='down'/>"), "{xml}");
            assert!(two.virsh(&["dominfo", &trial]).await.contains("Persistent:     no"));
            running.signal(signal);
            let ended = running.ended().await;
            assert!(!ended.stderr.contains("panicked"), "{ended}");
            let open = open_operations(&kvmctl).await;
            match signal {
                Signal::INT => assert_eq!((ended.code, open.len()), (Some(CANCELLED), 0), "{ended}"),
                _ => {
                    assert_eq!(open.len(), 1, "{open:?}");
                    // It has ended with whoever watched it.
                    let gone = async || (!two.virsh(&["list", "--name"]).await.contains("-proof-")).then_some(());
                    eventually(BEGUN, "the trial is gone", gone).await;
                    kvmctl.ok(&["op", "undo", &open[0]]).await;
                }
            }
            two.assert_as(&stock).await;
            assert_eq!(sums(two).await, images, "{signal:?}");
        }
        let console = kvmctl.json(&[&prove[..], &["--until", "GUEST-UP"]].concat()).await;
        assert_eq!((&console["result"], &console["by"]), (&"proved".into(), &"console".into()), "{console}");
        assert_eq!(sums(two).await, images);

        for place in [format!("one/{vm}"), there] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn a_replica_with_uefi_is_proved_and_one_that_boots_no_more_is_told_from_it() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one, &["--firmware", "uefi"]).await;
        // From its first moment on it has variables.
        kvmctl.ok(&["vm", "start", &vm]).await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let there = format!("two/{vm}");
        let planned = async || kvmctl.ok(&["replica", "prove", &there, "--dry-run"]).await;
        let sync = ["sync", &vm, "two", "--prove", "--timeout", BOOT];
        let done = kvmctl.json(&sync).await;
        assert_eq!(done["proof"]["result"], "proved", "{done}");
        assert!(planned().await.contains("_VARS.fd"), "{}", planned().await);
        let files = async || two.exec(&["find", IMAGES, "/var/lib/libvirt/qemu/nvram", "-type", "f"]).await.succeeded();
        let left = files().await;
        assert!(!left.contains("-proof-"), "{left}");
        assert_eq!(kvmctl.json(&["replica", "show", &there]).await["state"], "current");

        // What a later sync brings was not tried.
        let file = format!("of={IMAGES}/{vm}-data.raw");
        one.exec(&["dd", "if=/dev/urandom", &file, "bs=1M", "count=1", "seek=9", "conv=notrunc,fsync"])
            .await
            .succeeded();
        let second = kvmctl.json(&["sync", &vm, "two"]).await;
        assert_eq!((&second["changed_bytes"], &second["proof"]), (&(1 << 20).into(), &Value::Null), "{second}");
        assert_eq!(kvmctl.json(&["replica", "show", &there]).await["proof"], Value::Null);

        // The partition table, both of them, and the boot sector.
        let image = format!("{IMAGES}/{vm}.qcow2");
        two.exec(&["qemu-io", "-f", "qcow2", "-c", "write -z 0 4M", &image]).await.succeeded();
        let images = sums(two).await;
        let ended = kvmctl.run(&["replica", "prove", &there, "--timeout", "45s"]).await;
        assert_eq!(ended.code, Some(NOT_PROVED), "{ended}");
        for told in [&*vm, "was not proved to boot", "no agent answered within 45 s", "last on its console", "Shell>"] {
            assert!(ended.stderr.contains(told), "{told}: {ended}");
        }
        let shown = kvmctl.json(&["replica", "show", &there]).await;
        assert_eq!((&shown["proof"]["result"], &shown["state"]), (&"not-proved".into(), &"current".into()), "{shown}");
        assert_eq!((sums(two).await, files().await), (images, left));
        // Nothing that cannot come is waited for.
        let wrong = kvmctl.run(&["replica", "prove", &there, "--until", ""]).await;
        assert_eq!(wrong.code, Some(INVALID_INPUT), "{wrong}");

        for place in [format!("one/{vm}"), there] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn what_is_restored_and_what_is_inverted_is_proved_and_stays_what_it_was() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one, &[]).await;
        let (dir, again) = ("/var/lib/libvirt/backup", format!("{vm}-again"));
        two.exec(&["mkdir", "-p", dir]).await.succeeded();
        let store = format!("two:{dir}");
        let made = kvmctl.json(&["backup", "create", &vm, &store]).await;
        let restore = ["restore", &store, &vm, "--name", &again, "--host", "two", "--prove", "--timeout", BOOT];
        let planned = kvmctl.ok(&[&restore[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains("prove") && planned.contains("until its agent answers"), "{planned}");
        let done = kvmctl.json(&restore).await;
        let proof = &done["proof"];
        assert_eq!((&proof["result"], &proof["vm"]), (&"proved".into(), &again.as_str().into()), "{done}");
        // The images are still what the store has.
        let digests = async |host: &LabHost, files: [String; 2]| {
            let printed = host.exec(&["sha256sum", &files[0], &files[1]]).await.succeeded();
            printed.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let of = |vm: &str| [format!("{IMAGES}/{vm}.qcow2"), format!("{IMAGES}/{vm}-data.raw")];
        let point = format!("{dir}/{}", made["backup"].as_str().unwrap());
        let stored = digests(two, [format!("{point}/vda.qcow2"), format!("{point}/vdb.raw")]).await;
        assert_eq!(digests(two, of(&again)).await, stored);
        let shown = kvmctl.json(&["vm", "show", &format!("two/{again}")]).await;
        assert_eq!((&shown["proof"]["trial"], &shown["state"]), (&proof["trial"], &"off".into()), "{shown}");
        kvmctl.ok(&["vm", "delete", &format!("two/{again}"), "--delete-volumes", "--yes"]).await;
        two.exec(&["rm", "-r", dir]).await.succeeded();

        let there = format!("two/{vm}");
        kvmctl.ok(&["sync", &vm, "two"]).await;
        kvmctl.ok(&["replica", "promote", &there]).await;
        // What the new source has is what boots.
        let file = format!("of={IMAGES}/{vm}-data.raw");
        two.exec(&["dd", "if=/dev/urandom", &file, "bs=1M", "count=1", "seek=9", "conv=notrunc,fsync"])
            .await
            .succeeded();
        let invert = ["replica", "invert", &there, "one", "--yes", "--prove", "--timeout", BOOT];
        let inverted = kvmctl.json(&invert).await;
        let proof = &inverted["proof"];
        assert_eq!((&proof["result"], &inverted["host"]), (&"proved".into(), &"one".into()), "{inverted}");
        assert_eq!(digests(one, of(&vm)).await, digests(two, of(&vm)).await);
        let shown = kvmctl.json(&["replica", "show", &vm]).await;
        assert_eq!((&shown["proof"]["trial"], &shown["state"]), (&proof["trial"], &"current".into()), "{shown}");
        assert!(!sums(one).await.contains("-proof-"));
        assert_eq!(open_operations(&kvmctl).await, [""; 0]);

        for place in [format!("one/{vm}"), there] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}
