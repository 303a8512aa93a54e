//! A clone between two hosts whose `kvmctl` dies: at each point of its work that has a name, and at any moment. What comes
//! next completes it or takes it back; half a clone is never seen, and the original is what it was.
//!
//! The short form takes some of the points and of the moments, `KVM_PROOF=long` all of them; `scripts/prove-safety.sh`.

#![expect(clippy::print_stdout, reason = "what was found is for people, and for the script that adds it up")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::Duration;

use kvm_core::{Entropy as _, SeededEntropy};
use kvm_lab::{Ended, Kvmctl, LabHost, Stock, on_two_hosts};
use serde_json::Value;

/// The names of all points that a clone gets to, without how often it does.
const POINTS: &str = include_str!("failpoints.txt");
/// After these the clone may be seen: it is whole then.
const COMMIT: &str = "step.define.before#1";
/// Not in the state that something is in.
const INVALID_STATE: i32 = 5;
/// Signals.
const KILL: i32 = 9;

/// How much is done.
struct Extent {
    points: usize,
    moments: usize,
    seed: u64,
    limit: Duration,
}

impl Extent {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so in no other way")]
    fn asked_for() -> Self {
        let seed = std::env::var("KVM_PROOF_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        match std::env::var("KVM_PROOF").is_ok_and(|form| form == "long") {
            true => Self { points: usize::MAX, moments: 200, seed, limit: Duration::from_secs(4 * 3600) },
            false => Self { points: 10, moments: 5, seed, limit: Duration::from_secs(540) },
        }
    }
}

/// One machine that is off, and its clone that comes and goes.
struct Trial<'a> {
    one: &'a LabHost,
    two: &'a LabHost,
    kvmctl: Kvmctl,
    vm: String,
    twin: String,
    /// What both hosts hold without the clone.
    before: (Stock, Stock),
    /// The digests of what the disks hold.
    sums: [String; 2],
    /// The longest that it took until it was decided what became of the clone.
    longest: Duration,
}

impl<'a> Trial<'a> {
    /// A raw disk, an overlay with an image below it, and UEFI variables.
    async fn new(one: &'a LabHost, two: &'a LabHost) -> Self {
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = one.unique("mortal");
        let [base, top] = ["base", "top"].map(|part| format!("{vm}-{part}.qcow2"));
        let image = |name: &str| format!("/var/lib/libvirt/images/{name}");
        let write = async |name: &str, command: &str| {
            one.exec(&["qemu-io", "-f", "qcow2", "-c", command, &image(name)]).await.succeeded();
        };
        kvmctl.ok(&["vol", "create", &format!("default/{base}"), "16M"]).await;
        write(&base, "write -P 0x11 0 3M").await;
        kvmctl.ok(&["vol", "create", &format!("default/{top}"), "--backing", &format!("default/{base}")]).await;
        write(&top, "write -P 0x22 2M 2M").await;
        let disk = format!("volume=default/{top}");
        let data = format!("8M,name={vm}-data.raw,format=raw");
        let machine = ["--memory", "128M", "--vcpus", "1", "--network", "default", "--firmware", "uefi"];
        let create = ["vm", "create", &vm, "--disk", &disk, "--disk", &data, "--start-paused"];
        kvmctl.ok(&[&create[..], &machine].concat()).await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let raw = image(&format!("{vm}-data.raw"));
        let noise = ["dd", "if=/dev/urandom", &format!("of={raw}"), "bs=1M", "count=4", "seek=2", "conv=notrunc"];
        one.exec(&noise).await.succeeded();
        let sums = [sum(one, "qcow2", &image(&top)).await, sum(one, "raw", &raw).await];
        let twin = format!("{vm}-twin");
        let before = (one.stock().await, two.stock().await);
        Self { one, two, kvmctl, vm, twin, before, sums, longest: Duration::ZERO }
    }

    fn clone(&self) -> [&str; 5] {
        ["clone", &self.vm, "two", "--name", &self.twin]
    }

    /// Makes the clone undisturbed: the points that it gets to in their order, and how long it takes.
    async fn rehearse(&self) -> (Vec<String>, Duration) {
        let log = self.kvmctl.home().join("points");
        let ended = self.kvmctl.program(&self.clone()).with_variable("KVM_FAILPOINT_LOG", &log).run().await;
        let took = ended.took;
        ended.succeeded();
        let text = fs::read_to_string(&log).unwrap_or_default();
        assert!(
            !text.is_empty(),
            "no points; first: cargo build -p kvm-cli -p kvm-helper --features kvm-cli/failpoints"
        );
        self.assert_whole().await;
        self.delete().await;
        (text.lines().map(str::to_owned).collect(), took)
    }

    async fn is_listed(&self) -> bool {
        self.two.virsh(&["list", "--all", "--name"]).await.lines().any(|name| name.trim() == self.twin)
    }

    async fn assert_whole(&self) {
        let disks = self.kvmctl.json(&["disk", "list", &format!("two/{}", self.twin)]).await;
        for (disk, (format, expected)) in disks.as_array().unwrap().iter().zip(["qcow2", "raw"].iter().zip(&self.sums))
        {
            assert_eq!(sum(self.two, format, disk["source"].as_str().unwrap()).await, *expected, "{disk}");
        }
    }

