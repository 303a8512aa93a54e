//! Machines that leave as one file and come back under another name, and that other programs can read; documents and
//! packages of strangers, at a libvirtd whose memory is bounded.

use std::path::Path;
use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, Program, eventually, on_a_host_within};
use serde_json::Value;

/// Two guests boot one after the other, on a busy machine without hardware acceleration.
const LIMIT: Duration = Duration::from_secs(900);
const BOOT: Duration = Duration::from_secs(240);
const INVALID_INPUT: i32 = 2;

async fn in_guest(host: &LabHost, vm: &str, command: &[&str]) -> String {
    eventually(BOOT, "an answer of the guest's agent", async || host.exec_in_guest(vm, command).await).await.0
}

async fn run(argv: &[&str]) -> String {
    Program::new(argv).within(Duration::from_secs(120)).run().await.succeeded()
}

/// A machine that is off, with a disk that boots and a second one that lies upon another image.
async fn machine(host: &LabHost, kvmctl: &Kvmctl, vm: &str) {
    let disk = format!("volume={}", host.place_boot_disk(vm).await);
    let shape = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--description", "a < b & c"];
    kvmctl.ok(&[&["vm", "create", vm, "--disk", &disk, "--disk", "8M,format=raw"], &shape[..]].concat()).await;
}

async fn boots(host: &LabHost, kvmctl: &Kvmctl, vm: &str) {
    kvmctl.ok(&["vm", "start", vm]).await;
    let disks = in_guest(host, vm, &["ls", "/sys/block"]).await;
    assert!(disks.contains("vda") && disks.contains("vdb"), "{disks}");
}

#[test]
fn an_appliance_is_exported_and_boots_under_another_name() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let (kvmctl, vm, copy) = (host.kvmctl(), host.unique("packed"), host.unique("unpacked"));
        machine(host, &kvmctl, &vm).await;
        let ova = kvmctl.home().join("web.ova");
        let ova = ova.to_str().expect("a path of the lab");
        let done = kvmctl.json(&["vm", "export", &vm, ova]).await;
        assert_eq!(done["status"], "succeeded", "{done}");

        // Others read it: the archive, the document, the digests, the disks.
        let names = run(&["tar", "-tf", ova]).await;
        let names: Vec<_> = names.lines().collect();
        assert_eq!(names.len(), 4, "{names:?}");
        let folder = kvmctl.home().join("ova");
        std::fs::create_dir(&folder).expect("a directory of the test");
        let at = |name: &str| folder.join(name).to_str().expect("a path of the lab").to_owned();
        run(&["tar", "-xf", ova, "-C", &at("")]).await;
        run(&["xmllint", "--noout", &at(names[0])]).await;
        let manifest = std::fs::read_to_string(at(names[1])).expect("the manifest");
        for line in manifest.lines() {
            let (name, digest) =
                line.strip_prefix("SHA256(").and_then(|rest| rest.split_once(")= ")).expect("a digest");
            assert!(run(&["sha256sum", &at(name)]).await.starts_with(digest), "{name}");
        }
        let volume = host.file(format!("/var/lib/libvirt/images/{vm}.qcow2"));
        let volume = volume.to_str().expect("a path of the lab");
        run(&["qemu-img", "check", "-f", "vmdk", &at(names[2])]).await;
        run(&["qemu-img", "compare", "-f", "qcow2", "-F", "vmdk", volume, &at(names[2])]).await;

        let options = ["--name", &copy, "--network", "default"];
        kvmctl.ok(&[&["vm", "import", ova], &options[..]].concat()).await;
        let twin = host.file(format!("/var/lib/libvirt/images/{copy}.qcow2"));
        let twin = twin.to_str().expect("a path of the lab");
        run(&["qemu-img", "check", "-f", "qcow2", twin]).await;
        run(&["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", volume, twin]).await;
        boots(host, &kvmctl, &copy).await;
        kvmctl.ok(&["vm", "delete", &copy, "--power-off", "--delete-volumes", "--yes"]).await;

        // The same from the document beside its files, into raw volumes.
        kvmctl.ok(&[&["vm", "import", &at(names[0]), "--format", "raw"], &options[..]].concat()).await;
        let raw = host.file(format!("/var/lib/libvirt/images/{copy}.img"));
        let raw = raw.to_str().expect("a path of the lab");
        run(&["qemu-img", "compare", "-f", "qcow2", "-F", "raw", volume, raw]).await;
        kvmctl.ok(&["vm", "delete", &copy, "--delete-volumes", "--yes"]).await;

        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_bundle_keeps_the_definition_and_what_a_disk_lies_upon() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let (kvmctl, vm, copy) = (host.kvmctl(), host.unique("bundled"), host.unique("unbundled"));
        machine(host, &kvmctl, &vm).await;
        // From now on the disk is an overlay.
        host.virsh(&["snapshot-create-as", &vm, "s1", "--disk-only", "--no-metadata", "--diskspec", "vdb,snapshot=no"])
            .await;
        host.virsh(&["pool-refresh", "default"]).await;
        boots(host, &kvmctl, &vm).await;
        in_guest(host, &vm, &["label", "bundled"]).await;
        in_guest(host, &vm, &["pat", "write", "/dev/vdb", "1", "3", "77"]).await;
        let written = in_guest(host, &vm, &["pat", "sum", "/dev/vdb", "0", "8"]).await;
        in_guest(host, &vm, &["sync"]).await;
        kvmctl.ok(&["vm", "shutdown", &vm, "--timeout", "3m"]).await;
        let bundle = kvmctl.home().join("web.tar.zst");
        let bundle = bundle.to_str().expect("a path of the lab");
        kvmctl.ok(&["vm", "export", &vm, bundle]).await;
        assert_eq!(run(&["tar", "--zstd", "-tf", bundle]).await.lines().next(), Some("bundle.json"));
        let folder = kvmctl.home().join("bundle");
        std::fs::create_dir(&folder).expect("a directory of the test");
        run(&["tar", "--zstd", "-xf", bundle, "-C", folder.to_str().expect("a path")]).await;
        assert_sums(&folder).await;

        let running = kvmctl.run(&["vm", "import", bundle, "--name", &copy]).await;
        assert_eq!(running.code, Some(4), "its uuid is taken: {running:?}");
        kvmctl.ok(&["vm", "import", bundle, "--name", &copy, "--fresh"]).await;
        let shown = kvmctl.json(&["vm", "show", &copy]).await;
        assert_eq!(shown["description"], Value::String("a < b & c".into()), "{shown}");
        boots(host, &kvmctl, &copy).await;
        assert_eq!(in_guest(host, &copy, &["label"]).await.trim(), "bundled", "what only the upper image has");
        assert_eq!(in_guest(host, &copy, &["pat", "sum", "/dev/vdb", "0", "8"]).await, written);
        kvmctl.ok(&["vm", "delete", &copy, "--power-off", "--delete-volumes", "--yes"]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        let rest = host.virsh(&["vol-list", "default"]).await;
        for volume in
            rest.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with(&vm))
        {
            host.virsh(&["vol-delete", "--pool", "default", volume]).await;
        }
        host.assert_as(&before).await;
    });
}

