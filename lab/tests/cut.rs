//! The link to the other host is cut in the middle of a clone and stays so: `kvmctl` says it soon, and once the link is back
//! the clone is completed; so is all else that copies, at once, and without sending what had arrived. And how long it takes
//! until a clone that somebody stops is taken back.

#![expect(clippy::print_stdout, reason = "what was found is for people, and for the script that adds it up")]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kvm_lab::{Kvmctl, LabHost, eventually, on_two_hosts};
use rustix::process::Signal;

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

/// Where this test stores backups, on either host.
const STORE: &str = "/var/lib/libvirt/cut";
/// So much of each disk is full of what does not shrink, in MiB.
const FULL: u64 = 60;
/// So much of an image has arrived at least when the link is cut, in MiB.
const SOME: u64 = 20;

/// A machine that is off, with so much to copy that there is a middle.
async fn machine(kvmctl: &Kvmctl, host: &LabHost, stem: &str) -> String {
    let vm = host.unique(stem);
    let disk = format!("64M,name={vm}.raw,format=raw");
    kvmctl.ok(&["vm", "create", &vm, "--disk", &disk, "--memory", "64M", "--network", "none"]).await;
    write(host, &vm).await;
    vm
}

fn image(vm: &str) -> String {
    format!("/var/lib/libvirt/images/{vm}.raw")
}

/// Fills a machine's disk with something new.
async fn write(host: &LabHost, vm: &str) {
    let (of, count) = (format!("of={}", image(vm)), format!("count={FULL}"));
    host.exec(&["dd", "if=/dev/urandom", &of, "bs=1M", &count, "conv=notrunc"]).await.succeeded();
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

/// What is not finished on a host, by any name: how much there is of it, in MiB, and where.
async fn unfinished(host: &LabHost) -> Vec<(u64, String)> {
    let names = ["*.partial", "*.sync", "*.waiting", "*.unfinished", ".kvmm-*"];
    let names = names.iter().flat_map(|name| ["-o", "-name", name]).skip(1);
    let find = ["find", "/var/lib/libvirt/images", "/var/lib/libvirt/qemu", STORE, "("]
        .into_iter()
        .chain(names)
        .chain([")", "-printf", "%k %p\\n"]);
    let found = host.exec(&find.collect::<Vec<_>>()).await.stdout;
    let found = found.lines().filter_map(|line| line.split_once(' '));
    found.map(|(size, path)| (size.parse::<u64>().unwrap_or_default() >> 10, path.to_owned())).collect()
}

#[test]
fn a_link_that_stays_cut_is_given_up_soon_and_the_clone_completed_once_it_is_back() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one, "cut").await;
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
        let open = kvmctl.open_operations().await;
        let [operation] = &open[..] else { panic!("one operation is to be open, not {open:?}: {ended}") };
        let id = operation["operation"].as_str().unwrap();
        // The helper there hears from its own signs of life that nobody is behind it any more; until then it holds what has
        // arrived, and who goes on waits for it.
        let resumed = kvmctl.run(&["op", "resume", id]).await;
        println!("once it is back, the clone is completed in {:.1?}", resumed.took);
        resumed.succeeded();
        assert_eq!(two.sha256(&image(&twin)).await, one.sha256(&image(&vm)).await);
        kvmctl.ok(&["vm", "delete", &format!("two/{twin}"), "--delete-volumes", "--yes"]).await;
        two.assert_as(&target).await;
        one.assert_as(&source).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}

