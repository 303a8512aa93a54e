//! Networks of all modes, changed while guests use them, and ports of the host that lead to guests.

use std::time::Duration;

use kvm_lab::{LabHost, eventually, on_a_host, on_a_host_within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const CONFLICT: i32 = 4;
/// A guest boots in seconds, and in half a minute on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(180);
/// What a guest does at once, with patience for a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// For a test with a guest whose network restarts.
const LIMIT: Duration = Duration::from_secs(420);
/// How long a connection may take that leads nowhere.
const ANSWER: Duration = Duration::from_secs(5);

#[test]
fn networks_of_all_modes_come_and_go() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, stem) = (host.kvmctl(), host.unique("net"));
        let modes: [(&str, &[&str]); 7] = [
            ("nat", &["--cidr", "10.91.0.0/24", "--domain", "lab", "--dns-host", "10.91.0.1=gate", "--mtu", "1400"]),
            ("route", &["--cidr", "10.92.0.0/24", "--uplink", "eth0", "--dhcp", "10.92.0.100-10.92.0.199"]),
            ("open", &["--cidr", "10.93.0.0/24", "--cidr", "fd00:93::/64", "--no-dhcp"]),
            ("isolated", &["--cidr", "10.94.0.0/24", "--lease", "52:54:00:00:94:05=10.94.0.5,five"]),
            ("bridge", &["--bridge", "br-lab"]),
            ("ovs", &["--bridge", "ovs-lab", "--portgroup", "dmz,vlan=10", "--portgroup", "all,vlan=10,vlan=20"]),
            ("macvtap", &["--uplink", "eth0", "--macvtap-mode", "private"]),
        ];
        for (mode, flags) in modes {
            let name = format!("{stem}-{mode}");
            kvmctl.ok(&[&["net", "create", &name, "--mode", mode], flags].concat()).await;
            let shown = kvmctl.json(&["net", "show", &name]).await;
            assert_eq!(shown["active"], true, "{shown}");
            assert!(host.virsh(&["net-list", "--name"]).await.contains(&name));
        }
        let hosts = host.exec(&["cat", &format!("/var/lib/libvirt/dnsmasq/{stem}-nat.addnhosts")]).await.succeeded();
        assert!(hosts.contains("gate"), "{hosts}");

        // What the kernel has no virtual functions of does not start, and leaves nothing.
        let sriov = format!("{stem}-sriov");
        let failed = kvmctl.run(&["net", "create", &sriov, "--mode", "sriov", "--uplink", "eth0"]).await;
        assert_ne!(failed.code, Some(0));
        assert!(!host.virsh(&["net-list", "--all", "--name"]).await.contains(&sriov));
        let taken = kvmctl.run(&["net", "create", &sriov, "--cidr", "10.91.0.128/25"]).await;
        assert_eq!(taken.code, Some(CONFLICT), "{}", taken.stderr);

        for (mode, _) in modes {
            let name = format!("{stem}-{mode}");
            kvmctl.ok(&["net", "stop", &name]).await;
            kvmctl.ok(&["net", "delete", &name, "--yes"]).await;
        }
        host.assert_as(&before).await;
    });
}

