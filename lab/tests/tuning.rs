//! Which of the host's CPUs a machine uses, and how much of them.

use std::time::Duration;

use kvm_lab::{eventually, on_a_host};

/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// The state does not allow it.
const INVALID_STATE: i32 = 5;
/// No answer, or not in time.
const UNAVAILABLE: i32 = 8;

#[test]
fn threads_of_a_running_guest_are_pinned_and_limited() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("tuning"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "192M", "--max-memory", "256M", "--vcpus", "1", "--max-vcpus", "2"];
        let rest = ["--topology", "cores=2", "--network", "user", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..], &rest[..]].concat()).await;

        // What libvirt says is what was asked for, in both documents.
        let pins = ["--vcpu-pin", "0=0", "--emulator-pin", "0", "--cpu-shares", "512", "--cpu-quota", "50ms"];
        kvmctl.ok(&[&["vm", "set", &vm], &pins[..]].concat()).await;
        for which in ["--live", "--config"] {
            let pinned = host.virsh(&["vcpupin", &vm, "0", which]).await;
            assert!(pinned.split_whitespace().eq(["0", "0"]), "{which}: {pinned}");
            let limits = host.virsh(&["schedinfo", &vm, which]).await;
            let has =
                |key: &str, value: &str| limits.lines().any(|line| line.split(':').map(str::trim).eq([key, value]));
            assert!(has("cpu_shares", "512") && has("vcpu_quota", "50000"), "{which}: {limits}");
        }
        assert_eq!(host.virsh(&["emulatorpin", &vm]).await.trim(), "0");
        assert_eq!(kvmctl.run(&["vm", "set", &vm, "--vcpu-pin", "0=4095"]).await.code, Some(2));
        assert_eq!(kvmctl.run(&["vm", "set", &vm, "--vcpu-pin", "7=0"]).await.code, Some(2));

        // There is room for a second virtual CPU and for more memory, without a new start.
        let present = "/sys/devices/system/cpu/present";
        let sees = async |wanted: &str| {
            let seen = async || {
                let said = host.exec_in_guest(&vm, &["cat", present]).await?;
                (said.trim() == wanted).then_some(())
            };
            eventually(BOOT, &format!("{wanted} in {present}"), seen).await;
        };
        kvmctl.ok(&["vm", "set", &vm, "--cpu-quota", "none"]).await;
        sees("0").await;
        kvmctl.ok(&["vm", "set", &vm, "--vcpus", "2", "--memory", "256M"]).await;
        sees("0-1").await;
        let topology = host.virsh(&["dumpxml", &vm]).await;
        assert!(topology.contains("cores='2'"), "{topology}");

        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_guest_finds_its_numa_cells_and_its_memory_comes_from_the_hosts_node() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("numa"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "320M", "--vcpus", "2", "--network", "user", "--start"];
        let cells = ["--numa", "cpus=0,memory=192M", "--numa", "cpus=1,memory=128M", "--numa-nodes", "0"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..], &cells[..]].concat()).await;
        let tuned = host.virsh(&["numatune", &vm]).await;
        let has = |key: &str, value: &str| tuned.lines().any(|line| line.split(':').map(str::trim).eq([key, value]));
        assert!(has("numa_mode", "strict") && has("numa_nodeset", "0"), "{tuned}");
        let look = "cat /sys/devices/system/node/online /sys/devices/system/node/node1/cpulist";
        let seen = async || {
            let said = host.exec_in_guest(&vm, &["sh", "-c", look]).await?;
            said.split_whitespace().eq(["0-1", "1"]).then_some(())
        };
        eventually(BOOT, "two nodes in the guest", seen).await;

        // What the host does not have is refused with what it has, and what a running guest keeps, with how it changes.
        let absent = kvmctl.run(&["vm", "set", &vm, "--numa-nodes", "0-1", "--only", "config"]).await;
        assert!(absent.code == Some(2) && absent.stderr.contains("no NUMA node 1: its only one is 0"), "{absent}");
        let other = ["--numa", "cpus=0-1,memory=320M", "--numa-mode", "restrictive"];
        let refused = kvmctl.run(&[&["vm", "set", &vm], &other[..]].concat()).await;
        assert!(refused.code == Some(5) && refused.stderr.contains("--only config"), "{refused}");
        assert!(host.virsh(&["dumpxml", "--inactive", &vm]).await.contains("mode='strict'"), "nothing has changed");
        kvmctl.ok(&[&["vm", "set", &vm, "--only", "config"], &other[..]].concat()).await;
        let waiting = kvmctl.json(&["vm", "pending", &vm]).await.to_string();
        assert!(waiting.contains("restrictive") && waiting.contains("numa"), "{waiting}");
        kvmctl.ok(&["vm", "power-off", &vm, "--yes"]).await;
        kvmctl.ok(&["vm", "start", &vm]).await;
        let look = "cat /sys/devices/system/node/online";
        let seen = async || (host.exec_in_guest(&vm, &["sh", "-c", look]).await?.trim() == "0").then_some(());
        eventually(BOOT, "one node in the guest", seen).await;
        assert!(host.virsh(&["numatune", &vm]).await.contains("restrictive"));
        kvmctl.ok(&["vm", "set", &vm, "--numa-nodes", "0"]).await;

        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn memory_modules_come_into_a_running_guest_and_leave_it() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("dimm"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "user", "--start"];
        let places = ["--memory-slots", "2", "--max-memory", "1G"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..], &places[..]].concat()).await;
        // Linux counts memory in blocks, whether they are in use or not.
        let blocks = async || {
            let count = "ls -d /sys/devices/system/memory/memory* | wc -l";
            host.exec_in_guest(&vm, &["sh", "-c", count]).await?.trim().parse::<u32>().ok()
        };
        let (at_first, _) = eventually(BOOT, "the memory of the guest", blocks).await;
        let guest = async |script: &str| {
            eventually(BOOT, "an answer of the agent", async || host.exec_in_guest(&vm, &["sh", "-c", script]).await)
                .await;
        };
        let zone = "/sys/devices/system/memory/auto_online_blocks";
        // A guest that keeps its kernel out of a module gives it up again.
        guest(&format!("echo online_movable > {zone}")).await;
        kvmctl.ok(&["device", "attach", &vm, "dimm=256M"]).await;
        eventually(BOOT, "more memory in the guest", async || (blocks().await? > at_first).then_some(())).await;
        kvmctl.ok(&["device", "detach", &vm, "memory:ua-memory1", "--timeout", "3m"]).await;
        eventually(BOOT, "less memory in the guest", async || (blocks().await? == at_first).then_some(())).await;
        for which in [&["dumpxml", vm.as_str()][..], &["dumpxml", &vm, "--inactive"]] {
            assert!(!host.virsh(which).await.contains("<memory model="), "{which:?}");
        }

        guest(&format!("echo online > {zone}")).await;
        kvmctl.ok(&["device", "attach", &vm, "dimm=256M"]).await;
        eventually(BOOT, "more memory in the guest", async || (blocks().await? > at_first).then_some(())).await;
        let devices = kvmctl.json(&["device", "list", &vm]).await;
        let module = devices.as_array().unwrap().iter().find(|device| device["kind"] == "memory").cloned();
        let module = module.unwrap_or_else(|| panic!("{devices}"));
        assert_eq!((&module["device"], &module["documents"]), (&"memory:ua-memory1".into(), &"both".into()));
        let refused = kvmctl.run(&["device", "attach", &vm, "dimm=600M"]).await;
        assert!(refused.code != Some(0) && refused.stderr.contains("can have 1 GiB at most"), "{refused}");
        // One whose kernel has put something there keeps it, in its configuration as well.
        guest("for i in $(seq 3000); do mkdir /tmp/$i; done").await;
        let kept = kvmctl.run(&["device", "detach", &vm, "memory:ua-memory1", "--timeout", "20s"]).await;
        assert!(matches!(kept.code, Some(INVALID_STATE | UNAVAILABLE)), "{kept}");
        assert!(kept.stderr.contains("memory:ua-memory1") && kept.stderr.contains("online_movable"), "{kept}");
        assert_eq!(kvmctl.json(&["device", "list", &vm]).await, devices);
        // For its next start alone, and away again.
        kvmctl.ok(&["device", "attach", &vm, "dimm=128M", "--only", "config"]).await;
        kvmctl.ok(&["device", "detach", &vm, "memory:ua-memory2", "--only", "config"]).await;

        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        host.assert_as(&before).await;
    });
}
