//! What guests and the host's network know of a guest's addresses.

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{AddressSource, Error, ErrorKind, Guest, GuestAddress, Resource, Result, VmId};

use crate::document::{self, Nic};
use crate::fault::Method;
use crate::machine::Machine;
use crate::mock::Mock;
use crate::world::World;

#[async_trait]
impl Guest for Mock {
    async fn addresses(&self, id: &VmId, source: AddressSource) -> Result<Vec<GuestAddress>> {
        self.read(Method::Addresses, id, |world, now| {
            let machine = world.machine(id)?;
            let live = machine.running()?;
            if source == AddressSource::Agent {
                agent(id, machine)?;
            }
            let nics = document::nics(&live.document).into_iter().enumerate();
            Ok(nics.filter_map(|(index, nic)| address(world, machine, index, &nic, source, now)).collect())
        })
        .await
    }

    async fn ping_agent(&self, id: &VmId) -> Result<()> {
        self.read(Method::PingAgent, id, |world, _| {
            let machine = world.machine(id)?;
            machine.running()?;
            agent(id, machine)
        })
        .await
    }
}

fn agent(id: &VmId, machine: &Machine) -> Result<()> {
    if machine.agent_answers() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unavailable, "the guest agent does not answer").on(Resource::Vm(id.to_string())))
}

/// The address of one network device, as one source knows it.
fn address(
    world: &World,
    machine: &Machine,
    index: usize,
    nic: &Nic,
    source: AddressSource,
    now: Timestamp,
) -> Option<GuestAddress> {
    // Before the system is up it has no address.
    if !machine.has_booted(now) {
        return None;
    }
    let network = nic.network.as_ref().and_then(|name| world.networks.get(name));
    let lease = network.and_then(|network| network.lease(nic.mac, now));
    // An address that a scenario gave is the guest's own: the host's DHCP server knows nothing of it.
    let own = machine.guest.addresses.get(&nic.mac).map(|address| (*address, 24));
    let (address, prefix) = match source {
        AddressSource::Lease => lease,
        AddressSource::Agent | AddressSource::Arp => lease.or(own),
    }?;
    Some(GuestAddress {
        address,
        // The neighbour table knows no networks.
        prefix: (source != AddressSource::Arp).then_some(prefix),
        mac: Some(nic.mac),
        interface: match source {
            AddressSource::Agent => Some(format!("eth{index}")),
            AddressSource::Lease | AddressSource::Arp => nic.device.clone(),
        },
        source,
    })
}
