//! The backend keeps the contract on libvirt's test driver, each case with a node file of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_contract::{Arguments, Bench, Rig, Setup, Time};
use kvm_core::{
    ByteStream, Bytes, Clock, ConnectOptions, Dial, Endpoint, Error, ErrorKind, Host, NetworkName, Output, PoolName,
    PowerAction, Result, SystemClock, Target, Transport, VmId, VmName,
};
use kvm_libvirt::{Config, Libvirt};
use kvm_xml::pool::{PoolTarget, PoolType};
use kvm_xml::{Document as _, Domain, Network, StoragePool};
use tempfile::TempDir;

fn main() {
    let conclusion = kvm_contract::run(NodeRig, include_str!("contract-skips.txt"), &Arguments::from_args());
    // As every program before it ends.
    kvm_libvirt::settle(Duration::from_secs(10));
    conclusion.exit();
}

struct NodeRig;

struct NodeBench {
    host: Host,
    _dir: TempDir,
}

#[async_trait]
impl Rig for NodeRig {
    fn time(&self) -> Time {
        Time::Real
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(110)
    }

    async fn bench(&self, setup: &Setup) -> Result<Box<dyn Bench>> {
        let trouble = |e: std::io::Error| Error::internal("no node file").with_source(e);
        let dir = tempfile::tempdir().map_err(trouble)?;
        let path = dir.path().join("node.xml");
        let planted: String = setup.planted.iter().enumerate().map(|(index, name)| planted(index, name)).collect();
        let node = format!(
            "<node xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>{planted}\
             <network><name>default</name><forward mode='nat'/><ip address='192.168.122.1' netmask='255.255.255.0'>\
             <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>\
             <device><name>computer</name><capability type='system'><hardware>\
             <uuid>11111111-2222-4333-8444-555555555555</uuid></hardware></capability></device>\
             <device><name>pci_0000_01_00_0</name><parent>computer</parent><driver><name>nouveau</name></driver>\
             <capability type='pci'><class>0x030000</class><domain>0</domain><bus>1</bus><slot>0</slot><function>0</function>\
             <product id='0x2204'>GA102</product><vendor id='0x10de'>NVIDIA</vendor><iommuGroup number='12'>\
             <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></iommuGroup></capability></device></node>"
        );
        std::fs::write(&path, node).map_err(trouble)?;
        let target = Target::parse(&format!("test://{}", path.display()))?;
        let libvirt = Libvirt::connect(&target, &ConnectOptions::default(), Config::default()).await?;
        let host = Host {
            hypervisor: libvirt.clone(),
            storage: libvirt.clone(),
            networks: libvirt,
            transport: Arc::new(Nowhere),
        };
        Ok(Box::new(NodeBench { host, _dir: dir }))
    }
}

fn machine() -> Domain {
    Domain::from_xml(
        "<domain type='test'><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='i686'>hvm</type></os>\
         <devices><interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>\
         </devices></domain>",
    )
    .expect("a domain")
}

/// A machine of the node file; the test driver starts those that do not say otherwise.
fn planted(index: usize, name: &str) -> String {
    let uuid = uuid::Uuid::from_u128(0x4b1e_0000_4000_8000_0000_0000_0001 + index as u128);
    let document = Domain { name: Some(name.to_owned()), uuid: Some(uuid), ..machine() };
    document.to_xml().replace("</domain>", "<test:runstate>5</test:runstate></domain>")
}

#[async_trait]
impl Bench for NodeBench {
    fn host(&self) -> &Host {
        &self.host
    }

    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn prefix(&self) -> &str {
        ""
    }

    fn machine(&self, name: &VmName, id: &VmId) -> Domain {
        Domain { name: Some(name.as_str().to_owned()), uuid: Some((*id).into()), ..machine() }
    }

    fn pool(&self, name: &PoolName) -> StoragePool {
        // The test driver only pretends: no such directory is made.
        StoragePool {
            r#type: Some(PoolType::Dir),
            name: Some(name.as_str().to_owned()),
            target: Some(PoolTarget { path: Some(format!("/pools/{}", name.as_str())), ..PoolTarget::default() }),
            ..StoragePool::default()
        }
    }

    fn network(&self, name: &NetworkName) -> Network {
        let document = Network::from_xml("<network><ip address='10.1.2.1' prefix='24'/></network>");
        Network { name: Some(name.as_str().to_owned()), ..document.expect("a network") }
    }

    fn actions(&self) -> Vec<PowerAction> {
        use PowerAction as A;
        let all = [A::Start, A::StartPaused, A::Shutdown, A::PowerOff, A::Reboot, A::Reset, A::Suspend, A::Resume];
        all.into_iter().chain([A::Save, A::DiscardSaved]).collect()
    }

    fn sequences(&self) -> u32 {
        100
    }

    async fn interrupt(&self) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "the test driver's state dies with its connection"))
    }

    async fn peer(&self) -> Result<Host> {
        Err(Error::new(ErrorKind::Unsupported, "the test driver moves no machine"))
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// The test driver's node is no machine that could be logged in to.
#[derive(Debug)]
struct Nowhere;

fn nowhere() -> Error {
    Error::new(ErrorKind::Unsupported, "the test driver's node has no operating system")
}

#[async_trait]
impl Transport for Nowhere {
    fn endpoint(&self) -> &Endpoint {
        &Endpoint::Local
    }

    async fn run(&self, _: &[&str], _: Duration) -> Result<Output> {
        Err(nowhere())
    }

    async fn dial(&self, _: &Dial) -> Result<Box<dyn ByteStream>> {
        Err(nowhere())
    }

    async fn helper(&self) -> Result<Box<dyn ByteStream>> {
        Err(nowhere())
    }

    async fn read_file(&self, _: &std::path::Path, _: Bytes) -> Result<Vec<u8>> {
        Err(nowhere())
    }

    async fn read_part(&self, _: &std::path::Path, _: u64, _: Bytes) -> Result<kvm_core::FilePart> {
        Err(nowhere())
    }

    async fn write_file(&self, _: &std::path::Path, _: &[u8], _: u32) -> Result<()> {
        Err(nowhere())
    }

    async fn remove_file(&self, _: &std::path::Path) -> Result<()> {
        Err(nowhere())
    }
}