#[test]
fn whatever_copies_goes_on_right_after_a_cut_and_sends_the_rest_alone() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let empty = (one.stock().await, two.stock().await);
        for host in [one, two] {
            // One that failed has left its own.
            host.exec(&["rm", "-rf", STORE]).await.succeeded();
            host.exec(&["mkdir", STORE]).await.succeeded();
        }
        let stems = ["first", "later", "undone", "moved", "stored", "restored", "pulled"];
        let mut all = Vec::new();
        for stem in stems {
            all.push(machine(&kvmctl, one, stem).await);
        }
        let [first, later, undone, moved, stored, restored, pulled] = &all[..] else { panic!("{all:?}") };
        // Two have a replica already, of which nothing is left in their images; two are stored, one on each host.
        for vm in [later, undone] {
            kvmctl.ok(&["sync", vm, "two"]).await;
            write(one, vm).await;
        }
        let stores = [format!("one:{STORE}"), format!("two:{STORE}")];
        kvmctl.ok(&["backup", "create", restored, &stores[0]]).await;
        kvmctl.ok(&["backup", "create", pulled, &stores[1]]).await;
        let original = one.sha256(&image(moved)).await;
        let backs = [format!("{restored}-back"), format!("{pulled}-back")];

        let [to, from] = [&stores[1], &stores[0]];
        let commands: [&[&str]; 7] = [
            &["sync", first, "two"],
            &["sync", later, "two"],
            &["sync", undone, "two"],
            &["move", moved, "two", "--yes"],
            &["backup", "create", stored, to],
            &["restore", from, restored, "--host", "two", "--name", &backs[0]],
            &["restore", to, pulled, "--name", &backs[1]],
        ];
        let running: Vec<_> =
            commands.iter().map(|command| kvmctl.start(&[command, &["--bandwidth", "2M"][..]].concat())).collect();
        let middle = async || {
            let there = [unfinished(one).await, unfinished(two).await].concat();
            let has_some = |vm: &String| there.iter().any(|(size, path)| *size >= SOME && path.contains(vm.as_str()));
            all.iter().all(has_some).then_some(())
        };
        eventually(SOON, "some of each image", middle).await;
        two.fault(&["cut"]).await;
        for (ended, command) in join_all(running.into_iter().map(kvm_lab::Running::ended)).await.iter().zip(commands) {
            assert_eq!(ended.code, Some(UNAVAILABLE), "{command:?}: {ended}");
        }
        // What comes from the host that was cut off was written here, and is taken back already.
        let open = kvmctl.open_operations().await;
        assert!(open.len() == 6 && unfinished(one).await.is_empty(), "{open:?}, {:?}", unfinished(one).await);
        let id = |vm: &String| {
            let of = open.iter().find(|one| one["title"].as_str().is_some_and(|title| title.contains(vm.as_str())));
            of.and_then(|one| one["operation"].as_str()).unwrap_or_else(|| panic!("nothing is open of {vm}: {open:?}"))
        };
        let there = unfinished(two).await.into_iter().filter(|(_, path)| !path.contains(undone.as_str()));
        let there = there.map(|(size, _)| size).sum::<u64>();
        let before = two.heard().await;
        two.fault(&["heal"]).await;

        // At once: the helpers there hold everything as yet.
        let resumed = async |vm: &String| kvmctl.program(&["op", "resume", id(vm)]).within(LIMIT).run().await;
        let undone_and_again = async {
            kvmctl.ok(&["op", "undo", id(undone)]).await;
            kvmctl.program(&["sync", undone, "two"]).within(LIMIT).run().await
        };
        let going_on = [first, later, moved, stored, restored];
        let (resumed, again) = tokio::join!(join_all(going_on.map(resumed)), undone_and_again);
        let sent = two.heard().await - before;
        let waited = resumed.iter().filter(|ended| ended.stderr.contains("is waited for")).count();
        let took = resumed.iter().map(|ended| ended.took).max().unwrap_or_default();
        resumed.into_iter().chain([again]).for_each(|ended| drop(ended.succeeded()));
        let rest = FULL * 5 - there;
        println!("{there} of {} MiB had arrived; {sent} MiB were sent for the rest and another {FULL}", FULL * 5);
        println!("all six were done after {took:.1?}, {waited} of five had waited for a helper that was left");
        // Whether somebody has to wait is for TCP's timers to say; what is sent again is not.
        // Of each what was under way, and what it takes to log in and to compare: less than had arrived of any.
        assert!(there >= SOME * 5 && sent < rest + FULL + SOME, "{sent} MiB");

        assert!(kvmctl.open_operations().await.is_empty());
        for host in [one, two] {
            assert_eq!(unfinished(host).await, [], "{}", host.name());
        }
        assert_eq!(two.sha256(&image(moved)).await, original);
        for (vm, copy) in [(first, first), (later, later), (undone, undone), (restored, &backs[0])] {
            assert_eq!(two.sha256(&image(copy)).await, one.sha256(&image(vm)).await, "{vm}");
        }
        assert_eq!(kvmctl.json(&["backup", "verify", to, stored]).await["verdict"], "matches");
        let file = two.exec(&["find", &format!("{STORE}/{stored}"), "-name", "vda.raw"]).await.succeeded();
        assert_eq!(two.sha256(file.trim()).await, one.sha256(&image(stored)).await);

        let there = [first, later, undone, moved, &backs[0]].map(|vm| format!("two/{vm}"));
        let here = all.iter().filter(|vm| *vm != moved).cloned();
        for vm in there.into_iter().chain(here) {
            kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        }
        for (host, empty) in [(one, empty.0), (two, empty.1)] {
            host.exec(&["rm", "-r", STORE]).await.succeeded();
            host.assert_as(&empty).await;
        }
    });
}

#[test]
fn a_clone_that_is_stopped_is_taken_back_before_the_program_ends() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one, "cut").await;
        let (source, target) = (one.stock().await, two.stock().await);
        let twin = format!("{vm}-twin");
        let running = kvmctl.start(&["clone", &vm, "two", "--name", &twin, "--bandwidth", "4M"]);
        half(two, &twin).await;
        running.signal(Signal::INT);
        let begun = Instant::now();
        let ended = running.ended().await;
        println!("from Ctrl-C to the end of the program, all taken back: {:.2?}", begun.elapsed());
        assert_eq!(ended.code, Some(CANCELLED), "{ended}");
        assert!(kvmctl.open_operations().await.is_empty(), "{ended}");
        two.assert_as(&target).await;
        one.assert_as(&source).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}
