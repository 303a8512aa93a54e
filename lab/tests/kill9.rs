//! `kvmctl` is killed at any moment, and the next command puts things right.

use std::fs::{self, File};
use std::time::Duration;

use kvm_core::{Entropy as _, SeededEntropy};
use kvm_lab::{Kvmctl, LabHost, Stock, moment_passes, on_a_host};

/// How often each command is killed.
const DEATHS: usize = 60;
/// The same for every machine here, so that two of them are alike to the last byte.
const IDENTITY: [&str; 4] =
    ["--uuid", "5c0ffee5-0000-4000-8000-000000000009", "--network", "network=default,mac=52:54:00:c0:ff:ee"];

/// One machine with a volume, that is made and deleted again and again.
struct Trial<'a> {
    host: &'a LabHost,
    kvmctl: Kvmctl,
    vm: String,
    without: Stock,
    with: Stock,
    /// How long creating and deleting take when nobody is killed.
    creating: Duration,
    deleting: Duration,
}

impl<'a> Trial<'a> {
    async fn new(host: &'a LabHost) -> Self {
        let (kvmctl, vm, without) = (host.kvmctl(), host.unique("mortal"), host.stock().await);
        let created = kvmctl.run(&create(&vm)).await;
        let creating = created.took;
        created.succeeded();
        let with = host.stock().await;
        assert_ne!(without.diff(&with), [""; 0]);
        let deleted = kvmctl.run(&delete(&vm)).await;
        let deleting = deleted.took;
        deleted.succeeded();
        host.assert_as(&without).await;
        Self { host, kvmctl, vm, without, with, creating, deleting }
    }

    /// Finishes what was interrupted, one way or the other, and says whether the machine is there.
    async fn repair(&self, way: Way) -> bool {
        for operation in self.open_operations().await {
            let id = operation["operation"].as_str().unwrap().to_owned();
            match way {
                Way::Resume => drop(self.kvmctl.ok(&["op", "resume", &id]).await),
                // Any change of a machine first puts right what was interrupted on it.
                Way::NextChange if self.is_there().await => drop(self.kvmctl.ok(&delete(&self.vm)).await),
                Way::Undo | Way::NextChange => {
                    let undone = self.kvmctl.run(&["op", "undo", &id]).await;
                    // What is past its point of no return can only be completed.
                    if undone.code != Some(0) {
                        assert_eq!(undone.code, Some(5), "{undone}");
                        self.kvmctl.ok(&["op", "resume", &id]).await;
                    }
                }
            }
        }
        self.assert_nothing_is_open().await;
        self.host.assert_as_one_of(&[&self.without, &self.with]).await == 1
    }

    async fn is_there(&self) -> bool {
        self.kvmctl.run(&["vm", "show", &self.vm]).await.code == Some(0)
    }

    async fn open_operations(&self) -> Vec<serde_json::Value> {
        self.kvmctl.json(&["op", "list", "--open"]).await.as_array().unwrap().clone()
    }

    /// No operation is open, and nobody holds a lock.
    async fn assert_nothing_is_open(&self) {
        let open = self.open_operations().await;
        assert!(open.is_empty(), "{open:?}");
        for lock in fs::read_dir(self.kvmctl.state().join("locks")).unwrap().map(|entry| entry.unwrap().path()) {
            let free = File::open(&lock).unwrap().try_lock();
            assert!(free.is_ok(), "{}: {free:?}", lock.display());
        }
    }
}

/// How an interrupted operation is dealt with.
#[derive(Clone, Copy, Debug)]
enum Way {
    Resume,
    Undo,
    NextChange,
}

const WAYS: [Way; 3] = [Way::Resume, Way::Undo, Way::NextChange];

fn create(vm: &str) -> Vec<&str> {
    let machine = ["--disk", "8M", "--memory", "64M", "--graphics", "none"];
    [&["vm", "create", vm], &machine[..], &IDENTITY].concat()
}

fn delete(vm: &str) -> Vec<&str> {
    vec!["vm", "delete", vm, "--delete-volumes", "--yes"]
}

/// Moments within a time, always the same ones.
fn moments(seed: u64, within: Duration) -> impl Iterator<Item = Duration> {
    let entropy = SeededEntropy::new(seed);
    std::iter::repeat_with(move || {
        let share = (entropy.uuid().as_u128() >> 96) as u32;
        within.mul_f64(f64::from(share) / f64::from(u32::MAX))
    })
}

#[test]
fn a_create_killed_at_any_moment_is_completed_or_taken_back_by_the_next_command() {
    on_a_host(async |host| {
        let trial = Trial::new(host).await;
        let (mut interrupted, mut completed) = (0, 0);
        for (moment, way) in moments(1, trial.creating).zip(WAYS.into_iter().cycle()).take(DEATHS) {
            let ended = trial.kvmctl.killed_after(moment, &create(&trial.vm)).await;
            interrupted += u32::from(!trial.open_operations().await.is_empty());
            let there = trial.repair(way).await;
            assert!(there || ended.code.is_none(), "it said that it was done: {ended}");
            completed += u32::from(there);
            if there {
                trial.kvmctl.ok(&delete(&trial.vm)).await;
            }
            host.assert_as(&trial.without).await;
        }
        // Else the moments were badly chosen, and nothing was proved.
        assert!(interrupted > 0 && completed > 0, "{interrupted} interrupted, {completed} completed");
    });
}

#[test]
fn a_delete_killed_at_any_moment_is_completed_or_taken_back_by_the_next_command() {
    on_a_host(async |host| {
        let trial = Trial::new(host).await;
        let mut interrupted = 0;
        let mut there = false;
        for (moment, way) in moments(2, trial.deleting).zip(WAYS.into_iter().cycle()).take(DEATHS) {
            if !there {
                trial.kvmctl.ok(&create(&trial.vm)).await;
            }
            let ended = trial.kvmctl.killed_after(moment, &delete(&trial.vm)).await;
            interrupted += u32::from(!trial.open_operations().await.is_empty());
            there = trial.repair(way).await;
            assert!(!there || ended.code.is_none(), "it said that it was done: {ended}");
        }
        assert!(interrupted > 0, "no moment was right, and nothing was proved");
    });
}

#[test]
fn a_create_whose_libvirtd_is_killed_fails_and_is_completed_or_taken_back() {
    on_a_host(async |host| {
        let trial = Trial::new(host).await;
        for (moment, way) in moments(3, trial.creating).zip(WAYS) {
            let creating = trial.kvmctl.start(&create(&trial.vm));
            moment_passes(moment).await;
            host.fault(&["kill", "libvirtd"]).await;
            let ended = creating.ended().await;
            host.fault(&["start", "libvirtd"]).await;
            assert!(matches!(ended.code, Some(0 | 8)), "{ended}");
            if trial.repair(way).await {
                trial.kvmctl.ok(&delete(&trial.vm)).await;
            }
            host.assert_as(&trial.without).await;
        }
    });
}
