//! The life of a guest, from its creation to its deletion, with `kvmctl` on a real host.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, Running, eventually, on_a_host, within};
use rustix::process::Signal;
use serde_json::Value;

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// What a host does at once, with patience for a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// The serial console of a guest, as `kvmctl vm console` gives it on a pipe.
struct Serial(Running);

impl Serial {
    /// Opens it and lets the guest, which was started paused, boot: so nothing of what it says is missed.
    async fn boot(kvmctl: &Kvmctl, vm: &str) -> (Self, String) {
        let mut serial = Self(kvmctl.start(&["vm", "console", vm]));
        kvmctl.ok(&["vm", "resume", vm]).await;
        let announced = serial.announced().await;
        (serial, announced)
    }

    /// Waits until the guest says that it is up, and gives what it says.
    async fn announced(&mut self) -> String {
        within(BOOT, "the guest's announcement", self.0.line("GUEST-UP", |line| line.starts_with("GUEST-UP "))).await
    }

    /// Types a command and gives the line that it prints.
    async fn command(&mut self, command: &str) -> String {
        self.0.write(&format!("{command}\n")).await;
        let answer = self.0.line("an answer", |line| !line.is_empty());
        let answer = within(SOON, "the answer to a command", answer).await;
        let status = within(SOON, "the end of a command", self.0.line("RC=", |line| line.starts_with("RC="))).await;
        assert_eq!(status, "RC=0", "{command}: {answer}");
        answer
    }

    async fn leave(self) {
        self.0.signal(Signal::INT);
        let ended = self.0.ended().await;
        assert!(!ended.stderr.contains("panicked"), "{ended}");
    }
}

/// `ip` of `GUEST-UP name=guest ip=192.168.122.7 boot=bios agent=yes`.
fn field<'a>(announced: &'a str, key: &str) -> &'a str {
    let value = announced.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {key} in {announced}"))
}

async fn show(kvmctl: &Kvmctl, vm: &str) -> Value {
    kvmctl.json(&["vm", "show", vm]).await
}

async fn reaches(kvmctl: &Kvmctl, vm: &str, state: &str) {
    let there = async || (show(kvmctl, vm).await["state"] == state).then_some(());
    eventually(SOON, &format!("{vm} {state}"), there).await;
}

async fn in_guest(host: &LabHost, vm: &str, command: &[&str]) -> String {
    eventually(BOOT, "an answer of the guest's agent", async || host.exec_in_guest(vm, command).await).await.0
}

