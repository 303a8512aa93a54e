//! Machines that are backed up from one real host to another, while they write, and brought back.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, moment_passes, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// A directory of the host's own.
const DIR: &str = "/var/lib/libvirt/backup";
const STORE: &str = "two:/var/lib/libvirt/backup";
/// What was stored is not what is there.
const CORRUPT: i32 = 10;
const NOT_FOUND: i32 = 3;

/// A guest that boots by itself, with a second disk of another format to write on, and a store for its backups.
async fn guest(kvmctl: &Kvmctl, one: &LabHost, two: &LabHost, firmware: &[&str]) -> String {
    two.exec(&["mkdir", "-p", DIR]).await.succeeded();
    let vm = one.unique("original");
    let disk = format!("volume={}", one.place_boot_disk(&vm).await);
    let data = format!("64M,name={vm}-data.raw,format=raw");
    let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..], firmware].concat()).await;
    one.sh_in_guest(&vm, "pat write /dev/vdb 0 16 seed && sync").await;
    vm
}

/// What is in the store, by hand.
async fn stored(two: &LabHost) -> Vec<String> {
    let found = two.exec(&["find", DIR, "-mindepth", "1"]).await.succeeded();
    let mut names: Vec<_> =
        found.lines().map(|line| line.trim_start_matches(DIR).trim_start_matches('/').to_owned()).collect();
    names.sort();
    names
}

const SUM: &str = "echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 0 16";
const LATER: &str = "echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 24 2";

