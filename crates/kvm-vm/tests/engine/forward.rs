//! Ports of the host that lead to guests.

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{ErrorKind, Host, NetworkName, Port, Result};
use kvm_mock::{Fault, Method, Script};
use kvm_vm::{
    ForwardAdd, ForwardPlan, ForwardRemove, PortProtocol, plan_forward_add, plan_forward_remove, port_forwards,
};
use kvm_xml::Document as _;

use crate::support::{Bench, catalogue, said};

const HOOK: &str = "/etc/libvirt/hooks/network.d/kvm-manager";

fn name(text: &str) -> NetworkName {
    NetworkName::parse(text).unwrap()
}

fn port(text: &str) -> Port {
    Port::parse(text).unwrap()
}

fn tcp(host: &str, guest: &str) -> ForwardAdd {
    let (protocol, port, guest_port) = (PortProtocol::Tcp, port(host), Some(port(guest)));
    ForwardAdd { protocol, address: None, port, guest_port, mac: None }
}

/// A host whose programs are those that forwards need.
async fn bench() -> Bench {
    let bench = Bench::new();
    let uuid = bench.host.networks.definition(&name("default")).await.unwrap().uuid.unwrap();
    let file = format!("/run/kvm-manager-{uuid}.xml");
    let links = r#"[{"ifname": "virbr0", "addr_info": [{"local": "192.168.122.1", "prefixlen": 24}]},
                    {"ifname": "eth0", "addr_info": [{"local": "10.40.0.7", "prefixlen": 16}]}]"#;
    let ss = |family| ["ss", "--no-header", "--numeric", "--listening", family];
    for (argv, printed) in [
        (&["ip", "-Version"][..], ""),
        (&["ip", "-json", "address", "show"], links),
        (&["iptables", "--version"], "iptables v1.8.9"),
        (&ss("--tcp"), "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 5 127.0.0.1:631 0.0.0.0:*\n"),
        (&ss("--udp"), ""),
        (&["mkdir", "-p", "--", "/etc/libvirt/hooks/network.d"], ""),
        (&[HOOK, "default", "apply", &file], ""),
    ] {
        bench.mock.add_program(Script::printing(argv, printed));
    }
    bench
}

async fn add(bench: &Bench, vm: &str, wanted: &ForwardAdd) -> Result<ForwardPlan> {
    plan_forward_add(&bench.host, &name("default"), &bench.vm(vm).await, wanted).await
}

async fn listed(host: &Host) -> Vec<String> {
    let forwards = port_forwards(host, None).await.unwrap();
    let shown = forwards.into_iter().map(|info| {
        let vm = info.vm.map(|vm| vm.to_string()).unwrap_or_default();
        format!("{} {vm} {}:{}", info.forward.entrance(), info.forward.guest, info.forward.guest_port)
    });
    shown.collect()
}