/// The digests of a bundle are those that everybody computes.
async fn assert_sums(folder: &Path) {
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).expect("the digests");
    assert_eq!(sums.lines().count(), 4, "{sums}");
    for line in sums.lines() {
        let (digest, name) = line.split_once("  ").expect("a digest");
        let file = folder.join(name);
        assert!(run(&["sha256sum", file.to_str().expect("a path")]).await.starts_with(digest), "{name}");
    }
}

/// A host's libvirtd and its files, before strangers have their say.
struct Watch<'a> {
    host: &'a LabHost,
    process: String,
    peak: u64,
    files: Vec<String>,
}

impl<'a> Watch<'a> {
    async fn begin(host: &'a LabHost) -> Self {
        let process = host.exec(&["cat", "/run/lab.libvirtd.pid"]).await.succeeded().trim().to_owned();
        let limits = host.exec(&["cat", &format!("/proc/{process}/limits")]).await.succeeded();
        let bound = limits.lines().find(|line| line.starts_with("Max address space"));
        assert!(bound.is_some_and(|line| !line.contains("unlimited")), "{limits}");
        let (peak, files) = (peak(host, &process).await, files(host).await);
        Self { host, process, peak, files }
    }

    /// The same libvirtd answers, it has needed hardly more memory, and no file has come, gone or changed.
    async fn end(self) {
        let Self { host, process, .. } = &self;
        host.virsh(&["list"]).await;
        assert_eq!(host.exec(&["cat", "/run/lab.libvirtd.pid"]).await.succeeded().trim(), process);
        let more = peak(host, process).await.saturating_sub(self.peak);
        assert!(more <= 64 << 10, "libvirtd needed {more} KiB more");
        assert_eq!(files(host).await, self.files);
    }
}

