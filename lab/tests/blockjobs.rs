//! Images that are merged, completed and moved under a guest that writes.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_a_host_within};
use rustix::process::Signal;
use serde_json::Value;

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// For a test with a guest and several jobs.
const LIMIT: Duration = Duration::from_secs(420);

/// So much of the data disk is written once and has to stay as it is.
const STILL: &str = "24";
/// Behind that, the guest writes a number again and again, and keeps in its memory what it has written.
const WRITER: &str = "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i > /tmp/next; \
    dd if=/tmp/next of=/dev/vdb bs=512 seek=60000 conv=notrunc,fsync 2>/dev/null && echo $i > /tmp/written; done; touch /tmp/stopped";

async fn sh(host: &LabHost, vm: &str, script: &str) -> String {
    let answer = async || host.exec_in_guest(vm, &["sh", "-c", script]).await;
    eventually(BOOT, "an answer of the guest's agent", answer).await.0.trim().to_owned()
}

/// A VM with a data disk on which its guest writes all the time.
struct Writing<'a> {
    host: &'a LabHost,
    kvmctl: Kvmctl,
    vm: String,
    digest: String,
}

impl<'a> Writing<'a> {
    async fn begin(host: &'a LabHost, stem: &str) -> Self {
        let (kvmctl, vm) = (host.kvmctl(), host.unique(stem));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "user", "--start"];
        let data = format!("64M,name={vm}-data.qcow2");
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
        let fill = format!("dd if=/dev/urandom of=/dev/vdb bs=1M count={STILL} conv=fsync 2>/dev/null; sync");
        sh(host, &vm, &fill).await;
        let mut writing = Self { host, kvmctl, vm, digest: String::new() };
        writing.digest = writing.digest_now().await;
        sh(host, &writing.vm, &format!("({WRITER}) > /dev/null 2>&1 & echo begun")).await;
        writing.goes_on().await;
        writing
    }

    async fn digest_now(&self) -> String {
        let read =
            format!("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vdb bs=1M count={STILL} 2>/dev/null | sha256sum");
        sh(self.host, &self.vm, &read).await
    }

    async fn written(&self) -> u64 {
        sh(self.host, &self.vm, "cat /tmp/written 2>/dev/null || echo 0").await.parse().unwrap_or(0)
    }

    /// Waits until the guest has written something new.
    async fn goes_on(&self) {
        let before = self.written().await;
        eventually(BOOT, "the guest writes", async || (self.written().await > before).then_some(())).await;
    }

    /// The image of the data disk, where it runs and where it is configured.
    async fn image(&self) -> String {
        let disks = self.kvmctl.json(&["disk", "list", &self.vm]).await;
        let data = disks.as_array().and_then(|disks| disks.iter().find(|disk| disk["target"] == "vdb")).cloned();
        let data = data.unwrap_or_else(|| panic!("no vdb in {disks}"));
        assert_eq!(data["documents"], "both");
        let inactive = self.host.virsh(&["domblklist", &self.vm, "--inactive"]).await;
        let image = data["source"].as_str().unwrap_or_default().to_owned();
        assert!(inactive.contains(&image), "configured is another image than {image}:\n{inactive}");
        image
    }

    /// Everything that the guest wrote is there: what it wrote once, and the last number.
    async fn check(&self) {
        self.goes_on().await;
        assert_eq!(self.digest_now().await, self.digest);
    }

    /// Stops the writer, and looks at the disk from outside as well.
    async fn end(self) {
        sh(self.host, &self.vm, "touch /tmp/stop; while [ ! -e /tmp/stopped ]; do sleep 1; done; sync").await;
        let last = self.written().await;
        assert_eq!(self.digest_now().await, self.digest);
        let image = self.image().await;
        self.kvmctl.ok(&["vm", "power-off", &self.vm]).await;
        let raw = format!("{image}.raw");
        self.host.exec(&["qemu-img", "convert", "-f", "qcow2", "-O", "raw", &image, &raw]).await.succeeded();
        let number = self.host.exec(&["dd", &format!("if={raw}"), "bs=512", "skip=60000", "count=1"]).await.succeeded();
        assert_eq!(number.trim_end_matches('\0').trim(), last.to_string(), "the last that the guest wrote");
        self.host.exec(&["rm", &raw]).await.succeeded();
        self.kvmctl.ok(&["vm", "delete", &self.vm, "--delete-volumes", "--yes"]).await;
    }

    /// Takes an external snapshot of the data disk, of which nobody keeps a record.
    async fn overlay(&self, name: &str) -> String {
        let path = format!("/var/lib/libvirt/images/{}-{name}.qcow2", self.vm);
        let data = format!("vdb,file={path}");
        let take = ["snapshot-create-as", &self.vm, "--disk-only", "--no-metadata", "--diskspec", "vda,snapshot=no"];
        self.host.virsh(&[&take[..], &["--diskspec", &data]].concat()).await;
        self.kvmctl.ok(&["pool", "refresh", "default"]).await;
        path
    }
}