#[test]
fn a_guest_that_writes_is_backed_up_and_comes_back_under_another_name_on_another_host() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, two, &[]).await;
        let sum = one.sh_in_guest(&vm, SUM).await;
        // It writes all the time, behind what is compared.
        let script = "touch /run/writing; (i=0; while [ -e /run/writing ]; do pat write /dev/vdb $((32 + i % 24)) 1 w$i; \
                      i=$((i + 1)); echo $i > /run/written; done) > /dev/null 2>&1 &";
        one.sh_in_guest(&vm, script).await;
        let planned = kvmctl.ok(&["backup", "create", &vm, STORE, "--dry-run"]).await;
        assert!(planned.contains("application-consistent, everything is sent"), "{planned}");
        let first = kvmctl.json(&["backup", "create", &vm, STORE]).await;
        assert_eq!((first["consistency"].as_str(), &first["based_on"]), (Some("application"), &Value::Null), "{first}");
        // It went on, and its disks are where they were.
        let written = one.sh_in_guest(&vm, "cat /run/written").await.parse::<u64>().unwrap();
        one.sh_in_guest(&vm, &format!("while [ $(cat /run/written) -le {written} ]; do :; done")).await;
        assert_eq!(kvmctl.json(&["snap", "list", &vm]).await.as_array().map(Vec::len), Some(0));

        // The second one is made upon the first.
        one.sh_in_guest(&vm, "pat write /dev/vdb 24 2 later && sync").await;
        let later = one.sh_in_guest(&vm, LATER).await;
        let second = kvmctl.json(&["backup", "create", &vm, STORE, "--sha256"]).await;
        assert_eq!(
            format!("{vm}/{}", second["based_on"].as_str().unwrap()),
            first["backup"].as_str().unwrap(),
            "{second}"
        );
        let [old, new] = [&first, &second].map(|made| made["backup"].as_str().unwrap());
        for backup in [old, new] {
            let verified = kvmctl.json(&["backup", "verify", STORE, backup]).await;
            assert_eq!(verified["verdict"], "matches", "{verified}");
        }

        // Nobody needs us to check it.
        let check = "cd \"$1\" && sha256sum --check --strict SHA256SUMS";
        let checked = two.exec(&["sh", "-c", check, "sh", &format!("{DIR}/{new}")]).await.succeeded();
        assert_eq!(checked.lines().filter(|line| line.ends_with(": OK")).count(), 4, "{checked}");

        // qemu-img alone gets the disks out, of either point.
        for backup in [old, new] {
            let image = format!("{DIR}/{backup}/vda.qcow2");
            let info = two.exec(&["qemu-img", "info", "-f", "qcow2", &image]).await.succeeded();
            assert!(!info.contains("backing file"), "{info}");
            two.exec(&["qemu-img", "check", "-f", "qcow2", &image]).await.succeeded();
            let out = "/var/lib/libvirt/by-hand.raw";
            two.exec(&["qemu-img", "convert", "-f", "qcow2", "-O", "raw", &image, out]).await.succeeded();
            two.exec(&["qemu-img", "compare", "-f", "qcow2", "-F", "raw", &image, out]).await.succeeded();
            two.exec(&["rm", out]).await.succeeded();
        }

        // The original is gone, the first point too; the second one needs neither.
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        one.assert_as(&before.0).await;
        kvmctl.ok(&["backup", "delete", STORE, old, "--yes"]).await;
        assert_eq!(kvmctl.json(&["backup", "list", STORE]).await.as_array().map(Vec::len), Some(1));
        let third = format!("{vm}-third");
        let restore = ["restore", STORE, &vm, "--name", &third, "--host", "two", "--start"];
        let done = kvmctl.json(&restore).await;
        assert_eq!((done["name"].as_str(), done["backup"].as_str()), (Some(&*third), Some(new)), "{done}");
        assert_eq!(two.sh_in_guest(&third, SUM).await, sum, "what the guest wrote before is there");
        assert_eq!(two.sh_in_guest(&third, LATER).await, later, "and what it wrote between both points");
        kvmctl.ok(&["vm", "delete", &format!("two/{third}"), "--power-off", "--delete-volumes", "--yes"]).await;

        // A byte that flips in the store is found by both.
        let flip = "printf '\\377' | dd of=\"$0\" bs=1 seek=1000003 conv=notrunc 2>/dev/null";
        two.exec(&["sh", "-c", flip, &format!("{DIR}/{new}/vdb.raw")]).await.succeeded();
        let verified = kvmctl.run(&["backup", "verify", STORE, &vm, "-o", "json"]).await;
        assert_eq!(verified.code, Some(CORRUPT), "{verified}");
        let files: Value = serde_json::from_str(&verified.stdout).unwrap();
        let verdicts: Vec<_> = files["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["file"].as_str().unwrap(), it["verdict"].as_str().unwrap()))
            .collect();
        assert_eq!(verdicts, [("domain.xml", "matches"), ("vda.qcow2", "matches"), ("vdb.raw", "differs")]);
        let refused = kvmctl.run(&restore).await;
        assert_eq!(refused.code, Some(CORRUPT), "{refused}");
        assert!(refused.stderr.contains("vdb.raw"), "{refused}");
        two.assert_as(&before.1).await;
        two.exec(&["rm", "-r", DIR]).await.succeeded();
        assert_eq!(kvmctl.run(&["backup", "list", STORE]).await.code, Some(NOT_FOUND));
    });
}