#[tokio::test(start_paused = true)]
async fn a_port_leads_to_a_guest_until_it_is_removed() {
    let bench = bench().await;
    let before = bench.host.networks.configuration(&name("default")).await.unwrap();
    let ForwardPlan { plan, .. } = add(&bench, "build-01", &tcp("8080", "80")).await.unwrap();
    let shown = plan.to_string();
    let (_, lines) = shown.split_once('\n').unwrap();
    assert_eq!(
        lines,
        "  install  hook     /etc/libvirt/hooks/network.d/kvm-manager  libvirt reads its configuration again\n  \
         reserve  address  192.168.122.41                            MAC 52:54:00:00:00:01\n  \
         forward  port     tcp 8080                                  build-01, 192.168.122.41:80"
    );
    bench.run(plan).await.unwrap();
    assert_eq!(listed(&bench.host).await, ["tcp 8080 build-01 192.168.122.41:80"]);
    let document = bench.host.networks.configuration(&name("default")).await.unwrap().to_xml();
    assert!(document.contains("<host mac='52:54:00:00:00:01' ip='192.168.122.41'/>"), "{document}");
    assert!(document.contains("tcp * 8080 192.168.122.41 80 52:54:00:00:00:01"), "{document}");

    // The second needs neither hook nor address.
    let ForwardPlan { plan, .. } = add(&bench, "build-01", &tcp("8443", "443")).await.unwrap();
    assert_eq!(plan.steps.len(), 1, "{plan}");
    bench.run(plan).await.unwrap();
    for number in ["8080", "8443"] {
        let wanted = ForwardRemove { protocol: PortProtocol::Tcp, address: None, port: port(number) };
        let gone = plan_forward_remove(&bench.host, &name("default"), &wanted).await.unwrap();
        bench.run(gone.plan).await.unwrap();
    }
    assert_eq!(listed(&bench.host).await, Vec::<String>::new());
    let mut after = bench.host.networks.configuration(&name("default")).await.unwrap();
    after.ip[0].dhcp.as_mut().unwrap().host.clear();
    assert_eq!(after, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_before_anything_is_written() {
    let bench = bench().await;
    bench.run(add(&bench, "build-01", &tcp("8080", "80")).await.unwrap().plan).await.unwrap();
    let before = bench.picture().await;
    let address = |text: &str| ForwardAdd { address: Some(text.parse().unwrap()), ..tcp("8081", "80") };
    let mac = ForwardAdd { mac: Some("52:54:0:0:0:7".parse().unwrap()), ..tcp("8081", "80") };
    let at_eth0 = ForwardAdd { port: port("8080"), ..address("10.40.0.7") };
    for (vm, wanted, says) in [
        (
            "build-01",
            tcp("8080", "81"),
            "already_exists [field port]: tcp 8080 leads to build-01 already, by network default",
        ),
        ("build-01", at_eth0, "already_exists [field port]: tcp 8080 leads to build-01 already"),
        (
            "build-01",
            tcp("22", "22"),
            "already_exists [field port]: tcp 22 is served by the host itself, at 0.0.0.0:22",
        ),
        ("build-01", address("10.40.0.8"), "invalid_input [field address]: the host does not have"),
        ("build-01", mac, "invalid_input [field vm]: VM build-01 has no network device with the address"),
        ("db", tcp("8081", "80"), "invalid_input [field vm]: VM db has no network device on network default"),
    ] {
        let e = add(&bench, vm, &wanted).await.unwrap_err();
        assert!(said(&e).starts_with(says), "{}", said(&e));
    }
    let build = bench.vm("build-01").await;
    let e = plan_forward_add(&bench.host, &name("idle"), &build, &tcp("1", "1")).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_input [field network]: network idle is of mode isolated"), "{}", said(&e));
    let gone = ForwardRemove { protocol: PortProtocol::Udp, address: None, port: port("8080") };
    let e = plan_forward_remove(&bench.host, &name("default"), &gone).await.unwrap_err();
    assert_eq!((e.kind(), e.detail()), (ErrorKind::NotFound, Some("it has tcp 8080")));
    // A port that only loopback serves is free, and so is the same number of the other protocol.
    add(&bench, "build-01", &tcp("631", "631")).await.unwrap();
    add(&bench, "build-01", &ForwardAdd { protocol: PortProtocol::Udp, ..tcp("8080", "80") }).await.unwrap();
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_forward_is_refused() {
    let bench = bench().await;
    bench.mock.add_program(Script::printing(&["nft", "list", "table", "ip", "libvirt_network"], "table ip x {}"));
    let e = add(&bench, "build-01", &tcp("8080", "80")).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{}", said(&e));
    // Programs of another system: the network's bridge is not there.
    bench.mock.add_program(Script::printing(&["ip", "-json", "address", "show"], r#"[{"ifname": "lo"}]"#));
    let e = add(&bench, "build-01", &tcp("8080", "80")).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_state [network default]: the network's bridge is not"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn a_packet_filter_that_refuses_leaves_the_network_as_it_was() {
    let bench = bench().await;
    let before = bench.host.networks.configuration(&name("default")).await.unwrap();
    let plan = add(&bench, "build-01", &tcp("8080", "80")).await.unwrap().plan;
    bench.mock.inject(Fault::next(Method::RedefineNetwork, ErrorKind::Internal));
    bench.run(plan).await.unwrap_err();
    assert_eq!(bench.host.networks.configuration(&name("default")).await.unwrap(), before);
    bench.assert_nothing_open().await;
}

/// A first forward, with what the network is and what it is configured to be in the picture of the world.
struct Template;

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = bench().await;
        let plan = add(&bench, "build-01", &tcp("8080", "80")).await?.plan;
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let (live, config) =
            (host.networks.definition(&name("default")).await?, host.networks.configuration(&name("default")).await?);
        Ok(format!("{}\n{}", live.to_xml(), config.to_xml()))
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_forward_is_there_or_not_whatever_fails_at_whatever_step() {
    let coverage = check(&Template).await.unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(coverage.steps, 3);
}
