//! What guests and the host's network know of a guest's addresses.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    AddressSource, AgentCommand, AgentReply, Error, ErrorKind, Guest, GuestAddress, Resource, Result, VmId, VmState,
};

use crate::agent::{self, AgentAnswer};
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
                has_agent(id, machine)?;
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
            has_agent(id, machine)
        })
        .await
    }

    async fn ask_agent(&self, id: &VmId, command: &AgentCommand, timeout: Duration) -> Result<AgentReply> {
        let on = |e: Error| e.on(Resource::Vm(id.to_string()));
        let answer = self
            .change(Method::AskAgent, id, |world, now| {
                let machine = world.machine_mut(id)?;
                machine.running()?;
                has_agent(id, machine)?;
                let honest = match &machine.guest.answer {
                    AgentAnswer::Honest => agent::answer(machine, command, now),
                    AgentAnswer::Says(text) => return Ok(Some(text.clone())),
                    AgentAnswer::Nothing => return Ok(None),
                };
                match honest {
                    agent::Deed::Answer(text) => Ok(Some(text)),
                    // An agent says nothing of this that would be heard before the end.
                    agent::Deed::Power(action) => {
                        let changes = world.power(id, action, false, now)?;
                        world.happened(id, changes, now);
                        Ok(None)
                    }
                }
            })
            .await?;
        match answer {
            Some(text) => AgentReply::parse(text).map_err(on),
            None => {
                self.0.clock().sleep(timeout).await;
                let message = format!("no answer of the guest agent to {} in time", command.name());
                Err(on(Error::new(ErrorKind::Timeout, message)))
            }
        }
    }
}

fn has_agent(id: &VmId, machine: &Machine) -> Result<()> {
    if machine.agent_answers() {
        return Ok(());
    }
    if machine.state() != VmState::Running {
        let e = Error::new(ErrorKind::InvalidState, format!("VM is {}", machine.state()));
        return Err(e.on(Resource::Vm(id.to_string())));
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
