//! Snapshots that are cut short: libvirtd is killed, or the link to the host is cut, while one is taken or merged. The
//! operation completes or can be finished, and the guest runs on with what it wrote.

use std::time::Duration;

use kvm_lab::{Ended, Kvmctl, LabHost, eventually, moment_passes, on_a_host_within};
use serde_json::{Value, json};

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// For a test with a guest that is interrupted several times.
const LIMIT: Duration = Duration::from_secs(540);
/// How often a snapshot is tried again before the guest is booted again, and how long between.
const TRIES: usize = 15;
const PAUSE: Duration = Duration::from_secs(1);
/// The host did not answer, or not in time: worth another try.
const UNAVAILABLE: i32 = 8;
/// Somebody else is at work on it; it is worth another try.
const BUSY: i32 = 75;
/// The state does not allow it.
const INVALID_STATE: i32 = 5;
/// Something of that name is there.
const ALREADY_EXISTS: i32 = 4;
/// Moments of a command's time at which it is interrupted; the fault takes a moment itself.
const MOMENTS: [f64; 4] = [0.25, 0.4, 0.55, 0.7];
/// So much is written after a snapshot, in MiB, so that merging it takes a while.
const WRITTEN: &str = "300";

/// A guest with a disk whose beginning was written once and has to stay, and a word that only its memory has.
struct Guest<'a> {
    host: &'a LabHost,
    kvmctl: Kvmctl,
    vm: String,
    images: Vec<String>,
    sum: String,
}

