//! The simulated host as the contract suite takes it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_contract::{Bench, Rig, Setup, Time};
use kvm_core::{Clock, Host, NetworkName, PoolName, PowerAction, Result, VmId, VmName};
use kvm_mock::{Mock, TokioClock};
use kvm_xml::pool::{PoolTarget, PoolType};
use kvm_xml::{Document as _, Domain, Network, StoragePool};

/// A world of its own for each case, in paused time.
pub(crate) struct MockRig;

struct MockBench {
    mock: Mock,
    /// Of the same clock, so that both are at the same time.
    other: Mock,
    host: Host,
    clock: Arc<TokioClock>,
}

#[async_trait]
impl Rig for MockRig {
    fn time(&self) -> Time {
        Time::Paused
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(365 * 24 * 3600)
    }

    async fn bench(&self, setup: &Setup) -> Result<Box<dyn Bench>> {
        let clock = Arc::new(TokioClock::starting_at("2030-01-01T00:00:00Z".parse().expect("a time")));
        let (mock, other) = (Mock::empty(clock.clone())?, Mock::empty(clock.clone())?);
        let host = mock.host();
        let default = Network::from_xml(
            "<network><name>default</name><forward mode='nat'/><ip address='192.168.122.1' prefix='24'>\
             <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>",
        );
        let default = default.expect("a network");
        for host in [&host, &other.host()] {
            host.networks.define(&default).await?;
            host.networks.start(&NetworkName::parse("default")?).await?;
        }
        mock.plant_device(
            "<device><name>pci_0000_41_00_0</name><parent>computer</parent><capability type='pci'>\
             <capability type='mdev_types'><type id='nvidia-222'><availableInstances>4</availableInstances></type>\
             </capability></capability></device>",
        )?;
        for (index, name) in setup.planted.iter().enumerate() {
            let mut document = machine();
            document.name = Some(name.clone());
            document.uuid = Some(uuid::Uuid::from_u128(0x4b1e_0000_4000_8000_0000_0000_0001 + index as u128));
            mock.plant(&document.to_xml())?;
        }
        Ok(Box::new(MockBench { mock, other, host, clock }))
    }
}

fn machine() -> Domain {
    let document = Domain::from_xml(
        "<domain type='kvm'><memory unit='MiB'>256</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os>\
         <devices>\
           <interface type='network'><source network='default'/></interface>\
           <serial type='pty'/><graphics type='vnc'/><video><model type='vga'/></video>\
           <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
         </devices></domain>",
    );
    document.expect("a domain")
}

#[async_trait]
impl Bench for MockBench {
    fn host(&self) -> &Host {
        &self.host
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn prefix(&self) -> &str {
        ""
    }

    fn machine(&self, name: &VmName, id: &VmId) -> Domain {
        Domain { name: Some(name.as_str().to_owned()), uuid: Some((*id).into()), ..machine() }
    }

    fn pool(&self, name: &PoolName) -> StoragePool {
        StoragePool {
            r#type: Some(PoolType::Dir),
            name: Some(name.as_str().to_owned()),
            target: Some(PoolTarget { path: Some(format!("/pools/{}", name.as_str())), ..PoolTarget::default() }),
            ..StoragePool::default()
        }
    }

    fn network(&self, name: &NetworkName) -> Network {
        let document = Network::from_xml(
            "<network><ip address='10.1.2.1' prefix='24'>\
             <dhcp><range start='10.1.2.2' end='10.1.2.99'/></dhcp></ip></network>",
        );
        Network { name: Some(name.as_str().to_owned()), ..document.expect("a network") }
    }

    fn actions(&self) -> Vec<PowerAction> {
        use PowerAction as A;
        let all = [A::Start, A::StartPaused, A::Shutdown, A::PowerOff, A::Reboot, A::Reset, A::Suspend, A::Resume];
        all.into_iter().chain([A::Save, A::DiscardSaved]).collect()
    }

    fn sequences(&self) -> u32 {
        200
    }

    async fn interrupt(&self) -> Result<()> {
        self.mock.disconnect()?;
        self.mock.reconnect()
    }

    async fn peer(&self) -> Result<Host> {
        Ok(self.other.host())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