#[test]
fn a_guest_with_a_disk_is_created_booted_watched_changed_and_deleted_without_a_trace() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("disk"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start-paused"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;

        // It boots, and says so on its console, which also takes commands.
        let (mut serial, announced) = Serial::boot(&kvmctl, &vm).await;
        assert_eq!((field(&announced, "boot"), field(&announced, "agent")), ("bios", "yes"), "{announced}");
        assert_eq!(serial.command("echo the answer is $((6 * 7))").await, "the answer is 42");
        let occupied = kvmctl.run(&["vm", "console", &vm, "--timeout", "5s"]).await;
        assert_eq!(occupied.code, Some(75), "a second console has to be refused: {occupied}");

        // It is shown with its address, where that is known from, and its statistics.
        let shown = show(&kvmctl, &vm).await;
        assert_eq!(shown["state"], "running");
        let address = &shown["addresses"][0];
        assert_eq!(
            (&address["address"], &address["source"]),
            (&field(&announced, "ip").into(), &"lease".into()),
            "{shown}"
        );
        assert!(shown["stats"]["cpu_time_seconds"].as_f64() > Some(0.1), "{shown}");
        assert!(shown["stats"]["disks"]["vda"]["read_bytes"].as_u64() > Some(1 << 20), "{shown}");
        let listed = kvmctl.json(&["vm", "list", "--select", "state=running"]).await;
        assert!(
            listed.as_array().is_some_and(|vms| vms.iter().any(|listed| listed["name"] == vm.as_str())),
            "{listed}"
        );

        // A picture of its screen.
        let png = kvmctl.home().join("screen.png");
        kvmctl.ok(&["vm", "screenshot", &vm, &png.to_string_lossy()]).await;
        let picture = std::fs::read(&png).unwrap();
        assert_eq!((&picture[..8], &picture[12..16]), (&b"\x89PNG\r\n\x1a\n"[..], &b"IHDR"[..]));
        let side = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
        assert!((300..10_000).contains(&side(16)) && (200..10_000).contains(&side(20)), "{} x {}", side(16), side(20));

        // It is frozen and goes on, reboots by itself and by the reset button.
        kvmctl.ok(&["vm", "suspend", &vm]).await;
        reaches(&kvmctl, &vm, "paused").await;
        kvmctl.ok(&["vm", "resume", &vm]).await;
        reaches(&kvmctl, &vm, "running").await;
        serial.command("touch /run/before-reboot && echo done").await;
        kvmctl.ok(&["vm", "reboot", &vm]).await;
        serial.announced().await;
        assert_eq!(serial.command("[ -e /run/before-reboot ] && echo there || echo gone").await, "gone");
        kvmctl.ok(&["vm", "reset", &vm]).await;
        serial.announced().await;
        serial.leave().await;

        // Its memory goes to disk and comes back.
        assert_eq!(in_guest(host, &vm, &["touch", "/run/before-save"]).await, "");
        kvmctl.ok(&["vm", "save", &vm]).await;
        reaches(&kvmctl, &vm, "saved").await;
        kvmctl.ok(&["vm", "start", &vm]).await;
        reaches(&kvmctl, &vm, "running").await;
        assert_eq!(in_guest(host, &vm, &["ls", "/run/before-save"]).await, "/run/before-save\n");

        // It gets notes while it runs, shuts down when it is asked to, and has a new name afterwards.
        kvmctl.ok(&["vm", "describe", &vm, "--title", "Shop <front> & \"more\""]).await;
        kvmctl.ok(&["vm", "tag", &vm, "--add", "prod", "--add", "owner=dba"]).await;
        kvmctl.ok(&["vm", "autostart", &vm]).await;
        let down = kvmctl.json(&["vm", "shutdown", &vm, "--timeout", "120s"]).await;
        assert_eq!(down[0]["outcome"], "obeyed", "{down}");
        let renamed = host.unique("renamed");
        kvmctl.ok(&["vm", "rename", &vm, &renamed]).await;
        let shown = show(&kvmctl, &renamed).await;
        assert_eq!((&shown["state"], &shown["title"]), (&"off".into(), &"Shop <front> & \"more\"".into()));
        assert_eq!((&shown["tags"], &shown["autostart"]), (&serde_json::json!(["owner=dba", "prod"]), &true.into()));

        // It goes with its disk, after a plan that says so.
        let plan = kvmctl.json(&["vm", "delete", &renamed, "--dry-run"]).await;
        let plan = &plan[0]["lines"];
        let removes =
            |what: &str| plan.as_array().unwrap().iter().any(|line| line["action"] == "remove" && line["name"] == what);
        assert!(removes(&format!("default/{vm}.qcow2")), "{plan}");
        kvmctl.ok(&["vm", "delete", &renamed, "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_guest_with_uefi_boots_and_its_variables_go_with_it() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("uefi"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--firmware", "uefi", "--memory", "384M", "--vcpus", "1", "--network", "none", "--start-paused"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;
        let (serial, announced) = Serial::boot(&kvmctl, &vm).await;
        assert_eq!(field(&announced, "boot"), "uefi", "{announced}");
        serial.leave().await;
        let variables = std::fs::read_dir(host.file("/var/lib/libvirt/qemu/nvram")).unwrap().flatten();
        let variables: Vec<_> = variables.map(|file| file.file_name()).collect();
        assert!(variables.iter().any(|file| file.to_string_lossy().starts_with(&vm)), "{variables:?}");

        let running = kvmctl.run(&["vm", "delete", &vm, "--yes"]).await;
        assert_eq!(running.code, Some(5), "{running}");
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes", "--power-off"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_guest_with_a_kernel_of_the_host_boots_and_finds_its_new_disk() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("kernel"));
        let guest = host.lab().dir().join("guest");
        let guest = guest.to_string_lossy();
        // Only files below an allowed path may be loaded.
        let (kernel, initrd) = (format!("{guest}/vmlinuz"), format!("{guest}/initrd"));
        let cmdline = format!("console=ttyS0 quiet panic=1 name={vm}");
        let boot = ["--kernel", &kernel, "--initrd", &initrd, "--cmdline", &cmdline];
        let machine = ["--disk", "64M", "--memory", "256M", "--vcpus", "1", "--network", "none", "--start-paused"];
        let create = [&["vm", "create", &vm], &machine[..], &boot].concat();
        let elsewhere = kvmctl.run(&create).await;
        assert_eq!(elsewhere.code, Some(2), "{elsewhere}");
        kvmctl.give("config/kvm-manager/config.toml", format!("[policy]\nallowed_paths = [\"{guest}\"]\n"));
        kvmctl.ok(&create).await;

        let (mut serial, announced) = Serial::boot(&kvmctl, &vm).await;
        assert_eq!((field(&announced, "name"), field(&announced, "boot")), (&*vm, "kernel"), "{announced}");
        assert_eq!(serial.command("cat /sys/block/vda/size").await, (64 << 11).to_string());
        serial.leave().await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        // Who has not seen a plan loses no data.
        kvmctl.ok(&["vm", "delete", &vm, "--yes"]).await;
        kvmctl.ok(&["vol", "delete", &format!("default/{vm}.qcow2"), "--yes"]).await;
        host.assert_as(&before).await;
    });
}