impl<'a> Guest<'a> {
    async fn boot(host: &'a LabHost, kvmctl: Kvmctl, stem: &str) -> Self {
        let vm = host.unique(stem);
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "none", "--start"];
        let data = format!("512M,name={vm}-data.qcow2");
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
        let mut guest = Self { host, kvmctl, vm, images: Vec::new(), sum: String::new() };
        guest.sh("pat write /dev/vdb 0 16 seed; echo remembered > /run/word").await;
        // Memory that has to be written out, so that a snapshot of it takes a while.
        guest.sh("dd if=/dev/urandom of=/run/ballast bs=1M count=48 2>/dev/null").await;
        guest.sum = guest.sum_now().await;
        guest.images = guest.images_now().await;
        guest
    }

    async fn sh(&self, script: &str) -> String {
        let answer = async || self.host.exec_in_guest(&self.vm, &["sh", "-c", script]).await;
        eventually(BOOT, "an answer of the guest's agent", answer).await.0.trim().to_owned()
    }

    async fn sum_now(&self) -> String {
        self.sh("echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 0 16").await
    }

    async fn images_now(&self) -> Vec<String> {
        let disks = self.kvmctl.json(&["disk", "list", &self.vm]).await;
        let source = |disk: &Value| disk["source"].as_str().unwrap_or_default().to_owned();
        disks.as_array().map(|disks| disks.iter().map(source).collect()).unwrap_or_default()
    }

    async fn snapshots(&self) -> Vec<String> {
        let all = self.kvmctl.json(&["snap", "list", &self.vm]).await;
        let name = |one: &Value| one["name"].as_str().unwrap_or_default().to_owned();
        all.as_array().map(|all| all.iter().map(name).collect()).unwrap_or_default()
    }

    /// Finishes what was interrupted, as a user would who reads `kvmctl op list`.
    async fn repair(&self, way: Way) {
        for operation in self.open().await {
            let id = operation["operation"].as_str().unwrap_or_default().to_owned();
            assert!(self.kvmctl.ok(&["op", "show", &id]).await.contains(&self.vm));
            let first = if way == Way::Undo { "undo" } else { "resume" };
            let ended = self.kvmctl.run(&["op", first, &id]).await;
            let other = match (way, ended.code) {
                (_, Some(0)) => continue,
                (_, Some(BUSY)) => first,
                // What is past its point of no return can only be completed.
                (Way::Undo, Some(INVALID_STATE)) => "resume",
                // Overlays that nobody knows for unused stand where it would make its own; it was taken back.
                (Way::Resume, Some(ALREADY_EXISTS)) => continue,
                _ => panic!("{ended}"),
            };
            self.once_free(&["op", other, &id]).await;
        }
        let open = self.open().await;
        assert!(open.is_empty(), "{open:?}");
    }

    /// Runs a command, again for as long as the hypervisor is at work on the machine.
    async fn once_free(&self, arguments: &[&str]) {
        for _ in 0..TRIES {
            let ended = self.kvmctl.run(arguments).await;
            if ended.code != Some(BUSY) {
                ended.succeeded();
                return;
            }
            moment_passes(PAUSE).await;
        }
        panic!("busy all the time: {arguments:?}")
    }

    async fn open(&self) -> Vec<Value> {
        self.kvmctl.json(&["op", "list", "--open"]).await.as_array().cloned().unwrap_or_default()
    }

    /// It runs, has not been booted again, and its disk holds what it wrote.
    async fn assert_whole(&self) {
        let shown = self.kvmctl.json(&["vm", "show", &self.vm]).await;
        assert_eq!(shown["state"], "running", "{shown}");
        assert_eq!(self.sh("cat /run/word").await, "remembered");
        assert_eq!(self.sum_now().await, self.sum);
        self.sh("dd if=/dev/zero of=/dev/vdb bs=512 seek=900000 count=1 conv=fsync 2>/dev/null").await;
    }

    /// Deletes overlays of which an undo said that they stay, and the memory beside them, as a user would, once QEMU has said
    /// that it does not use them.
    async fn delete_unused_overlays(&self) {
        let asked = ["qemu-monitor-command", &self.vm, "{\"execute\":\"query-block\"}"];
        let opened = self.host.virsh(&asked).await;
        let used = self.images_now().await;
        let volumes = self.kvmctl.json(&["vol", "list", "default"]).await;
        for volume in volumes.as_array().into_iter().flatten() {
            let path = volume["path"].as_str().unwrap_or_default();
            let is_overlay = path.contains(&format!("/{}-vd", self.vm));
            let is_memory = path.contains(&format!("/{}.", self.vm)) && path.ends_with(".mem");
            if (is_overlay || is_memory) && !used.iter().any(|image| image == path) {
                assert!(!opened.contains(path), "QEMU uses {path}, and libvirt does not say so");
                let name = format!("default/{}", volume["name"].as_str().unwrap_or_default());
                self.kvmctl.ok(&["vol", "delete", &name, "--yes"]).await;
            }
        }
    }

    /// Boots it again where libvirt was killed between the end of a merge and its note of it: its live document then names an
    /// overlay that is gone for as long as the guest runs, and only the next start is in order.
    async fn boot_again_if_unnoticed(&self) {
        if self.images_now().await == self.images {
            return;
        }
        let configured = self.host.virsh(&["domblklist", &self.vm, "--inactive"]).await;
        assert!(self.images.iter().all(|image| configured.contains(image)), "{configured}");
        self.kvmctl.ok(&["vm", "power-off", &self.vm]).await;
        self.kvmctl.ok(&["vm", "start", &self.vm]).await;
        self.sh("echo remembered > /run/word").await;
    }

    /// Takes the snapshot. QEMU needs a while to get over a migration that was cut off, and sometimes its end.
    async fn take_again(&self, take: &[&str]) {
        for _ in 0..TRIES {
            if self.kvmctl.run(take).await.code == Some(0) {
                return;
            }
            moment_passes(PAUSE).await;
        }
        self.kvmctl.ok(&["vm", "power-off", &self.vm]).await;
        self.kvmctl.ok(&["vm", "start", &self.vm]).await;
        self.sh("echo remembered > /run/word").await;
        self.kvmctl.ok(take).await;
    }

    /// A snapshot whose merge has work to do.
    async fn take_and_write(&self) {
        self.kvmctl.ok(&["snap", "create", &self.vm, "layer", "--external", "--disk-only"]).await;
        assert_ne!(self.images_now().await, self.images);
        self.sh(&format!("dd if=/dev/zero of=/dev/vdb bs=1M seek=64 count={WRITTEN} conv=fsync 2>/dev/null")).await;
    }

    /// Has libvirtd killed and the guest destroyed while a snapshot is merged. Gives the operation that is left to finish.
    async fn merge_until_all_died(&self) -> String {
        let (host, kvmctl, vm) = (self.host, &self.kvmctl, &self.vm);
        self.take_and_write().await;
        let running = kvmctl.start(&["snap", "delete", vm, "layer", "--yes"]);
        let begun = async || (!self.open().await.is_empty()).then_some(());
        eventually(BOOT, "an operation that has begun", begun).await;
        host.fault(&["kill", "libvirtd"]).await;
        host.fault(&["start", "libvirtd"]).await;
        // Answered when it has taken the machine over again: libvirt 11.3 dies of it when that is destroyed before.
        host.exec(&["virsh", "qemu-monitor-command", vm, "{\"execute\":\"query-status\"}"]).await;
        // One that finds a machine in the middle of something may have ended it by itself.
        host.exec(&["virsh", "destroy", vm]).await;
        assert_eq!(kvmctl.json(&["vm", "show", vm]).await["state"], "off");
        let ended = running.ended().await;
        assert_eq!(ended.code, Some(UNAVAILABLE), "{ended}");
        self.open().await[0]["operation"].as_str().unwrap_or_default().to_owned()
    }
}

