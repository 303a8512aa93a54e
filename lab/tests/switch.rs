//! Network devices on Open vSwitch: those of one tag meet, those of another do not.

use std::time::Duration;

use kvm_lab::{LabHost, eventually, on_a_host_within};

/// Three guests boot, on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(420);

const BRIDGE: &str = "ovs-lab0";
const RUNTIME: &str = "/run/openvswitch";
const DATABASE: &str = "/run/openvswitch/lab.db";

/// Starts a switch that needs nothing of the kernel but tap devices.
async fn start_switch(host: &LabHost) {
    stop_switch(host).await;
    let schema = "/usr/share/openvswitch/vswitch.ovsschema";
    let socket = format!("--remote=punix:{RUNTIME}/db.sock");
    // Without what Debian's alternatives lead to: a host has an /etc of its own.
    let daemon = "/usr/lib/openvswitch-switch/ovs-vswitchd";
    let commands: [&[&str]; 6] = [
        &["mkdir", "-p", RUNTIME],
        &["ovsdb-tool", "create", DATABASE, schema],
        &["ovsdb-server", DATABASE, &socket, "--pidfile", "--detach", "--log-file=/dev/null"],
        &["ovs-vsctl", "--no-wait", "init"],
        &[daemon, "--pidfile", "--detach", "--log-file=/dev/null"],
        &["ovs-vsctl", "--timeout=20", "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"],
    ];
    for command in commands {
        host.exec(command).await.succeeded();
    }
}

/// Ends it, also one that an earlier test left behind.
async fn stop_switch(host: &LabHost) {
    for daemon in ["ovs-vswitchd", "ovsdb-server"] {
        let _not_there = host.exec(&["ovs-appctl", "--timeout=20", "-t", daemon, "exit"]).await;
        eventually(SOON, "the end of the switch", async || {
            (host.exec(&["pgrep", "-x", daemon]).await.code != Some(0)).then_some(())
        })
        .await;
    }
    host.exec(&["rm", "-rf", RUNTIME]).await.succeeded();
    // The device of a bridge without a switch.
    let _gone = host.exec(&["ip", "link", "delete", BRIDGE]).await;
}

async fn sh(host: &LabHost, vm: &str, script: &str) -> String {
    let answer = async || host.exec_in_guest(vm, &["sh", "-c", script]).await;
    eventually(BOOT, "an answer of the guest's agent", answer).await.0.trim().to_owned()
}

#[test]
fn devices_on_a_switch_meet_only_those_of_their_tag() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        start_switch(host).await;
        let (kvmctl, net) = (host.kvmctl(), host.unique("ovs"));
        let groups = ["--portgroup", "web,vlan=10", "--portgroup", "db,vlan=20"];
        kvmctl.ok(&[&["net", "create", &net, "--mode", "ovs", "--bridge", BRIDGE], &groups[..]].concat()).await;
        let mut vms = Vec::new();
        for (number, plug) in [
            (1, format!("{net},portgroup=web")),
            (2, format!("ovs={BRIDGE},vlan=10")),
            (3, format!("{net},portgroup=db")),
        ] {
            let vm = host.unique("tag");
            let disk = format!("volume={}", host.place_boot_disk(&vm).await);
            let machine = ["--memory", "192M", "--vcpus", "1", "--network", &plug, "--start"];
            kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;
            vms.push((vm, format!("10.97.0.{number}")));
        }
        for (vm, address) in &vms {
            sh(host, vm, &format!("ip link set eth0 up; ip addr add {address}/24 dev eth0")).await;
        }
        let tags = host.exec(&["ovs-vsctl", "--bare", "--columns=tag", "list", "port"]).await.succeeded();
        let mut tags: Vec<_> = tags.split_whitespace().collect();
        tags.sort_unstable();
        assert_eq!(tags, ["10", "10", "20"], "the ports of the switch");

        let reaches = async |address: &str| {
            sh(host, &vms[0].0, &format!("ping -c 1 -W 2 {address} >/dev/null 2>&1 && echo yes || echo no")).await
                == "yes"
        };
        eventually(SOON, "the other device of the tag", async || reaches(&vms[1].1).await.then_some(())).await;
        assert!(!reaches(&vms[2].1).await, "a device of another tag answers");
        // The devices were up all the while.
        assert!(reaches(&vms[1].1).await);

        for (vm, _) in &vms {
            kvmctl.ok(&["vm", "delete", vm, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        let ports = host.exec(&["ovs-vsctl", "list-ports", BRIDGE]).await.succeeded();
        assert_eq!(ports.trim(), "", "ports are left on the switch");
        kvmctl.ok(&["net", "stop", &net]).await;
        kvmctl.ok(&["net", "delete", &net, "--yes"]).await;
        stop_switch(host).await;
        host.assert_as(&before).await;
    });
}