/// The most memory that a process has had, in KiB.
async fn peak(host: &LabHost, process: &str) -> u64 {
    let status = host.exec(&["cat", &format!("/proc/{process}/status")]).await.succeeded();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_else(|| panic!("{status}"));
    line.trim().trim_end_matches(" kB").parse().unwrap_or_else(|e| panic!("{line}: {e}"))
}

/// Everything that strangers would like to write to, with size and time of the last change.
async fn files(host: &LabHost) -> Vec<String> {
    let find = ["find", "/etc", "/root", "/var/lib/libvirt", "-type", "f", "-printf", "%p %s %T@\\n"];
    let found = host.exec(&find).await.succeeded();
    let mut files: Vec<_> = found.lines().map(ToOwned::to_owned).collect();
    files.sort();
    files
}

#[test]
fn documents_of_strangers_do_not_reach_libvirtd() {
    on_a_host_within(LIMIT, async |host| {
        let (kvmctl, vm) = (host.kvmctl(), host.unique("origin"));
        kvmctl.ok(&["vm", "create", &vm, "--disk", "8M", "--network", "user", "--memory", "64M", "--vcpus", "1"]).await;
        let plain = host.virsh(&["dumpxml", "--inactive", &vm]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--yes"]).await;
        let before = host.stock().await;
        let watch = Watch::begin(host).await;

        let head = |more: &str| plain.replacen("<devices>", &format!("{more}<devices>"), 1);
        let device = |more: &str| plain.replacen("</devices>", &format!("{more}</devices>"), 1);
        let cpus = |count: &str| plain.replacen(">1</vcpu>", &format!(">{count}</vcpu>"), 1);
        let laughs: String =
            (1..10).map(|i| format!("<!ENTITY l{i} '{}'>", format!("&l{};", i - 1).repeat(10))).collect();
        let cells: String = (0..2000).map(|i| format!("<cell id='{i}' cpus='{i}' memory='1'/>")).collect();
        let cases = [
            ("entity", format!("<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/hostname'>]>{plain}")),
            ("laughs", format!("<!DOCTYPE d [<!ENTITY l0 'ha'>{laughs}]>{}", head("<title>&l9;</title>"))),
            ("depth", head(&format!("{}{}", "<a>".repeat(300), "</a>".repeat(300)))),
            ("text", head(&format!("<description>{}</description>", "x".repeat(5 << 20)))),
            ("long text", head(&format!("<description>{}</description>", "x".repeat(8193)))),
            // Each of these ends libvirtd, or has it take all the memory that there is.
            ("no cpus", cpus("-1")),
            ("all cpus", cpus("4294967295")),
            ("many cpus", cpus("16777216")),
            ("iothreads", head("<iothreads>1000000</iothreads>")),
            ("cells", head(&format!("<cpu><numa>{cells}</numa></cpu>"))),
            ("two names", head("<name>other</name>")),
            ("after the end", format!("{plain}\0")),
            (
                "qemu",
                head("<commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><arg value='-x'/></commandline>"),
            ),
            ("seclabel", head("<seclabel type='none'/>")),
            ("emulator", device("<emulator>/tmp/evil</emulator>")),
            ("file", device("<disk type='file'><source file='/etc/shadow'/><target dev='vdb' bus='virtio'/></disk>")),
            ("device", device("<disk type='block'><source dev='/dev/sda'/><target dev='vdb' bus='virtio'/></disk>")),
            ("script", device("<interface type='ethernet'><script path='/tmp/evil'/></interface>")),
            ("serial", device("<serial type='file'><source path='/etc/cron.d/x'/></serial>")),
            ("directory", device("<filesystem type='mount'><source dir='/'/><target dir='x'/></filesystem>")),
            (
                "socket",
                device(
                    "<channel type='unix'><source mode='connect' path='/run/libvirt/libvirt-sock'/>\
                     <target type='virtio' name='x'/></channel>",
                ),
            ),
            (
                "screen",
                device("<graphics type='vnc' autoport='yes'><listen type='address' address='0.0.0.0'/></graphics>"),
            ),
        ];
        for (what, document) in cases {
            assert_ne!(document, plain, "{what}");
            let file = kvmctl.give("stranger.xml", document);
            let ended = kvmctl.run(&["vm", "import", &file.to_string_lossy()]).await;
            assert_eq!(ended.code, Some(INVALID_INPUT), "{what}: {ended}");
        }
        watch.end().await;
        host.assert_as(&before).await;

        // What was refused was what had been added.
        let file = kvmctl.give("friend.xml", &plain);
        kvmctl.ok(&["vm", "import", &file.to_string_lossy()]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}

#[test]
fn packages_of_strangers_leave_nothing_behind() {
    on_a_host_within(LIMIT, async |host| {
        let (kvmctl, vm) = (host.kvmctl(), host.unique("origin"));
        let shape = ["--disk", "8M", "--network", "user", "--memory", "64M"];
        kvmctl.ok(&[&["vm", "create", &vm], &shape[..]].concat()).await;
        let at = |name: &str| kvmctl.home().join(name).to_str().expect("a path of the lab").to_owned();
        kvmctl.ok(&["vm", "export", &vm, &at("good.ova")]).await;
        kvmctl.ok(&["vm", "export", &vm, &at("good.tar.zst")]).await;
        let before = host.stock().await;
        let watch = Watch::begin(host).await;

        // One flipped byte in a disk.
        let mut bytes = std::fs::read(at("good.ova")).expect("the archive");
        let last = bytes.len() - 2000;
        bytes[last] ^= 1;
        kvmctl.give("flipped.ova", &bytes);
        kvmctl.give("cut.ova", &bytes[..last]);
        // What other programs would write wherever it says.
        std::fs::create_dir(at("ova")).expect("a directory of the test");
        run(&["tar", "-xf", &at("good.ova"), "-C", &at("ova")]).await;
        std::os::unix::fs::symlink("/etc/passwd", at("ova/link")).expect("a link of the test");
        let parts = "--transform=s,^link$,../../../../../etc/cron.d/x,";
        run(&["tar", "-cPf", &at("link.ova"), "-C", &at("ova"), "link"]).await;
        run(&["tar", "-cPhf", &at("outside.ova"), parts, "-C", &at("ova"), "--", "link"]).await;
        // A bundle whose digests hold, of a machine that would write a file of the host.
        std::fs::create_dir(at("bundle")).expect("a directory of the test");
        run(&["tar", "--zstd", "-xf", &at("good.tar.zst"), "-C", &at("bundle")]).await;
        let definition = std::fs::read_to_string(at("bundle/machine.xml")).expect("the document");
        let port = "<serial type='file'><source path='/etc/cron.d/x'/></serial></devices>";
        let definition = definition.replace("</devices>", port);
        std::fs::write(at("bundle/machine.xml"), &definition).expect("the document");
        let index = std::fs::read(at("bundle/bundle.json")).expect("the index");
        let mut index: Value = serde_json::from_slice(&index).expect("the index");
        index["definition_bytes"] = definition.len().into();
        std::fs::write(at("bundle/bundle.json"), index.to_string()).expect("the index");
        let names = ["bundle.json", "machine.xml", "disks/vda.qcow2"];
        let mut sums = String::new();
        for name in names {
            let sum = run(&["sha256sum", &at(&format!("bundle/{name}"))]).await;
            let digest = sum.split_whitespace().next().expect("a digest");
            sums += &format!("{digest}  {name}\n");
        }
        std::fs::write(at("bundle/SHA256SUMS"), sums).expect("the digests");
        let all = [&["tar", "--zstd", "-cf", &at("serial.tar.zst"), "-C", &at("bundle")], &names[..], &["SHA256SUMS"]];
        run(&all.concat()).await;

        let listed = || {
            let entries = std::fs::read_dir(kvmctl.home()).expect("the test's directory");
            let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        let files = listed();
        for (package, code, why) in [
            ("flipped.ova", 10, "is not what its digest says"),
            ("cut.ova", 10, "is cut off"),
            ("link.ova", 2, "plain files only"),
            ("outside.ova", 2, "archive member"),
            ("serial.tar.zst", 2, "domain/devices/serial"),
        ] {
            let ended = kvmctl.run(&["vm", "import", &at(package), "--name", "stranger", "--fresh"]).await;
            assert_eq!(ended.code, Some(code), "{package}: {ended}");
            assert!(ended.stderr.contains(why), "{package}: {ended}");
        }
        assert_eq!(listed(), files, "nothing is unpacked under a name");
        watch.end().await;
        host.assert_as(&before).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}

#[test]
fn a_machine_that_runs_is_not_exported() {
    on_a_host_within(LIMIT, async |host| {
        let (kvmctl, vm) = (host.kvmctl(), host.unique("busy"));
        kvmctl
            .ok(&["vm", "create", &vm, "--disk", "8M", "--network", "user", "--memory", "64M", "--start-paused"])
            .await;
        let ova = kvmctl.home().join("busy.ova");
        let refused = kvmctl.run(&["vm", "export", &vm, ova.to_str().expect("a path")]).await;
        assert_eq!(refused.code, Some(5), "{refused:?}");
        assert!(!ova.exists());
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
    });
}