// The middle of a snapshot, done by hand: QEMU is in new overlays, and libvirt has heard nothing of it.
impl Guest<'_> {
    /// What QEMU answers.
    async fn qemu(&self, command: &str, arguments: Value) -> Value {
        let request = json!({ "execute": command, "arguments": arguments }).to_string();
        let answer = self.host.virsh(&["qemu-monitor-command", &self.vm, &request]).await;
        let mut answer: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{command}: {e}: {answer}"));
        assert!(answer["error"].is_null(), "{command}: {answer}");
        answer["return"].take()
    }

    /// The files that QEMU has open.
    async fn opened(&self) -> Vec<String> {
        let nodes = self.qemu("query-named-block-nodes", json!({ "flat": true })).await;
        let file = |node: &Value| node["file"].as_str().unwrap_or_default().to_owned();
        nodes.as_array().map(|nodes| nodes.iter().map(file).collect()).unwrap_or_default()
    }

    /// Begins to take a snapshot, and kills libvirtd before anything of it has happened: its QEMU does not answer.
    async fn begin_in_vain(&self, take: &[&str]) {
        let signal = async |signal: &str| {
            let kill = format!("kill -s {signal} \"$(cat /run/libvirt/qemu/{}.pid)\"", self.vm);
            self.host.exec(&["sh", "-c", &kill]).await.succeeded();
        };
        signal("STOP").await;
        let running = self.kvmctl.start(take);
        let begun = async || (!self.open().await.is_empty()).then_some(());
        eventually(BOOT, "an operation that has begun", begun).await;
        self.host.fault(&["kill", "libvirtd"]).await;
        signal("CONT").await;
        self.host.fault(&["start", "libvirtd"]).await;
        let ended = running.ended().await;
        assert_eq!(ended.code, Some(UNAVAILABLE), "{ended}");
        assert_eq!(self.opened().await.iter().filter(|file| file.contains(".taken.")).count(), 0);
    }

    /// Does to QEMU what libvirt does to have an overlay made, with the names that libvirt gives, up to the moment before it
    /// takes note of that. Gives the node of the image below.
    async fn make_overlay(&self, number: usize, disk: &str) -> Value {
        let image = &self.images[number];
        let nodes = self.qemu("query-named-block-nodes", json!({ "flat": true })).await;
        let is_image = |node: &&Value| node["file"] == **image && node["drv"] == "qcow2";
        let below = nodes.as_array().and_then(|nodes| nodes.iter().find(is_image));
        let below = below.unwrap_or_else(|| panic!("QEMU has {image} not open: {nodes}"));
        let overlay = format!("/var/lib/libvirt/images/{}-{disk}.taken.qcow2", self.vm);
        self.host.exec(&["install", "-o", "libvirt-qemu", "-m", "600", "/dev/null", &overlay]).await.succeeded();
        let file = format!("libvirt-{}-storage", number + 3);
        self.qemu("blockdev-add", json!({ "driver": "file", "filename": overlay, "node-name": file })).await;
        let size = &below["image"]["virtual-size"];
        let how =
            json!({ "driver": "qcow2", "file": file, "size": size, "backing-file": image, "backing-fmt": "qcow2" });
        let id = format!("create-libvirt-{}-format", number + 3);
        self.qemu("blockdev-create", json!({ "job-id": id, "options": how })).await;
        let is_over = |job: &Value| job["id"] == *id && job["status"] == "concluded";
        let over = async || self.qemu("query-jobs", json!({})).await.as_array()?.iter().any(is_over).then_some(());
        eventually(BOOT, "an overlay", over).await;
        below["node-name"].clone()
    }

    /// The same for the overlay to be opened. Gives its node.
    async fn open_overlay(&self, number: usize) -> String {
        let (file, format) = (format!("libvirt-{}-storage", number + 3), format!("libvirt-{}-format", number + 3));
        self.qemu("job-dismiss", json!({ "id": format!("create-{format}") })).await;
        let how = json!({ "driver": "qcow2", "file": file, "node-name": format, "backing": null });
        self.qemu("blockdev-add", how).await;
        format
    }

    /// The same for the guest to go on in overlays.
    async fn go_on_unnoticed(&self) {
        let mut actions = Vec::new();
        for (number, disk) in ["vda", "vdb"].into_iter().enumerate() {
            let node = self.make_overlay(number, disk).await;
            let overlay = self.open_overlay(number).await;
            actions.push(json!({ "type": "blockdev-snapshot", "data": { "node": node, "overlay": overlay } }));
        }
        self.qemu("transaction", json!({ "actions": actions })).await;
        assert_eq!(self.images_now().await, self.images, "libvirt has noticed");
    }

    /// Has QEMU merge the overlay of a disk and go on in the image below, up to the moment before libvirt takes note of that.
    async fn leave_unnoticed(&self, number: usize) {
        let devices = self.qemu("query-blockstats", json!({})).await;
        let device = devices[number]["node-name"].clone();
        self.qemu("block-commit", json!({ "job-id": "unnoticed", "device": device })).await;
        let jobs = async || self.qemu("query-jobs", json!({})).await.as_array().cloned().unwrap_or_default();
        let is_ready = async || jobs().await.iter().any(|job| job["status"] == "ready").then_some(());
        eventually(BOOT, "a merge that is ready", is_ready).await;
        self.qemu("job-complete", json!({ "id": "unnoticed" })).await;
        let is_over = async || jobs().await.is_empty().then_some(());
        eventually(BOOT, "the end of a merge", is_over).await;
        assert_ne!(self.images_now().await, self.images, "libvirt has noticed");
    }

    /// Nothing of the snapshot is left, and libvirt can take it with the very names that were taken.
    async fn assert_taken_back(&self, take: &[&str]) {
        assert_eq!((self.snapshots().await, self.images_now().await), (Vec::new(), self.images.clone()));
        let opened = self.opened().await;
        assert!(opened.iter().all(|file| self.images.contains(file)), "{opened:?}");
        self.kvmctl.ok(take).await;
    }
}