#[test]
fn a_machine_with_uefi_that_is_off_is_set_back_in_its_place_and_an_overlay_becomes_whole() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = one.stock().await;
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, two, &["--firmware", "uefi"]).await;
        let sum = one.sh_in_guest(&vm, SUM).await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        // From here on its disks are overlays.
        kvmctl.ok(&["snap", "create", &vm, "layer", "--external", "--disk-only"]).await;
        let planned = kvmctl.ok(&["backup", "create", &vm, STORE, "--dry-run"]).await;
        assert!(planned.contains("which becomes whole") && planned.contains("nvram"), "{planned}");
        let made = kvmctl.json(&["backup", "create", &vm, STORE]).await;
        assert_eq!(made["consistency"], "off");
        kvmctl.ok(&["snap", "delete", &vm, "layer", "--yes"]).await;
        kvmctl.ok(&["vm", "start", &vm]).await;
        one.sh_in_guest(&vm, "pat write /dev/vdb 0 16 spoilt && sync").await;
        assert_ne!(one.sh_in_guest(&vm, SUM).await, sum);
        let refused = kvmctl.run(&["restore", STORE, &vm, "--in-place", "--yes"]).await;
        assert!(refused.stderr.contains("must be off"), "{refused}");
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let id = kvmctl.json(&["vm", "show", &vm]).await["id"].clone();
        let done = kvmctl.json(&["restore", STORE, &vm, "--in-place", "--yes"]).await;
        assert_eq!((&done["id"], done["kept"].as_array().map(Vec::len)), (&id, Some(2)), "{done}");
        kvmctl.ok(&["vm", "start", &vm]).await;
        assert_eq!(one.sh_in_guest(&vm, SUM).await, sum);
        // What it had before is there until somebody deletes it.
        for kept in done["kept"].as_array().unwrap() {
            let name = kept.as_str().unwrap().rsplit('/').next().unwrap();
            kvmctl.ok(&["vol", "delete", &format!("default/{name}"), "--yes"]).await;
        }
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        one.exec(&["sh", "-c", &format!("rm -f /var/lib/libvirt/qemu/nvram/{vm}_VARS*.fd")]).await.succeeded();
        one.assert_as(&before).await;
        two.exec(&["rm", "-r", DIR]).await.succeeded();
    });
}

#[test]
fn a_backup_that_is_cut_short_is_completed_or_taken_back_and_never_seen_half() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, two, &[]).await;
        one.sh_in_guest(&vm, "dd if=/dev/urandom of=/dev/vdb bs=1M count=60 seek=2 conv=fsync 2>/dev/null").await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let source = one.stock().await;
        let create = ["backup", "create", &vm, STORE, "--bandwidth", "16M", "--full"];
        let rehearsal = kvmctl.run(&create).await;
        let length = rehearsal.took;
        rehearsal.succeeded();
        kvmctl.ok(&["backup", "delete", STORE, &newest(&kvmctl).await.unwrap(), "--yes"]).await;
        assert_eq!(stored(two).await, [""; 0]);

        let mut interrupted = 0;
        for (signal, mut way, moment) in [
            (Signal::KILL, "resume", 0.6),
            (Signal::KILL, "undo", 0.4),
            (Signal::INT, "undo", 0.5),
            (Signal::KILL, "undo", 0.9),
        ] {
            let running = kvmctl.start(&create);
            moment_passes(length.mul_f64(moment)).await;
            running.signal(signal);
            let ended = running.ended().await;
            assert!(!ended.stderr.contains("panicked"), "{ended}");
            if ended.code != Some(0) {
                interrupted += 1;
                // Killed in the moment after it got its name, it is whole, and stays.
                if let Some(point) = newest(&kvmctl).await {
                    kvmctl.ok(&["backup", "verify", STORE, &point]).await;
                    way = "resume";
                }
            }
            for operation in kvmctl.json(&["op", "list", "--open"]).await.as_array().into_iter().flatten() {
                let id = Value::as_str(&operation["operation"]).unwrap_or_default();
                kvmctl.ok(&["op", way, id]).await;
            }
            if let Some(point) = newest(&kvmctl).await {
                kvmctl.ok(&["backup", "verify", STORE, &point]).await;
                kvmctl.ok(&["backup", "delete", STORE, &point, "--yes"]).await;
            }
            assert_eq!(stored(two).await, [""; 0], "{signal:?} {way} {moment}");
            one.assert_as(&source).await;
        }
        // Else the moments were badly chosen, and nothing was proved.
        assert!(interrupted >= 2, "{interrupted} of 4 were interrupted");
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        two.exec(&["rm", "-r", DIR]).await.succeeded();
    });
}

/// The newest point that is seen.
async fn newest(kvmctl: &Kvmctl) -> Option<String> {
    let list = kvmctl.json(&["backup", "list", STORE]).await;
    list.as_array()?.last().map(|point| point["backup"].as_str().unwrap().to_owned())
}
