//! Networks: made from a specification, and changed while they are active.

use std::sync::Mutex;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{Autostart, ErrorKind, Host, Impact, NetworkName, NetworkUpdate, Result, View};
use kvm_mock::{Fault, Method, Mock, Script};
use kvm_vm::{
    NetworkMode, NetworkPlan, NetworkSpec, StaticLease, Unplugged, change_network, plan_network_create, start_network,
};
use kvm_xml::{Document as _, Network};

use crate::support::{Bench, catalogue, picture, said};

fn name(text: &str) -> NetworkName {
    NetworkName::parse(text).unwrap()
}

fn lab() -> Network {
    let subnets = vec!["10.30.0.0/24".parse().unwrap()];
    NetworkSpec { subnets, ..NetworkSpec::new(name("lab")) }.document().unwrap()
}

async fn plan(bench: &Bench, document: &Network) -> Result<NetworkPlan> {
    plan_network_create(&bench.host, document, Autostart::On, &bench.cx()).await
}

#[tokio::test(start_paused = true)]
async fn a_network_is_defined_enabled_and_started() {
    let bench = Bench::new();
    let create = plan(&bench, &lab()).await.unwrap();
    let shown = create.plan.to_string();
    let (_, lines) = shown.split_once('\n').unwrap();
    assert_eq!(
        lines,
        "  define  network    lab  nat, 10.30.0.1/24\n  enable  autostart  lab\n  start   network    lab"
    );
    bench.run(create.plan).await.unwrap();
    let network = bench.host.networks.find(&name("lab")).await.unwrap();
    assert_eq!((network.active, network.autostart, network.forward.as_str()), (true, true, "nat"));
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_does_not_start_leaves_nothing() {
    let bench = Bench::new();
    let before = bench.picture().await;
    bench.mock.inject(Fault::next(Method::StartNetwork, ErrorKind::Internal));
    bench.run(plan(&bench, &lab()).await.unwrap().plan).await.unwrap_err();
    assert_eq!(bench.picture().await, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    let addresses =
        r#"[{"ifname": "eth0", "addr_info": [{"local": "10.40.0.7", "prefixlen": 16}]}, {"ifname": "br0"}]"#;
    bench.mock.add_program(Script::printing(&["ip", "-json", "address", "show"], addresses));
    let before = bench.picture().await;
    for (xml, says) in [
        ("<network><name>-x</name></network>", "invalid_input [field network_name]"),
        ("<network><name>default</name></network>", "already_exists [network default]"),
        (
            "<network><name>a</name><ip address='192.168.122.129' prefix='25'/></network>",
            "already_exists [field cidr]: addresses of 192.168.122.128/25 are those of network default",
        ),
        (
            "<network><name>a</name><ip address='10.40.9.1' prefix='24'/></network>",
            "already_exists [field cidr]: addresses of 10.40.9.0/24 are those of the host's interface eth0",
        ),
        (
            "<network><name>a</name><bridge name='virbr0'/></network>",
            "already_exists [field bridge]: bridge virbr0 is that",
        ),
        ("<network><name>a</name><bridge name='br0'/></network>", "already_exists [field bridge]: the host has"),
        ("<network><name>a</name><forward mode='nat'/></network>", "invalid_input [field ip]"),
    ] {
        let e = plan(&bench, &Network::from_xml(xml).unwrap()).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
    assert_eq!(bench.picture().await, before);
    let bridged = NetworkSpec {
        mode: NetworkMode::Bridge,
        bridge: Some("br1".parse().unwrap()),
        ..NetworkSpec::new(name("lan"))
    };
    let shown = plan(&bench, &bridged.document().unwrap()).await.unwrap().plan.to_string();
    assert!(shown.contains("use     interface  br1  the host does not have it now"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn entries_reach_all_documents_that_there_are() {
    let bench = Bench::new();
    let lease: StaticLease = "52:54:00:00:00:09=192.168.122.9,nine".parse().unwrap();
    let add = NetworkUpdate::Add(lease.entry());
    assert_eq!(change_network(&bench.host, &name("default"), &add, None).await.unwrap(), Impact::Both);
    let document = bench.host.networks.definition(&name("default")).await.unwrap();
    assert!(document.to_xml().contains("<host mac='52:54:00:00:00:09' name='nine' ip='192.168.122.9'/>"));
    let remove = NetworkUpdate::Remove(lease.entry());
    assert_eq!(change_network(&bench.host, &name("default"), &remove, None).await.unwrap(), Impact::Both);

    let idle: StaticLease = "52:54:00:00:00:09=10.20.0.9".parse().unwrap();
    let add = NetworkUpdate::Add(idle.entry());
    assert_eq!(change_network(&bench.host, &name("idle"), &add, None).await.unwrap(), Impact::Config);
}

#[tokio::test(start_paused = true)]
async fn entries_that_no_guest_could_use_are_refused() {
    let bench = Bench::new();
    let range = |first: &str, last: &str| {
        let xml = format!("<range start='{first}' end='{last}'/>");
        kvm_core::NetworkEntry::DhcpRange(Box::new(kvm_xml::network::DhcpRange::from_xml(&xml).unwrap()))
    };
    let lease = |text: &str| text.parse::<StaticLease>().unwrap().entry();
    for (entry, says) in [
        (lease("52:54:00:00:00:09=192.168.122.1"), "invalid_input [field ip]: 192.168.122.1 is not among"),
        (lease("52:54:00:00:00:09=192.168.122.255"), "invalid_input [field ip]"),
        (lease("52:54:00:00:00:09=10.9.9.9"), "invalid_input [field ip]"),
        (range("192.168.122.9", "192.168.123.9"), "invalid_input [field dhcp]"),
        (range("192.168.122.9", "192.168.122.19"), "already_exists [network default]: the DHCP range"),
    ] {
        let e = change_network(&bench.host, &name("default"), &NetworkUpdate::Add(entry), None).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
    let add = NetworkUpdate::Add(lease("52:54:00:00:00:09=10.9.9.9"));
    let e = change_network(&bench.host, &name("nowhere"), &add, None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
}

/// Making a network, with its configuration in the picture of the world.
struct Template(Mutex<Option<Mock>>);

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = Bench::new();
        let plan = plan(&bench, &lab()).await?.plan;
        *self.0.lock().unwrap() = Some(bench.mock.clone());
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let mock = self.0.lock().unwrap().clone().unwrap();
        picture(host, &mock).await
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn making_a_network_ends_before_or_after_whatever_fails_at_whatever_step() {
    let coverage = check(&Template(Mutex::new(None))).await.unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(coverage.steps, 3);
}

#[tokio::test(start_paused = true)]
async fn the_topology_says_who_is_plugged_into_what() {
    let bench = Bench::new();
    let addresses =
        r#"[{"ifname": "eth0", "master": "br0"}, {"ifname": "vnet0", "master": "virbr0"}, {"ifname": "br0"}]"#;
    bench.mock.add_program(Script::printing(&["ip", "-json", "address", "show"], addresses));
    let topology = kvm_vm::topology(&bench.host).await.unwrap();
    let build = topology.vms.iter().find(|vm| vm.name == "build-01").unwrap();
    assert_eq!(build.nics[0].plug, kvm_vm::Plug::Network("default".into()));
    assert_eq!(build.nics[0].device.as_deref(), Some("vnet0"));
    let bridges: Vec<_> =
        topology.bridges.iter().map(|bridge| (bridge.name.as_str(), bridge.uplinks.join(","))).collect();
    assert_eq!(bridges, [("br0", "eth0".into()), ("virbr0", String::new()), ("virbr1", String::new())]);
    assert_eq!(topology.uplinks.iter().collect::<Vec<_>>(), ["eth0"]);
    let dot = topology.dot();
    for line in [
        "\"vm build-01\" -- \"network default\" [label=\"52:54:00:00:00:01\"];",
        "\"network idle\" -- \"bridge virbr1\" [label=\"\", style=dashed];",
        "\"bridge br0\" -- \"interface eth0\" [label=\"\"];",
    ] {
        assert!(dot.contains(line), "{line} in {dot}");
    }
}

/// The host's end of the cable of `build-01`, which runs on the network `default`.
async fn cable(bench: &Bench) -> String {
    let vm = bench.vm("build-01").await;
    let document = bench.host.hypervisor.definition(&vm.id, View::LIVE).await.unwrap();
    let nic = document.devices.into_iter().flat_map(|devices| devices.interface).next().unwrap();
    nic.target.unwrap().dev.unwrap()
}

/// What the host says of that cable, with the given last octet of its address and its bridge.
fn cable_of(device: &str, octet: &str, bridge: &str) -> Script {
    let links =
        format!(r#"[{{"ifname": "virbr0"}}, {{"ifname": "{device}", "address": "fe:54:00:00:00:{octet}"{bridge}}}]"#);
    Script::printing(&["ip", "-json", "address", "show"], &links)
}

#[tokio::test(start_paused = true)]
async fn guests_that_ran_on_are_plugged_in_again_when_their_network_starts() {
    let bench = Bench::new();
    let device = cable(&bench).await;
    let networks = &bench.host.networks;
    let restart = async || {
        networks.stop(&name("default")).await.unwrap();
        let unplugged = start_network(&bench.host, &name("default")).await.unwrap();
        assert!(networks.find(&name("default")).await.unwrap().active);
        unplugged.into_iter().filter(|one| one.vm.as_str() == "build-01").collect::<Vec<_>>()
    };
    let plugging = || {
        let calls = bench.mock.calls().into_iter().filter(|call| call.method == Method::Run);
        calls.filter(|call| call.subject.contains("master")).count()
    };

    // Nobody can look at the host: the guest is named all the same.
    assert!(matches!(&restart().await[..], [Unplugged { device: d, trouble: Some(_), .. }] if *d == device));
    // Another host, with a device of the same name.
    bench.mock.add_program(cable_of(&device, "99", ""));
    assert!(matches!(&restart().await[..], [Unplugged { trouble: Some(_), .. }]));
    assert_eq!(plugging(), 0);
    // Its own host.
    bench.mock.add_program(cable_of(&device, "01", ""));
    bench.mock.add_program(Script::printing(&["ip", "link", "set", "dev", &device, "master", "virbr0"], ""));
    assert!(matches!(&restart().await[..], [Unplugged { trouble: None, .. }]));
    assert_eq!(plugging(), 1);
    // One that is plugged in is left alone.
    bench.mock.add_program(cable_of(&device, "01", r#", "master": "virbr0""#));
    assert!(matches!(&restart().await[..], [Unplugged { trouble: None, .. }]));
    assert_eq!(plugging(), 1);
    // One that is active has nobody unplugged.
    assert_eq!(start_network(&bench.host, &name("default")).await.unwrap_err().kind(), ErrorKind::InvalidState);
}
