//! Figures of copies between two hosts that are printed and not judged: how near a cap of bandwidth is kept, how much
//! memory a large image takes on each side, and how long one is planned. `docs/performance.md` has some.
//!
//! `KVM_PROOF=long` sends for so long that the figures mean something.

#![expect(clippy::print_stdout, reason = "what was found is for people, and for the script that adds it up")]

use std::fs;
use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, moment_passes, on_two_hosts};

const LIMIT: Duration = Duration::from_secs(540);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so in no other way")]
fn is_long() -> bool {
    std::env::var("KVM_PROOF").is_ok_and(|form| form == "long")
}

async fn machine(kvmctl: &Kvmctl, host: &LabHost, size: &str) -> String {
    let vm = host.unique("measured");
    let disk = format!("{size},name={vm}.raw,format=raw");
    let machine = ["--memory", "64M", "--network", "none", "--allow-overcommit"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk][..], &machine].concat()).await;
    vm
}

fn image(vm: &str) -> String {
    format!("/var/lib/libvirt/images/{vm}.raw")
}

/// The most memory that a process has had so far, in KiB.
fn peak(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// The peaks of `kvmctl` processes that this one has started.
fn peak_of_ours() -> u64 {
    let me = format!("PPid:\t{}", std::process::id());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let statuses = processes.filter_map(|process| fs::read_to_string(process.path().join("status")).ok());
    let ours = statuses.filter(|status| status.starts_with("Name:\tkvmctl") && status.contains(&me));
    ours.map(|status| peak(&status)).max().unwrap_or_default()
}

/// The peaks of the helpers that are at work on a host now.
async fn peaks_of_helpers(host: &LabHost) -> Vec<u64> {
    let script = "for p in $(pgrep kvm-manager/helper- -f); do grep VmHWM /proc/$p/status; done";
    let printed = host.exec(&["sh", "-c", script]).await.stdout;
    printed.lines().map(peak).collect()
}

async fn peak_of_helper(host: &LabHost) -> u64 {
    peaks_of_helpers(host).await.into_iter().max().unwrap_or_default()
}

#[test]
fn a_cap_of_bandwidth_as_it_is_kept() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let seconds = if is_long() { 6 } else { 1 };
        for cap in [8u64, 50] {
            // Two images of different length: in what their copies differ is nothing but the sending.
            let sizes = [cap * seconds, 3 * cap * seconds];
            let mut times = Vec::new();
            for size in sizes {
                let vm = machine(&kvmctl, one, &format!("{size}M")).await;
                let (of, count) = (format!("of={}", image(&vm)), format!("count={size}"));
                one.exec(&["dd", "if=/dev/urandom", &of, "bs=1M", &count, "conv=notrunc"]).await.succeeded();
                let (twin, cap) = (format!("{vm}-twin"), format!("{cap}M"));
                let capped = kvmctl.run(&["clone", &vm, "two", "--name", &twin, "--bandwidth", &cap]).await;
                times.push(capped.took);
                capped.succeeded();
                for vm in [format!("two/{twin}"), vm] {
                    kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
                }
            }
            let least = Duration::from_secs(sizes[1] / cap).mul_f64(0.9);
            assert!(times[1] > least, "{cap}M: {} MiB took {:?}", sizes[1], times[1]);
            let more = (sizes[1] - sizes[0]) as f64 / times[1].saturating_sub(times[0]).as_secs_f64();
            println!("cap {cap}M: {more:.2} MiB/s");
        }
    });
}

#[test]
fn a_large_image_is_planned_and_copied_in_little_memory() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one, "1T").await;
        one.exec(&["fallocate", "-l", "10G", &image(&vm)]).await.succeeded();
        let planned = kvmctl.run(&["clone", &vm, "two", "--dry-run"]).await;
        println!("1 TiB, 10 GiB of it allocated: planned in {:.2?}", planned.took);
        assert!(planned.succeeded().contains("1 TiB"));
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;

        let vm = machine(&kvmctl, one, "64G").await;
        let parts = if is_long() { 256 } else { 16 };
        for part in 0..parts {
            let (of, seek) = (format!("of={}", image(&vm)), format!("seek={}", part * (65536 / parts)));
            one.exec(&["dd", "if=/dev/urandom", &of, "bs=1M", "count=1", &seek, "conv=notrunc"]).await.succeeded();
        }
        let twin = format!("{vm}-twin");
        let running = kvmctl.start(&["clone", &vm, "two", "--name", &twin]);
        let mut peaks = [0; 3];
        let watch = async {
            loop {
                let now = [peak_of_ours(), peak_of_helper(one).await, peak_of_helper(two).await];
                peaks.iter_mut().zip(now).for_each(|(peak, now)| *peak = now.max(*peak));
                moment_passes(LOOK).await;
            }
        };
        let ended = tokio::select! {
            () = watch => unreachable!(),
            ended = running.ended() => ended,
        };
        println!("64 GiB with {parts} MiB all over it: cloned in {:.2?}", ended.took);
        ended.succeeded();
        assert!(peaks.iter().all(|peak| *peak > 0), "nobody was seen: {peaks:?}");
        let [ours, source, target] = peaks.map(|peak| peak >> 10);
        println!("peaks of memory: kvmctl {ours} MiB, the helpers {source} and {target} MiB");
        for vm in [format!("two/{twin}"), vm] {
            kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        }
    });
}

#[test]
fn four_images_at_a_time_are_copied_in_little_memory() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let (vm, size) = (one.unique("measured"), if is_long() { 1024 } else { 128 });
        let disks = ["a", "b", "c", "d"];
        let options = disks.map(|disk| format!("4G,name={vm}-{disk}.raw,format=raw"));
        let options = options.iter().flat_map(|disk| ["--disk", disk]);
        let rest = ["--memory", "64M", "--network", "none"];
        let create: Vec<_> = ["vm", "create", &vm].into_iter().chain(options).chain(rest).collect();
        kvmctl.ok(&create).await;
        for disk in disks {
            let (of, count) = (format!("of={}", image(&format!("{vm}-{disk}"))), format!("count={size}"));
            one.exec(&["dd", "if=/dev/urandom", &of, "bs=1M", &count, "conv=notrunc"]).await.succeeded();
        }
        let twin = format!("{vm}-twin");
        for count in ["1", "2", "4"] {
            let clone = ["clone", &vm, "two", "--name", &twin, "--no-compress", "--parallel", count];
            let running = kvmctl.start(&clone);
            let (mut peaks, mut most) = ([0; 3], 0);
            let watch = async {
                loop {
                    let (here, there) = (peaks_of_helpers(one).await, peaks_of_helpers(two).await);
                    most = most.max(here.len()).max(there.len());
                    let now = [peak_of_ours(), here.iter().sum(), there.iter().sum()];
                    peaks.iter_mut().zip(now).for_each(|(peak, now)| *peak = now.max(*peak));
                    moment_passes(LOOK).await;
                }
            };
            let ended = tokio::select! {
                () = watch => unreachable!(),
                ended = running.ended() => ended,
            };
            let took = ended.took;
            ended.succeeded();
            assert!(peaks.iter().all(|peak| *peak > 0), "nobody was seen: {peaks:?}");
            let [ours, source, target] = peaks.map(|peak| peak >> 10);
            println!(
                "{count} of four images of {size} MiB at a time: cloned in {took:.2?}, {most} helpers at a time on a host"
            );
            println!("peaks of memory: kvmctl {ours} MiB, all helpers of a host {source} and {target} MiB");
            kvmctl.ok(&["vm", "delete", &format!("two/{twin}"), "--delete-volumes", "--yes"]).await;
        }
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}
