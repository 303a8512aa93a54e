//! Devices that are neither disks, nor network devices, nor screens, on real libvirt and QEMU.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_a_host};
use serde_json::Value;

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);

async fn in_guest(host: &LabHost, vm: &str, command: &[&str]) -> String {
    eventually(BOOT, "an answer of the guest's agent", async || host.exec_in_guest(vm, command).await).await.0
}

/// The devices of a VM, each with the documents that have it.
async fn listed(kvmctl: &Kvmctl, vm: &str) -> Vec<(String, String)> {
    let listed = kvmctl.json(&["device", "list", vm]).await;
    let word = |device: &Value, key: &str| device[key].as_str().unwrap_or_default().to_owned();
    let devices = listed.as_array().cloned().unwrap_or_default();
    devices.iter().map(|device| (word(device, "device"), word(device, "documents"))).collect()
}

fn has(devices: &[(String, String)], device: &str, documents: &str) -> bool {
    devices.iter().any(|(name, there)| name == device && there == documents)
}

/// The arguments that QEMU was started with.
async fn command_line(host: &LabHost, vm: &str) -> String {
    let found = host.exec(&["pgrep", "--full", "--list-full", &format!("guest={vm},")]).await;
    found.succeeded()
}

#[test]
fn a_running_guest_gets_devices_and_gives_them_up() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("hotplug"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "user", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;
        in_guest(host, &vm, &["true"]).await;
        for (spec, device) in [("rng=builtin", "rng:ua-rng1"), ("controller=scsi", "controller:scsi.0")] {
            kvmctl.ok(&["device", "attach", &vm, spec]).await;
            let now = listed(&kvmctl, &vm).await;
            assert!(has(&now, device, "both"), "{device}: {now:?}");
        }
        // The guest sees the generator beside its first one, and libvirt the same as we.
        let entropy = "/sys/class/misc/hw_random/rng_available";
        let sees =
            async || (in_guest(host, &vm, &["cat", entropy]).await.split_whitespace().count() == 2).then_some(());
        eventually(BOOT, "a second generator in the guest", sees).await;
        assert!(host.virsh(&["dumpxml", &vm]).await.contains("<alias name='ua-rng1'/>"));
        // A disk finds the controller that came while the guest ran.
        kvmctl.ok(&["disk", "attach", &vm, "16M,bus=scsi"]).await;
        kvmctl.ok(&["disk", "detach", &vm, "sda", "--delete-volume", "--yes"]).await;

        for device in ["rng:ua-rng1", "controller:scsi.0"] {
            kvmctl.ok(&["device", "detach", &vm, device]).await;
            let now = listed(&kvmctl, &vm).await;
            assert!(!now.iter().any(|(name, _)| name == device), "{device}: {now:?}");
        }
        for (spec, why) in [("sound", "cannot be plugged into a running VM"), ("watchdog", "PCI express alone")] {
            kvmctl.fails(&["device", "attach", &vm, spec], 7, why, "--only config").await;
        }
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_new_machine_starts_with_the_devices_that_it_was_made_with() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("devices"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "none", "--graphics", "spice", "--start"];
        let devices = ["sound", "redirect", "redirect", "clipboard", "watchdog=itco,action=poweroff", "controller=usb"];
        let devices = devices.map(|device| ["--device", device]).concat();
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..], &devices[..]].concat()).await;
        let now = listed(&kvmctl, &vm).await;
        for device in [
            "sound:ua-sound1",
            "redirect:ua-redirect1",
            "redirect:ua-redirect2",
            "channel:com.redhat.spice.0",
            "watchdog:itco",
            "controller:usb.0",
        ] {
            assert!(has(&now, device, "both"), "{device}: {now:?}");
        }
        let qemu = command_line(host, &vm).await;
        for part in ["ich9-intel-hda", "usb-redir", "spicevmc", "com.redhat.spice.0", "qemu-xhci"] {
            assert!(qemu.contains(part), "{part} in {qemu}");
        }
        in_guest(host, &vm, &["true"]).await;
        // A port for a USB device comes and goes while the guest runs.
        kvmctl.ok(&["device", "attach", &vm, "redirect"]).await;
        assert!(has(&listed(&kvmctl, &vm).await, "redirect:ua-redirect3", "both"));
        kvmctl.ok(&["device", "detach", &vm, "redirect:ua-redirect3"]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_disk_is_what_its_options_say_and_as_fast_as_it_may_be() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("options"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let second = format!(
            "64M,name={vm}-second.qcow2,serial=A1,cache=none,io=native,discard=ignore,iothread=1,write_bytes=20MiB"
        );
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "none", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &second], &machine[..]].concat()).await;
        let qemu = command_line(host, &vm).await;
        for part in
            ["iothread1", "\"serial\":\"A1\"", "\"aio\":\"native\"", "\"discard\":\"ignore\"", "\"discard\":\"unmap\""]
        {
            assert!(qemu.contains(part), "{part} in {qemu}");
        }
        assert_eq!(in_guest(host, &vm, &["cat", "/sys/block/vdb/serial"]).await.trim(), "A1");

        // Limits of the running machine as libvirt tells them, before and after they change.
        let limits = async |name: &str, flag: &str| {
            let told = host.virsh(&["blkdeviotune", &vm, "vdb", flag]).await;
            let mut pairs = told.lines().filter_map(|line| line.split_once(':'));
            let (_, limit) = pairs.find(|(key, _)| key.trim() == name)?;
            limit.trim().parse::<u64>().ok()
        };
        assert_eq!(limits("write_bytes_sec", "--live").await, Some(20 << 20));
        kvmctl.ok(&["disk", "limit", &vm, "vdb", "--read-bytes", "50MiB", "--total-iops", "500"]).await;
        for flag in ["--live", "--config"] {
            assert_eq!(limits("read_bytes_sec", flag).await, Some(50 << 20));
            assert_eq!(limits("total_iops_sec", flag).await, Some(500));
            assert_eq!(limits("write_bytes_sec", flag).await, Some(0));
        }
        kvmctl.ok(&["disk", "limit", &vm, "vdb", "--none", "--only", "live"]).await;
        assert_eq!(limits("total_iops_sec", "--live").await, Some(0));
        assert_eq!(limits("total_iops_sec", "--config").await, Some(500));

        // One that comes while the guest runs brings its own.
        kvmctl.ok(&["disk", "attach", &vm, "16M,serial=B2,iothread=2,total_bytes=10MiB"]).await;
        let told = host.virsh(&["blkdeviotune", &vm, "vdc"]).await;
        assert!(told.contains("10485760"), "{told}");
        let threads = host.virsh(&["iothreadinfo", &vm]).await;
        assert_eq!(threads.lines().filter(|line| line.trim_start().starts_with(['1', '2'])).count(), 2, "{threads}");
        let sees = async || in_guest(host, &vm, &["ls", "/sys/block"]).await.contains("vdc").then_some(());
        eventually(BOOT, "vdc in the guest", sees).await;
        assert_eq!(in_guest(host, &vm, &["cat", "/sys/block/vdc/serial"]).await.trim(), "B2");
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn what_needs_another_kernel_or_program_is_configured_as_libvirt_takes_it() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("configured"));
        kvmctl.give("config/kvm-manager/config.toml", "[policy]\nallowed_paths = [\"/usr/share\"]\n");
        kvmctl.ok(&["vm", "create", &vm, "--memory", "256M", "--network", "none"]).await;
        for (spec, device) in [
            ("vsock=7", "vsock"),
            ("share=/usr/share,tag=data,readonly", "share:data"),
            ("clipboard", "channel:com.redhat.spice.0"),
            ("sound=usb", "sound:ua-sound1"),
            ("watchdog=i6300esb", "watchdog:i6300esb"),
        ] {
            kvmctl.ok(&["device", "attach", &vm, spec]).await;
            let now = listed(&kvmctl, &vm).await;
            assert!(has(&now, device, "config"), "{device}: {now:?}");
        }
        let document = host.virsh(&["dumpxml", &vm]).await;
        for part in [
            "<cid auto='no' address='7'/>",
            "<source type='memfd'/>",
            "<access mode='shared'/>",
            "<driver type='virtiofs'/>",
            "<source dir='/usr/share'/>",
            "<clipboard copypaste='yes'/>",
        ] {
            assert!(document.contains(part), "{part} in {document}");
        }
        kvmctl
            .fails(&["device", "attach", &vm, "share=/usr/lib,tag=lib"], 2, "below no allowed path", "allowed_paths")
            .await;
        // The others start; these two wait for their kernel and their program.
        kvmctl.ok(&["device", "detach", &vm, "share"]).await;
        kvmctl.ok(&["device", "detach", &vm, "vsock"]).await;
        kvmctl.ok(&["vm", "start", &vm]).await;
        let qemu = command_line(host, &vm).await;
        for part in ["qemu-vdagent", "usb-audio", "i6300esb"] {
            assert!(qemu.contains(part), "{part} in {qemu}");
        }
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--yes"]).await;
        host.assert_as(&before).await;
    });
}