#[test]
fn a_guest_gets_the_address_that_was_reserved_while_its_network_was_active() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, vm, net) = (host.kvmctl(), host.unique("lease"), host.unique("net"));
        let mac = "52:54:00:1e:a5:e0";
        kvmctl.ok(&["net", "create", &net, "--mode", "isolated", "--cidr", "10.95.0.0/24"]).await;
        kvmctl.ok(&["net", "lease", "add", &net, "--mac", mac, "--ip", "10.95.0.77", "--name", "seven"]).await;
        kvmctl.ok(&["net", "dns", "add", &net, "10.95.0.78=eight"]).await;
        kvmctl.ok(&["net", "portgroup", "add", &net, "dmz"]).await;
        kvmctl.ok(&["net", "dhcp", "remove", &net, "10.95.0.2-10.95.0.254"]).await;
        kvmctl.ok(&["net", "dhcp", "add", &net, "10.95.0.100-10.95.0.199"]).await;
        let leases = kvmctl.json(&["net", "lease", "list", &net]).await;
        assert_eq!((&leases[0]["address"], &leases[0]["documents"]), (&"10.95.0.77".into(), &"both".into()));

        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let nic = format!("{net},mac={mac}");
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", &nic, "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;
        let leased = async || {
            let leases = kvmctl.json(&["net", "leases", &net]).await;
            leases.as_array()?.iter().any(|lease| lease["mac"] == mac && lease["address"] == "10.95.0.77").then_some(())
        };
        eventually(BOOT, "the reserved address", leased).await;
        let name = async || {
            let (said, _) = eventually(BOOT, "an answer of the guest's agent", async || {
                host.exec_in_guest(&vm, &["nslookup", "-type=a", "eight", "10.95.0.1"]).await
            })
            .await;
            said.contains("10.95.0.78").then_some(())
        };
        eventually(SOON, "the name in the guest", name).await;
        let topology = kvmctl.json(&["net", "topology"]).await;
        let vms = topology["vms"].as_array().cloned().unwrap_or_default();
        let ours = vms.iter().find(|other| other["name"] == vm.as_str()).unwrap_or_else(|| panic!("{topology}"));
        assert_eq!(ours["nics"][0]["plug"], serde_json::json!({"kind": "network", "name": net}));

        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        kvmctl.ok(&["net", "stop", &net]).await;
        kvmctl.ok(&["net", "delete", &net, "--yes"]).await;
        host.assert_as(&before).await;
    });
}

/// What a web server at this port of the host says; `None` when there is none.
async fn fetch(host: &LabHost, port: u16) -> Option<String> {
    let talk = async {
        let mut stream = TcpStream::connect((host.address(), port)).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await.ok()?;
        Some(said)
    };
    timeout(ANSWER, talk).await.ok().flatten().filter(|said| said.contains("hello from"))
}

/// The host's packet filter, without counters.
async fn filter(host: &LabHost) -> String {
    let nat = host.exec(&["iptables", "-t", "nat", "-S"]).await.succeeded();
    nat + &host.exec(&["iptables", "-S"]).await.succeeded()
}