    async fn delete(&self) {
        let there = format!("two/{}", self.twin);
        self.kvmctl.ok(&["vm", "delete", &there, "--delete-volumes", "--yes"]).await;
    }

    /// It died: finishes what is open, and sees that what is there is whole or nothing. `is_early`: the clone cannot have
    /// been seen yet.
    async fn after(&mut self, ended: &Ended, is_early: bool, way: &str, at: &str) {
        assert!(!(is_early && self.is_listed().await), "{at}: half a clone is seen");
        for operation in self.open().await {
            let id = operation["operation"].as_str().unwrap_or_default().to_owned();
            let mut done = self.kvmctl.run(&["op", way, &id]).await;
            if way == "undo" && done.code == Some(INVALID_STATE) {
                // What is past its point of no return can only be completed.
                done = self.kvmctl.run(&["op", "resume", &id]).await;
            }
            self.longest = self.longest.max(done.took);
            assert_eq!(done.code, Some(0), "{at}: {done}");
        }
        assert!(self.open().await.is_empty(), "{at}: an operation is open");
        for lock in fs::read_dir(self.kvmctl.state().join("locks")).into_iter().flatten().flatten() {
            assert!(File::open(lock.path()).unwrap().try_lock().is_ok(), "{at}: somebody holds {:?}", lock.path());
        }
        let is_there = self.is_listed().await;
        assert!(is_there || ended.code != Some(0), "{at}: it said that it was done: {ended}");
        if is_there {
            self.assert_whole().await;
            self.delete().await;
        }
        self.two.assert_as(&self.before.1).await;
        self.one.assert_as(&self.before.0).await;
    }

    async fn open(&self) -> Vec<Value> {
        self.kvmctl.json(&["op", "list", "--open"]).await.as_array().cloned().unwrap_or_default()
    }
}

/// The digest of what a guest would read from an image.
async fn sum(host: &LabHost, format: &str, image: &str) -> String {
    let raw = "/var/lib/libvirt/compared.raw";
    host.exec(&["qemu-img", "convert", "-f", format, "-O", "raw", image, raw]).await.succeeded();
    let printed = host.exec(&["sha256sum", raw]).await.succeeded();
    host.exec(&["rm", raw]).await.succeeded();
    printed.split(' ').next().unwrap_or_default().to_owned()
}

fn base(point: &str) -> &str {
    point.split_once('#').map_or(point, |(base, _)| base)
}

#[test]
fn a_clone_whose_program_dies_anywhere_is_completed_or_taken_back_and_never_half() {
    let extent = Extent::asked_for();
    on_two_hosts(extent.limit, async |one, two| {
        let mut trial = Trial::new(one, two).await;
        let (points, took) = trial.rehearse().await;
        // No step can be added without its points being looked at.
        let known: BTreeSet<_> = POINTS.lines().filter(|line| !line.starts_with('#')).collect();
        let found: BTreeSet<_> = points.iter().map(|point| base(point)).collect();
        assert_eq!(found, known, "the points of a clone are not those of lab/tests/failpoints.txt");
        let commit = points.iter().position(|point| point == COMMIT).expect("the clone is defined");

        let count = points.len().min(extent.points);
        let chosen = (0..count).map(|number| (number * points.len() + extent.seed as usize % points.len()) / count);
        let (mut reached, mut missed) = (0, Vec::new());
        for (number, index) in chosen.map(|index| index % points.len()).enumerate() {
            let point = &points[index];
            let ended = trial.kvmctl.program(&trial.clone()).with_variable("KVM_FAILPOINT", point).run().await;
            if ended.signal == Some(KILL) {
                reached += 1
            } else {
                missed.push(point.clone())
            }
            let way = if number % 2 == 0 { "resume" } else { "undo" };
            trial.after(&ended, index <= commit, way, point).await;
        }
        println!("PROOF R3 points {reached}/{count} deaths at named points, whole or nothing afterwards");

        let entropy = SeededEntropy::new(extent.seed);
        let mut killed = 0;
        for number in 0..extent.moments {
            let share = (entropy.uuid().as_u128() >> 96) as u32;
            let moment = took.mul_f64(f64::from(share) / f64::from(u32::MAX));
            let ended = trial.kvmctl.killed_after(moment, &trial.clone()).await;
            killed += usize::from(ended.signal == Some(KILL));
            let way = if number % 2 == 0 { "resume" } else { "undo" };
            trial.after(&ended, false, way, &format!("after {moment:?}")).await;
        }
        let (moments, longest) = (extent.moments, trial.longest);
        println!("PROOF R3 moments {moments}/{moments} whole or nothing afterwards, {killed} of them before its end");
        println!("PROOF R3 a decision took at most {longest:.1?}");
        assert!(missed.is_empty(), "never reached: {missed:?}");
        assert!(killed > 0, "no moment was right, and nothing was proved");
        trial.kvmctl.ok(&["vm", "delete", &trial.vm, "--delete-volumes", "--yes"]).await;
    });
}
