//! The link to the other host is cut in the middle of a clone and stays so: `kvmctl` says it soon, and once the link is back
//! the clone is completed. And how long it takes until a clone that somebody stops is taken back.

#![expect(clippy::print_stdout, reason = "what was found is for people, and for the script that adds it up")]

use std::time::{Duration, Instant};

use kvm_lab::{Kvmctl, LabHost, eventually, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(420);
/// In the time of a stall, 30 seconds, silence is taken for a cut; then it is tried to take back what was done: up to two more
/// attempts to log in, of at most 30 seconds each, which do not come about.
const SAID: Duration = Duration::from_secs(100);
/// A busy machine has time for these.
const SOON: Duration = Duration::from_secs(60);
/// The host did not answer.
const UNAVAILABLE: i32 = 8;
/// Somebody asked for its end.
const CANCELLED: i32 = 130;

/// A machine that is off, with so much to copy that there is a middle.
async fn machine(kvmctl: &Kvmctl, host: &LabHost) -> String {
    let vm = host.unique("cut");
    let disk = format!("64M,name={vm}.raw,format=raw");
    kvmctl.ok(&["vm", "create", &vm, "--disk", &disk, "--memory", "64M", "--network", "none"]).await;
    let image = format!("of=/var/lib/libvirt/images/{vm}.raw");
    host.exec(&["dd", "if=/dev/urandom", &image, "bs=1M", "count=60", "conv=notrunc"]).await.succeeded();
    vm
}

/// Waits until some of the image has arrived.
async fn half(two: &LabHost, twin: &str) {
    let partial = two.file(format!("/var/lib/libvirt/images/{twin}.raw.partial"));
    let some = async || {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(&partial).ok().filter(|file| file.blocks() * 512 > 4 << 20).map(drop)
    };
    eventually(SOON, "a part of the image", some).await;
}

async fn open(kvmctl: &Kvmctl) -> Vec<String> {
    let open = kvmctl.json(&["op", "list", "--open"]).await;
    let ids = open.as_array().into_iter().flatten();
    ids.map(|one| Value::as_str(&one["operation"]).unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_link_that_stays_cut_is_given_up_soon_and_the_clone_completed_once_it_is_back() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one).await;
        let (source, target) = (one.stock().await, two.stock().await);
        let twin = format!("{vm}-twin");
        let running = kvmctl.start(&["clone", &vm, "two", "--name", &twin, "--bandwidth", "4M"]);
        half(two, &twin).await;
        two.fault(&["cut"]).await;
        let begun = Instant::now();
        let ended = running.ended().await;
        let took = begun.elapsed();
        assert_eq!(ended.code, Some(UNAVAILABLE), "{ended}");
        assert!(took < SAID, "{took:?}: {ended}");
        println!("a link that stays cut is told after {took:.1?}");
        two.fault(&["heal"]).await;
        let ids = open(&kvmctl).await;
        let [id] = &ids[..] else { panic!("one operation is to be open, not {ids:?}: {ended}") };
        // The helper there hears from its own signs of life that nobody is behind it any more; until then it holds what has
        // arrived, and who goes on waits for it.
        let resumed = kvmctl.run(&["op", "resume", id]).await;
        println!("once it is back, the clone is completed in {:.1?}", resumed.took);
        resumed.succeeded();
        let images = [(one, &vm), (two, &twin)];
        let mut sums = Vec::new();
        for (host, name) in images {
            let printed = host.exec(&["sha256sum", &format!("/var/lib/libvirt/images/{name}.raw")]).await.succeeded();
            sums.push(printed.split(' ').next().unwrap_or_default().to_owned());
        }
        assert_eq!(sums[0], sums[1]);
        kvmctl.ok(&["vm", "delete", &format!("two/{twin}"), "--delete-volumes", "--yes"]).await;
        two.assert_as(&target).await;
        one.assert_as(&source).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}

#[test]
fn a_clone_that_is_stopped_is_taken_back_before_the_program_ends() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one).await;
        let (source, target) = (one.stock().await, two.stock().await);
        let twin = format!("{vm}-twin");
        let running = kvmctl.start(&["clone", &vm, "two", "--name", &twin, "--bandwidth", "4M"]);
        half(two, &twin).await;
        running.signal(Signal::INT);
        let begun = Instant::now();
        let ended = running.ended().await;
        println!("from Ctrl-C to the end of the program, all taken back: {:.2?}", begun.elapsed());
        assert_eq!(ended.code, Some(CANCELLED), "{ended}");
        assert!(open(&kvmctl).await.is_empty(), "{ended}");
        two.assert_as(&target).await;
        one.assert_as(&source).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}