/// How an interrupted operation is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Resume,
    Undo,
}

const WAYS: [Way; 2] = [Way::Resume, Way::Undo];

/// What breaks the connection, and mends it again.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillLibvirtd,
    CutLink,
}

impl Fault {
    /// Runs a command, breaks the connection at this moment of it, and mends it.
    async fn at(self, host: &LabHost, moment: Duration, kvmctl: &Kvmctl, arguments: &[&str]) -> Ended {
        let running = kvmctl.start(arguments);
        moment_passes(moment).await;
        let ended = match self {
            Self::KillLibvirtd => {
                host.fault(&["kill", "libvirtd"]).await;
                host.fault(&["start", "libvirtd"]).await;
                running.ended().await
            }
            Self::CutLink => {
                host.fault(&["cut"]).await;
                let ended = running.ended().await;
                host.fault(&["heal"]).await;
                ended
            }
        };
        assert!(!ended.stderr.contains("panicked"), "{ended}");
        assert!(matches!(ended.code, Some(0 | UNAVAILABLE)), "{ended}");
        ended
    }
}

/// Takes a snapshot again and again and interrupts it; the way back is one that leaves nothing.
async fn interrupt_taking(guest: &Guest<'_>, fault: Fault, moments: &[f64]) -> usize {
    let (kvmctl, vm) = (&guest.kvmctl, &guest.vm);
    let (take, drop) = (["snap", "create", vm, "taken", "--external"], ["snap", "delete", vm, "taken", "--yes"]);
    let rehearsal = kvmctl.run(&take).await;
    let length = rehearsal.took;
    rehearsal.succeeded();
    kvmctl.ok(&drop).await;
    // How often the fault came while it ran.
    let mut interrupted = 0;
    for (moment, way) in moments.iter().zip(WAYS.into_iter().cycle()) {
        let moment = length.mul_f64(*moment);
        let ended = fault.at(guest.host, moment, kvmctl, &take).await;
        interrupted += usize::from(ended.took > moment);
        guest.repair(way).await;
        guest.assert_whole().await;
        if guest.snapshots().await.is_empty() {
            assert_ne!(ended.code, Some(0), "it said that it was taken: {ended}");
            guest.delete_unused_overlays().await;
            // The name is free, and so are the files; QEMU needs a while to get over a migration that was cut off.
            guest.take_again(&take).await;
            guest.assert_whole().await;
        }
        kvmctl.ok(&drop).await;
        assert_eq!(guest.images_now().await, guest.images);
    }
    interrupted
}