#[test]
fn a_commit_after_an_external_snapshot_ends_in_the_base() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let writing = Writing::begin(host, "commit").await;
        let (kvmctl, vm) = (&writing.kvmctl, &writing.vm);
        let base = writing.image().await;
        let overlay = writing.overlay("top").await;
        writing.goes_on().await;
        let graph = kvmctl.ok(&["disk", "graph", vm]).await;
        let below = graph.lines().position(|line| line.contains(&overlay)).map(|at| graph.lines().nth(at + 1));
        assert!(below.flatten().is_some_and(|line| line.trim_start().starts_with(&base)), "{graph}");

        // Somebody else's overlay of the base: then it must not change.
        let other = format!("{base}.other");
        let create = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", &base, &other, "64M"];
        host.exec(&create).await.succeeded();
        kvmctl.ok(&["pool", "refresh", "default"]).await;
        kvmctl.fails(&["disk", "commit", vm, "vdb", "--yes"], 5, "cannot be committed", &other).await;
        host.exec(&["rm", &other]).await.succeeded();
        kvmctl.ok(&["pool", "refresh", "default"]).await;

        kvmctl.ok(&["disk", "commit", vm, "vdb", "--yes"]).await;
        assert_eq!(writing.image().await, base);
        assert_ne!(host.exec(&["test", "-e", &overlay]).await.code, Some(0), "the overlay is gone");
        writing.check().await;
        writing.end().await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_pull_makes_an_overlay_complete() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let writing = Writing::begin(host, "pull").await;
        let (kvmctl, vm) = (&writing.kvmctl, &writing.vm);
        let base = writing.image().await;
        let overlay = writing.overlay("top").await;
        kvmctl.ok(&["disk", "pull", vm, "vdb"]).await;
        assert_eq!(writing.image().await, overlay);
        kvmctl.fails(&["disk", "pull", vm, "vdb"], 5, "lies upon no other image", "nothing to pull").await;
        // Nothing needs the base any more.
        host.exec(&["rm", &base]).await.succeeded();
        writing.check().await;
        kvmctl.ok(&["pool", "refresh", "default"]).await;
        writing.end().await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_disk_moves_between_pools_while_the_guest_writes() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let writing = Writing::begin(host, "move").await;
        let (kvmctl, vm) = (&writing.kvmctl, &writing.vm);
        let pool = host.unique("fast");
        let target = format!("/var/lib/libvirt/{pool}");
        kvmctl.ok(&["pool", "create", &pool, "--target", &target]).await;
        let old = writing.image().await;

        // Cancelled halfway: everything is as it was, and nothing is left over.
        let slow = ["disk", "move", vm, "vdb", "--pool", &pool, "--speed", "1M/s", "--yes", "-o", "json"];
        let running = kvmctl.start(&slow);
        let copies = async || host.virsh(&["dumpxml", vm]).await.contains("<mirror").then_some(());
        eventually(BOOT, "a block job", copies).await;
        running.signal(Signal::INT);
        let ended = running.ended().await;
        assert_eq!(ended.code, Some(130), "{ended}");
        assert_eq!(writing.image().await, old);
        assert_eq!(kvmctl.json(&["vol", "list", &pool]).await, Value::Array(vec![]));
        assert!(host.virsh(&["domblklist", vm]).await.contains(&old));
        writing.check().await;

        kvmctl.ok(&["disk", "move", vm, "vdb", "--pool", &pool, "--yes"]).await;
        let new = writing.image().await;
        assert!(new.starts_with(&target), "{new}");
        assert_ne!(host.exec(&["test", "-e", &old]).await.code, Some(0), "the old volume is gone");
        writing.check().await;

        // And back, with what it was before left where it is.
        kvmctl.ok(&["disk", "move", vm, "vdb", "--pool", "default", "--keep"]).await;
        writing.check().await;
        host.exec(&["rm", &new]).await.succeeded();
        kvmctl.ok(&["pool", "stop", &pool]).await;
        kvmctl.ok(&["pool", "delete", &pool, "--yes"]).await;
        host.exec(&["rmdir", &target]).await.succeeded();
        writing.end().await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_disk_moves_while_its_machine_is_off_and_the_guest_finds_what_it_wrote() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("rest"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "user", "--start"];
        let data = format!("64M,name={vm}-data.qcow2");
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
        let fill = "dd if=/dev/urandom of=/dev/vdb bs=1M count=24 conv=fsync 2>/dev/null; sync; \
                    dd if=/dev/vdb bs=1M count=24 2>/dev/null | sha256sum";
        let digest = sh(host, &vm, fill).await;
        let pool = host.unique("cold");
        let target = format!("/var/lib/libvirt/{pool}");
        kvmctl.ok(&["pool", "create", &pool, "--target", &target]).await;

        // What it wrote since stands in an overlay: the copy holds both.
        let overlay = format!("/var/lib/libvirt/images/{vm}-top.qcow2");
        let diskspec = format!("vdb,file={overlay}");
        let take = ["snapshot-create-as", &vm, "--disk-only", "--no-metadata", "--diskspec", "vda,snapshot=no"];
        host.virsh(&[&take[..], &["--diskspec", &diskspec]].concat()).await;
        kvmctl.ok(&["pool", "refresh", "default"]).await;
        sh(host, &vm, "echo above | dd of=/dev/vdb bs=512 seek=60000 conv=notrunc,fsync 2>/dev/null").await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let plan = kvmctl.ok(&["disk", "move", &vm, "vdb", "--pool", &pool, "--dry-run"]).await;
        assert!(plan.contains("with all that it lies upon"), "{plan}");
        kvmctl.ok(&["disk", "move", &vm, "vdb", "--pool", &pool, "--yes"]).await;
        let disks = host.virsh(&["domblklist", &vm, "--inactive"]).await;
        assert!(disks.contains(&target) && !disks.contains(&overlay), "{disks}");
        assert_ne!(host.exec(&["test", "-e", &overlay]).await.code, Some(0), "the old image is gone");
        let image = disks.split_whitespace().find(|word| word.starts_with(&target)).unwrap_or_default().to_owned();
        let info = host.exec(&["qemu-img", "info", "--output=json", &image]).await.succeeded();
        assert!(!info.contains("backing-filename"), "{info}");

        kvmctl.ok(&["vm", "start", &vm]).await;
        let read = "dd if=/dev/vdb bs=1M count=24 2>/dev/null | sha256sum; dd if=/dev/vdb bs=512 skip=60000 count=1 2>/dev/null | tr -d '\\0'";
        let found = sh(host, &vm, read).await;
        assert!(found.starts_with(&digest) && found.ends_with("above"), "{found}, not {digest}");
        kvmctl.ok(&["vm", "power-off", &vm]).await;

        // And back.
        kvmctl.ok(&["disk", "move", &vm, "vdb", "--pool", "default", "--yes"]).await;
        kvmctl.ok(&["pool", "stop", &pool]).await;
        kvmctl.ok(&["pool", "delete", &pool, "--yes"]).await;
        host.exec(&["rmdir", &target]).await.succeeded();
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        // What the overlay lay upon belonged to no machine any more.
        let base = format!("default/{vm}-data.qcow2");
        kvmctl.ok(&["vol", "delete", &base, "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_move_goes_on_over_a_restart_of_libvirtd() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let writing = Writing::begin(host, "restart").await;
        let (kvmctl, vm) = (&writing.kvmctl, &writing.vm);
        let pool = host.unique("other");
        let target = format!("/var/lib/libvirt/{pool}");
        kvmctl.ok(&["pool", "create", &pool, "--target", &target]).await;
        let running = kvmctl.start(&["disk", "move", vm, "vdb", "--pool", &pool, "--speed", "1M/s", "--yes"]);
        let copies = async || host.virsh(&["dumpxml", vm]).await.contains("<mirror").then_some(());
        eventually(BOOT, "a block job", copies).await;
        host.fault(&["kill", "libvirtd"]).await;
        host.fault(&["start", "libvirtd"]).await;
        running.ended().await.succeeded();
        assert!(writing.image().await.starts_with(&target));
        writing.check().await;

        kvmctl.ok(&["disk", "move", vm, "vdb", "--pool", "default", "--yes"]).await;
        kvmctl.ok(&["pool", "stop", &pool]).await;
        kvmctl.ok(&["pool", "delete", &pool, "--yes"]).await;
        host.exec(&["rmdir", &target]).await.succeeded();
        writing.end().await;
        host.assert_as(&before).await;
    });
}
