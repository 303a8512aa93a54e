//! Several programs, on computers that know nothing of each other, work on one machine at the same moment: the nightly backup
//! and the replica's sync, clones for two people, and somebody who takes a snapshot meanwhile.

#![expect(clippy::print_stdout, reason = "what was found is for people")]

use std::time::Duration;

use kvm_core::{Entropy as _, SeededEntropy};
use kvm_lab::{Ended, Kvmctl, LabHost, eventually, moment_passes, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(560);
/// Somebody else is at work on it.
const BUSY: i32 = 75;
const STORE: &str = "/var/lib/libvirt/backup";
/// A busy machine has time for these.
const SOON: Duration = Duration::from_secs(60);

/// A guest that boots by itself and writes all the time behind its first 16 MiB, which never change.
async fn guest(kvmctl: &Kvmctl, host: &LabHost) -> String {
    let vm = host.unique("wanted");
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let data = format!("64M,name={vm}-data.raw,format=raw");
    let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
    host.sh_in_guest(&vm, "pat write /dev/vdb 0 16 seed && sync").await;
    let script = "touch /run/writing; (i=0; while [ -e /run/writing ]; do pat write /dev/vdb $((32 + i % 24)) 1 w$i; \
                  i=$((i + 1)); echo $i > /run/written; done) > /dev/null 2>&1 &";
    host.sh_in_guest(&vm, script).await;
    vm
}

/// The digest of what never changes in an image.
async fn sum(host: &LabHost, image: &str) -> String {
    let script = "set -e; test -s \"$1\"; head -c 16777216 \"$1\" | sha256sum";
    let printed = host.exec(&["sh", "-c", script, "sum", image]).await.succeeded();
    printed.split(' ').next().unwrap_or_default().to_owned()
}

/// All files that belong to machines: names, not contents.
async fn files(host: &LabHost) -> String {
    let places = ["/var/lib/libvirt/images", "/var/lib/libvirt/qemu/snapshot", "/var/lib/libvirt/qemu/checkpoint"];
    let found = host.exec(&[&["find"], &places[..], &["-type", "f"]].concat()).await.succeeded();
    let mut names: Vec<_> = found.lines().collect();
    names.sort_unstable();
    names.join("\n")
}

async fn disks(kvmctl: &Kvmctl, vm: &str) -> Vec<String> {
    let disks = kvmctl.json(&["disk", "list", vm]).await;
    disks.as_array().into_iter().flatten().map(|disk| disk["source"].to_string()).collect()
}

/// Whether it was done. Otherwise somebody else was at it, who is named, and it says what to do.
fn is_done(ended: &Ended, what: &str) -> bool {
    match ended.code {
        Some(0) => true,
        Some(BUSY) => {
            assert!(ended.stderr.contains("is being copied since "), "{what}: {ended}");
            assert!(ended.stderr.contains("hint: try again"), "{what}: {ended}");
            false
        }
        _ => panic!("{what}: {ended}"),
    }
}

#[test]
fn copies_of_one_running_machine_by_several_programs_are_whole_or_refused_and_leave_it_as_it_was() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let users = [Kvmctl::at_both(one, two), Kvmctl::at_both(one, two)];
        let vm = guest(&users[0], one).await;
        two.exec(&["mkdir", "-p", STORE]).await.succeeded();
        let (original, own, here) = (disks(&users[0], &vm).await, sum(one, &data(&vm)).await, files(one).await);
        let store = format!("two:{STORE}");
        let twins = [format!("{vm}-a"), format!("{vm}-b")];
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let clone = |twin: &str| words(&["clone", &vm, "two", "--name", twin]);
        let (backup, sync) = (words(&["backup", "create", &vm, &store]), words(&["sync", &vm, "two"]));
        let snapshot = words(&["snap", "create", &vm, "between", "--external", "--disk-only"]);
        let pairs = [
            [clone(&twins[0]), clone(&twins[1])],
            [backup.clone(), sync.clone()],
            [clone(&twins[0]), snapshot],
            [sync, backup],
            [clone(&twins[0]), clone(&twins[1])],
        ];
        let entropy = SeededEntropy::new(7);
        let (mut done, mut refused) = (0, 0);
        for (round, commands) in pairs.iter().enumerate() {
            // The other one comes at the same moment, or when the first is at work.
            let jitter = Duration::from_millis(u64::from(entropy.uuid().as_bytes()[0]) * 8 * (round as u64 % 3));
            let first = users[0].start(&commands[0]);
            moment_passes(jitter).await;
            let second = users[1].start(&commands[1]);
            for (ended, command) in [first.ended().await, second.ended().await].iter().zip(commands) {
                let what = format!("round {round}, {jitter:?}: {command:?}");
                match is_done(ended, &what) {
                    true => done += 1,
                    false => refused += 1,
                }
            }
            for user in &users {
                let open = user.json(&["op", "list", "--open"]).await;
                assert_eq!(open.as_array().map(Vec::len), Some(0), "round {round}: {open}");
            }
            if users[0].run(&["snap", "show", &vm, "between"]).await.code == Some(0) {
                users[0].ok(&["snap", "delete", &vm, "between", "--yes"]).await;
            }
            assert_eq!(disks(&users[0], &vm).await, original, "round {round}");
            assert_eq!(users[0].json(&["snap", "list", &vm]).await.as_array().map(Vec::len), Some(0), "round {round}");
            assert_eq!(files(one).await, here, "round {round}");
            for twin in &twins {
                let there = format!("two/{twin}");
                if users[0].run(&["vm", "show", &there]).await.code == Some(0) {
                    assert_eq!(sum(two, &data(twin)).await, own, "round {round}");
                    users[0].ok(&["vm", "delete", &there, "--delete-volumes", "--yes"]).await;
                }
            }
        }
        println!("{done} done, {refused} refused");
        // Nobody is in the way any more of those who were refused.
        users[1].ok(&["sync", &vm, "two"]).await;
        users[0].ok(&["backup", "create", &vm, &store]).await;
        assert!(done >= pairs.len(), "{done} done, {refused} refused");
        assert_eq!(sum(two, &data(&vm)).await, own, "the replica");
        users[0].ok(&["backup", "verify", &store, &vm]).await;
        let written = one.sh_in_guest(&vm, "cat /run/written").await.parse::<u64>().unwrap();
        one.sh_in_guest(&vm, &format!("while [ $(cat /run/written) -le {written} ]; do :; done")).await;

        let there = format!("two/{vm}");
        for place in [format!("one/{vm}"), there] {
            users[0].ok(&["vm", "delete", &place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        two.exec(&["rm", "-r", STORE]).await.succeeded();
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

fn data(vm: &str) -> String {
    format!("/var/lib/libvirt/images/{vm}-data.raw")
}

/// While a machine is copied, what another program would do to it is refused; and the copy that was killed goes on.
#[test]
fn a_machine_that_is_copied_stays_as_it_is_until_the_copy_is_done_or_given_up() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let (user, other) = (Kvmctl::at_both(one, two), Kvmctl::at_both(one, two));
        let vm = guest(&user, one).await;
        let here = files(one).await;
        let twin = format!("{vm}-twin");
        let running = user.start(&["clone", &vm, "two", "--name", &twin, "--bandwidth", "2M"]);
        let partial = two.file(format!("/var/lib/libvirt/images/{twin}-data.raw.partial"));
        let partials = [partial, two.file(format!("/var/lib/libvirt/images/{twin}.qcow2.partial"))];
        let some = async || partials.iter().any(|partial| partial.exists()).then_some(());
        eventually(SOON, "a part of an image", some).await;
        let open = user.json(&["op", "list", "--open"]).await;
        let id = Value::as_str(&open[0]["operation"]).unwrap().to_owned();
        for command in [
            &["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"][..],
            &["sync", &vm, "two"],
            &["clone", &vm, "two"],
            &["snap", "create", &vm, "between", "--external", "--disk-only"],
            &["disk", "attach", &vm, "16M"],
        ] {
            let ended = other.run(command).await;
            assert_eq!(ended.code, Some(BUSY), "{command:?}: {ended}");
            assert!(ended.stderr.contains("is being copied since "), "{command:?}: {ended}");
        }
        running.signal(Signal::KILL);
        running.ended().await;
        // The one who holds it is dead, and the machine is held still: also for those who come now.
        let refused = other.run(&["clone", &vm, "two"]).await;
        assert!(refused.code == Some(BUSY) && refused.stderr.contains("kvmctl op resume"), "{refused}");
        let ended = user.run(&["op", "resume", &id]).await;
        println!("{}", ended.stderr);
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_eq!(sum(two, &data(&twin)).await, sum(one, &data(&vm)).await);
        assert_eq!(files(one).await, here);
        for place in [format!("one/{vm}"), format!("two/{twin}")] {
            other.ok(&["vm", "delete", &place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}