/// Merges a snapshot again and again and interrupts it.
async fn interrupt_merging(guest: &Guest<'_>, fault: Fault, moments: &[f64]) -> usize {
    let (kvmctl, vm) = (&guest.kvmctl, &guest.vm);
    let merge = ["snap", "delete", vm, "layer", "--yes"];
    guest.take_and_write().await;
    let rehearsal = kvmctl.run(&merge).await;
    let length = rehearsal.took;
    rehearsal.succeeded();
    // How often the fault came while it ran.
    let mut interrupted = 0;
    for (moment, way) in moments.iter().zip(WAYS.into_iter().cycle()) {
        guest.take_and_write().await;
        let moment = length.mul_f64(*moment);
        let ended = fault.at(guest.host, moment, kvmctl, &merge).await;
        interrupted += usize::from(ended.took > moment);
        guest.repair(way).await;
        guest.assert_whole().await;
        if !guest.snapshots().await.is_empty() {
            assert_ne!(ended.code, Some(0), "it said that it was merged: {ended}");
            guest.once_free(&merge).await;
            guest.assert_whole().await;
        }
        guest.boot_again_if_unnoticed().await;
        assert_eq!((guest.snapshots().await, guest.images_now().await), (Vec::new(), guest.images.clone()));
        guest.assert_whole().await;
    }
    interrupted
}

async fn delete(guest: Guest<'_>) {
    guest.kvmctl.ok(&["vm", "delete", &guest.vm, "--power-off", "--delete-volumes", "--yes"]).await;
}