/// How many datagrams the guest got for which no program waits.
async fn datagrams(host: &LabHost, vm: &str) -> u64 {
    let counter = ["sed", "-n", "s/^Udp: [0-9]* \\([0-9]*\\) .*/\\1/p", "/proc/net/snmp"];
    let (said, _) = eventually(BOOT, "an answer of the agent", async || host.exec_in_guest(vm, &counter).await).await;
    said.trim().parse().unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// Sends a datagram to this port of the host until the guest has got one.
async fn send_datagrams(host: &LabHost, vm: &str, port: u16) {
    let (before, socket) = (datagrams(host, vm).await, UdpSocket::bind("0.0.0.0:0").await.unwrap());
    let arrived = async || {
        socket.send_to(b"anybody there?", (host.address(), port)).await.unwrap();
        (datagrams(host, vm).await > before).then_some(())
    };
    eventually(SOON, "a datagram in the guest", arrived).await;
}

/// Takes away what a reboot takes away of libvirt's networks: bridge, DHCP server, rules and what libvirtd remembers of them.
async fn forget_networks(host: &LabHost) {
    host.fault(&["kill", "libvirtd"]).await;
    let script = "kill $(cat /run/libvirt/network/default.pid); rm -r /run/libvirt/network/*; ip link delete virbr0; \
                  for table in filter nat mangle; do iptables -t $table -F; iptables -t $table -X; done";
    host.exec(&["sh", "-c", script]).await.succeeded();
    assert!(!filter(host).await.contains("kvmm_"));
    host.fault(&["start", "libvirtd"]).await;
}

#[test]
fn a_port_of_the_host_leads_to_a_guest_over_a_restart_of_its_network() {
    on_a_host_within(LIMIT, async |host| {
        let (before, filter_before) = (host.stock().await, filter(host).await);
        let (kvmctl, vm) = (host.kvmctl(), host.unique("forward"));
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let mac = "52:54:00:f0:4a:4d";
        let nic = format!("default,mac={mac}");
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", &nic, "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk], &machine[..]].concat()).await;
        let leased = async || {
            let leases = kvmctl.json(&["net", "leases", "default"]).await;
            leases.as_array()?.iter().any(|lease| lease["mac"] == mac).then_some(())
        };
        eventually(BOOT, "an address", leased).await;

        // Over the socket alone the host's programs are those of this machine: nothing is done here instead.
        let refused = kvmctl.run(&["net", "forward", "add", "default", "18080", &vm, "80"]).await;
        assert_ne!(refused.code, Some(0));
        assert_eq!(fetch(host, 18080).await, None);

        let kvmctl = host.kvmctl_over_ssh(&host.lab().dir().join("known_hosts"));
        kvmctl.ok(&["net", "forward", "add", "default", "18080", &vm, "80"]).await;
        eventually(SOON, "the guest behind the port", async || fetch(host, 18080).await).await;
        for (port, says) in [("18080", vm.as_str()), ("22", "the host itself")] {
            let taken = kvmctl.run(&["net", "forward", "add", "default", port, &vm]).await;
            assert_eq!(taken.code, Some(CONFLICT), "{taken}");
            assert!(taken.stderr.contains(says), "{taken}");
        }
        let udp = ["net", "forward", "add", "default", "15353", &vm, "53", "--protocol", "udp"];
        let plan = kvmctl.json(&[&udp[..], &["--dry-run"]].concat()).await;
        assert_eq!(plan["lines"].as_array().map(Vec::len), Some(1), "hook and address are there: {plan}");
        kvmctl.ok(&udp).await;
        let listed = kvmctl.json(&["net", "forward", "list"]).await;
        assert_eq!((&listed[0]["vm"], &listed[0]["port"]), (&vm.as_str().into(), &18080.into()), "{listed}");
        assert_eq!((&listed[1]["protocol"], &listed[1]["port"]), (&"udp".into(), &15353.into()), "{listed}");
        let with_forwards = filter(host).await;
        assert!(with_forwards.contains("-p udp") && with_forwards.contains("--dport 15353"), "{with_forwards}");

        send_datagrams(host, &vm, 15353).await;

        // The network stops, and the rules with it; it starts, and they are back.
        kvmctl.ok(&["net", "stop", "default"]).await;
        assert!(!filter(host).await.contains("kvmm_"));
        let started = kvmctl.json(&["net", "start", "default"]).await;
        assert_eq!(filter(host).await, with_forwards);
        // libvirt leaves the guest's cable unplugged when a network goes; kvmctl plugs it in again.
        let guest = &started["guests"][0];
        assert_eq!((&guest["vm"], &guest["mac"]), (&vm.as_str().into(), &mac.into()), "{started}");
        assert!(guest["trouble"].is_null() && started["guests"][1].is_null(), "{started}");
        eventually(SOON, "the guest behind the port again", async || fetch(host, 18080).await).await;

        // A reboot, as far as networks and rules are concerned; libvirtd plugs the guest in by itself when it begins.
        forget_networks(host).await;
        let filtered = async || (filter(host).await == with_forwards).then_some(());
        eventually(SOON, "the rules that there were", filtered).await;
        eventually(SOON, "the guest behind the port after a reboot", async || fetch(host, 18080).await).await;
        send_datagrams(host, &vm, 15353).await;

        kvmctl.ok(&["net", "forward", "remove", "default", "18080"]).await;
        kvmctl.ok(&["net", "forward", "remove", "default", "15353", "--protocol", "udp"]).await;
        assert_eq!(fetch(host, 18080).await, None);
        kvmctl.ok(&["net", "lease", "remove", "default", "--mac", mac]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        assert_eq!(filter(host).await, filter_before);
        host.assert_as(&before).await;
    });
}
