//! The images of one machine on their way to another host at the same time: within one limit of bandwidth, and what was
//! under way when `kvmctl` was killed or the link cut is gone on with, of all of them.

#![expect(clippy::print_stdout, reason = "what was found is for people, and for the script that adds it up")]

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_two_hosts};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(480);
const DISKS: [&str; 3] = ["a", "b", "c"];
/// So much of each disk is full of what does not shrink, in MiB.
const FULL: u64 = 32;
const ALL: u64 = FULL * DISKS.len() as u64;
/// Most bytes per second over all.
const RATE: u64 = 8;
/// A busy machine has time for these.
const SOON: Duration = Duration::from_secs(60);
/// The host did not answer.
const UNAVAILABLE: i32 = 8;

/// A machine that is off, with three disks.
async fn machine(kvmctl: &Kvmctl, host: &LabHost) -> String {
    let vm = host.unique("trio");
    let disks = DISKS.map(|disk| format!("64M,name={vm}-{disk}.raw,format=raw"));
    let disks = disks.iter().flat_map(|disk| ["--disk", disk]);
    let rest = ["--memory", "64M", "--vcpus", "1", "--network", "none"];
    let create: Vec<_> = ["vm", "create", &vm].into_iter().chain(disks).chain(rest).collect();
    kvmctl.ok(&create).await;
    for disk in DISKS {
        let (of, count) = (format!("of={}", image(&vm, disk)), format!("count={FULL}"));
        host.exec(&["dd", "if=/dev/urandom", &of, "bs=1M", &count, "seek=8", "conv=notrunc"]).await.succeeded();
    }
    vm
}

fn image(vm: &str, disk: &str) -> String {
    format!("/var/lib/libvirt/images/{vm}-{disk}.raw")
}

async fn sums(host: &LabHost, vm: &str) -> Vec<String> {
    let mut sums = Vec::new();
    for disk in DISKS {
        sums.push(host.sha256(&image(vm, disk)).await);
    }
    sums
}

/// How much of each image has arrived, in MiB, as long as it has not its name.
fn arrived(host: &LabHost, vm: &str) -> Vec<u64> {
    let partial = |disk| std::fs::metadata(host.file(format!("{}.partial", image(vm, disk))));
    DISKS.into_iter().filter_map(|disk| Some((partial(disk).ok()?.blocks() * 512) >> 20)).collect()
}

async fn open(kvmctl: &Kvmctl) -> Vec<String> {
    let open = kvmctl.open_operations().await;
    open.iter().map(|one| one["operation"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn three_images_go_at_the_same_time_within_one_limit_and_so_does_what_changed_of_them() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one).await;
        let (twin, rate) = (format!("{vm}-twin"), format!("{RATE}M"));
        let clone = ["clone", &vm, "two", "--name", &twin, "--parallel", "3", "--bandwidth", &rate];
        let running = kvmctl.start(&clone);
        let all = async || (arrived(two, &twin).iter().filter(|mib| **mib > 1).count() == DISKS.len()).then_some(());
        eventually(SOON, "a part of each image", all).await;
        let ended = running.ended().await;
        let took = ended.took;
        ended.succeeded();
        let least = Duration::from_secs(ALL / RATE).mul_f64(0.95);
        println!("{ALL} MiB in three images at {RATE} MiB per second: {took:.2?}");
        assert!(took > least, "{took:?} is faster than the limit allows: {least:?}");
        assert_eq!(sums(two, &twin).await, sums(one, &vm).await);
        kvmctl.ok(&["vm", "delete", &format!("two/{twin}"), "--delete-volumes", "--yes"]).await;

        // By the other program, to a replica, and then what changed.
        for count in ["3", "2"] {
            let sync = ["sync", "one", "two", &vm, "--parallel", count];
            kvmctl.kvm_clone(&sync).run().await.succeeded();
            assert_eq!(sums(two, &vm).await, sums(one, &vm).await);
            for disk in DISKS {
                let of = format!("of={}", image(&vm, disk));
                one.exec(&["dd", "if=/dev/urandom", &of, "bs=1M", "count=3", "conv=notrunc"]).await.succeeded();
            }
        }
        for place in [format!("two/{vm}"), format!("one/{vm}")] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn images_that_were_under_way_together_are_completed_without_sending_what_had_arrived() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one).await;
        let (source, target) = (one.stock().await, two.stock().await);
        let (twin, rate) = (format!("{vm}-twin"), format!("{RATE}M"));
        let clone = ["clone", &vm, "two", "--name", &twin, "--parallel", "3", "--bandwidth", &rate];
        for is_cut in [false, true] {
            let running = kvmctl.start(&clone);
            let half = async || Some(arrived(two, &twin)).filter(|mib| mib.iter().sum::<u64>() > ALL / 2);
            let (there, _) = eventually(SOON, "half of the images", half).await;
            assert_eq!(there.len(), DISKS.len(), "one at a time: {there:?}");
            if is_cut {
                two.fault(&["cut"]).await;
            } else {
                running.signal(Signal::KILL);
            }
            let ended = running.ended().await;
            if is_cut {
                assert_eq!(ended.code, Some(UNAVAILABLE), "{ended}");
                two.fault(&["heal"]).await;
                let is_gone =
                    async || (two.exec(&["pgrep", "-f", "kvm-manager/helper-"]).await.code == Some(1)).then_some(());
                eventually(SOON * 2, "the end of the helpers there", is_gone).await;
            }
            let ids = open(&kvmctl).await;
            let [id] = &ids[..] else { panic!("one operation is to be open, not {ids:?}: {ended}") };
            assert!(!two.virsh(&["list", "--all", "--name"]).await.contains(&twin), "half a clone is seen");
            let (there, before) = (arrived(two, &twin).iter().sum::<u64>(), two.heard().await);
            kvmctl.ok(&["op", "resume", id]).await;
            let sent = two.heard().await - before;
            println!("{there} of {ALL} MiB had arrived; {sent} MiB were sent to complete the clone");
            // What was under way of each image, and what it takes to log in and to compare.
            assert!(sent < ALL - there + 12, "{there} of {ALL} MiB had arrived, and {sent} were sent");
            assert_eq!(sums(two, &twin).await, sums(one, &vm).await);
            kvmctl.ok(&["vm", "delete", &format!("two/{twin}"), "--delete-volumes", "--yes"]).await;
            two.assert_as(&target).await;
            one.assert_as(&source).await;
        }
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}