#[test]
fn an_external_snapshot_with_memory_whose_libvirtd_is_killed_is_taken_or_can_be_taken_again() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let guest = Guest::boot(host, host.kvmctl(), "taken").await;
        let interrupted = interrupt_taking(&guest, Fault::KillLibvirtd, &MOMENTS).await;
        // Else the moments were badly chosen, and nothing was proved.
        assert!(interrupted > 0, "no moment was right");
        delete(guest).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_guest_in_overlays_that_libvirt_does_not_know_comes_back_with_what_it_wrote() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let guest = Guest::boot(host, host.kvmctl(), "stray").await;
        let (kvmctl, vm) = (&guest.kvmctl, &guest.vm);
        let take = ["snap", "create", vm, "taken", "--external", "--disk-only"];
        for way in WAYS {
            guest.begin_in_vain(&take).await;
            guest.go_on_unnoticed().await;
            let since = guest.sh("pat write /dev/vdb 32 64 since; sync; pat sum /dev/vdb 32 64").await;
            guest.repair(way).await;
            guest.assert_whole().await;
            if way == Way::Undo {
                guest.assert_taken_back(&take).await;
            }
            assert_eq!(guest.snapshots().await, ["taken"]);
            kvmctl.ok(&["snap", "delete", vm, "taken", "--yes"]).await;
            assert_eq!(guest.images_now().await, guest.images);
            kvmctl.ok(&["vm", "power-off", vm]).await;
            kvmctl.ok(&["vm", "start", vm]).await;
            guest.sh("echo remembered > /run/word").await;
            assert_eq!(guest.sh("pat sum /dev/vdb 32 64").await, since);
            guest.assert_whole().await;
        }
        delete(guest).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn overlays_that_were_made_and_never_used_do_not_stay() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let guest = Guest::boot(host, host.kvmctl(), "idle").await;
        let (kvmctl, vm) = (&guest.kvmctl, &guest.vm);
        let take = ["snap", "create", vm, "taken", "--external", "--disk-only"];
        for way in WAYS {
            guest.begin_in_vain(&take).await;
            // The one is opened already, the other just made.
            guest.make_overlay(0, "vda").await;
            guest.open_overlay(0).await;
            guest.make_overlay(1, "vdb").await;
            guest.repair(way).await;
            guest.assert_whole().await;
            if way == Way::Undo {
                guest.assert_taken_back(&take).await;
            }
            kvmctl.ok(&["snap", "delete", vm, "taken", "--yes"]).await;
        }
        guest.assert_whole().await;
        delete(guest).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_merge_whose_libvirtd_is_killed_is_completed_or_can_be() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let guest = Guest::boot(host, host.kvmctl(), "merged").await;
        let interrupted = interrupt_merging(&guest, Fault::KillLibvirtd, &MOMENTS).await;
        assert!(interrupted > 0, "no moment was right");
        delete(guest).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_merge_of_which_libvirt_does_not_know_is_written_down_and_the_guest_keeps_what_it_wrote() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let guest = Guest::boot(host, host.kvmctl(), "unnoticed").await;
        let vm = &guest.vm;
        let merge = ["snap", "delete", vm, "layer", "--yes"];
        // The one that libvirt merges last, and both.
        for disks in [&[1][..], &[0, 1]] {
            guest.take_and_write().await;
            for disk in disks {
                guest.leave_unnoticed(*disk).await;
            }
            let since = guest.sh("pat write /dev/vdb 32 64 since; sync; pat sum /dev/vdb 32 64").await;
            guest.kvmctl.ok(&merge).await;
            guest.assert_whole().await;
            assert!(guest.snapshots().await.is_empty());
            let opened = guest.opened().await;
            assert!(opened.iter().all(|file| guest.images.contains(file)), "{opened:?}");
            guest.boot_again_if_unnoticed().await;
            assert_eq!(guest.images_now().await, guest.images);
            assert_eq!(guest.sh("pat sum /dev/vdb 32 64").await, since);
            guest.assert_whole().await;
        }
        delete(guest).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_merge_that_was_complete_when_libvirt_and_the_guest_died_is_only_written_down() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let guest = Guest::boot(host, host.kvmctl(), "complete").await;
        let (kvmctl, vm) = (&guest.kvmctl, &guest.vm);
        let operation = guest.merge_until_all_died().await;
        // What is left of the merge, by hand, and the overlays gone: nothing but the definition speaks of them.
        for (overlay, base) in guest.images_now().await.iter().zip(&guest.images).filter(|(now, base)| now != base) {
            if host.exec(&["test", "-e", overlay]).await.code == Some(0) {
                host.exec(&["qemu-img", "commit", "-f", "qcow2", overlay]).await.succeeded();
                host.exec(&["rm", overlay]).await.succeeded();
            }
            assert_ne!(overlay, base);
        }
        assert_ne!(guest.images_now().await, guest.images);
        kvmctl.ok(&["op", "resume", &operation]).await;
        assert_eq!((guest.snapshots().await, guest.images_now().await), (Vec::new(), guest.images.clone()));
        kvmctl.ok(&["vm", "start", vm]).await;
        guest.sh("echo remembered > /run/word").await;
        guest.assert_whole().await;
        delete(guest).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_merge_of_which_nobody_can_say_whether_it_was_complete_is_not_done_again() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let guest = Guest::boot(host, host.kvmctl(), "undecided").await;
        let (kvmctl, vm) = (&guest.kvmctl, &guest.vm);
        let operation = guest.merge_until_all_died().await;
        let overlay = guest.images_now().await[1].clone();
        let base = &guest.images[1];
        assert_ne!(overlay, *base);
        if host.exec(&["test", "-e", &overlay]).await.code != Some(0) {
            // The kill came after its end: nothing is left to decide, but that it is not written down.
            kvmctl.ok(&["op", "resume", &operation]).await;
            kvmctl.ok(&["vm", "start", vm]).await;
            guest.sh("echo remembered > /run/word").await;
            assert_eq!((guest.snapshots().await, guest.images_now().await), (Vec::new(), guest.images.clone()));
            guest.assert_whole().await;
            delete(guest).await;
            host.assert_as(&before).await;
            return;
        }
        // As when the guest went on in the image below.
        host.exec(&["touch", base]).await.succeeded();
        let refused = kvmctl.run(&["op", "resume", &operation]).await;
        assert_eq!(refused.code, Some(INVALID_STATE), "{refused}");
        assert!(refused.stderr.contains(&format!("{base} was written to after {overlay}")), "{refused}");
        // As the error says, for one that was cut short.
        host.exec(&["touch", &overlay]).await.succeeded();
        let merge = ["snap", "delete", vm, "layer", "--yes"];
        let merged = kvmctl.run(&merge).await;
        kvmctl.ok(&["vm", "start", vm]).await;
        if merged.code != Some(0) {
            // The other disk was merged before.
            assert!(merged.stderr.contains("start the VM, then delete"), "{merged}");
            kvmctl.ok(&merge).await;
        }
        guest.sh("echo remembered > /run/word").await;
        assert_eq!((guest.snapshots().await, guest.images_now().await), (Vec::new(), guest.images.clone()));
        guest.assert_whole().await;
        delete(guest).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn snapshots_over_a_link_that_is_cut_are_completed_or_can_be() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let kvmctl = host.kvmctl_over_ssh(&host.lab().dir().join("known_hosts"));
        let guest = Guest::boot(host, kvmctl, "linked").await;
        let mut interrupted = interrupt_taking(&guest, Fault::CutLink, &MOMENTS[1..3]).await;
        interrupted += interrupt_merging(&guest, Fault::CutLink, &MOMENTS[1..3]).await;
        assert!(interrupted > 0, "no moment was right");
        delete(guest).await;
        host.assert_as(&before).await;
    });
}
