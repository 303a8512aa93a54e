//! Addresses and agents of guests.

use std::time::Duration;

use kvm_core::{AddressSource, AgentCommand, ErrorKind, Feature, Guest, Result, VmId, VmState};

use crate::case::{Failure, cases, holds, refused, same};
use crate::cx::Cx;

/// How often a guest is asked whether it has an address by now.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an agent may take for something small.
const SOON: Duration = Duration::from_secs(20);

/// The command that every agent knows.
pub(crate) fn ping() -> Result<AgentCommand> {
    AgentCommand::new("guest-ping", &())
}

/// Waits until the guest of a running machine is up, and its agent with it.
async fn agent_is_up(cx: &Cx, guest: &dyn Guest, id: &VmId) -> Result<(), Failure> {
    let mut waited = Duration::ZERO;
    loop {
        match guest.ping_agent(id).await {
            Err(e) if e.kind() == ErrorKind::Unavailable && waited < cx.patience() => {
                cx.clock().sleep(PAUSE).await;
                waited += PAUSE;
            }
            answer => return Ok(answer?),
        }
    }
}

cases! { CASES in "guest" on Cx;
    /// A guest on a network with a DHCP server has an address there after a while, known by its lease.
    async fn a_guest_gets_a_lease(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        let id = cx.running("a").await?;
        let nics: Vec<_> = cx
            .hypervisor()
            .definition(&id, kvm_core::View::LIVE)
            .await?
            .devices
            .into_iter()
            .flat_map(|devices| devices.interface)
            .filter_map(|interface| interface.mac?.address.map(|mac| mac.0))
            .collect();
        let mut waited = Duration::ZERO;
        let addresses = loop {
            let addresses = guest.addresses(&id, AddressSource::Lease).await?;
            if !addresses.is_empty() {
                break addresses;
            }
            if waited > cx.patience() {
                return Err(Failure::new("no lease in time"));
            }
            cx.clock().sleep(PAUSE).await;
            waited += PAUSE;
        };
        for address in addresses {
            same("source", address.source, AddressSource::Lease)?;
            holds("it is no loopback", !address.address.is_loopback())?;
            holds("it is of one of the devices", address.mac.is_some_and(|mac| nics.contains(&mac.octets())))?;
        }
        Ok(())
    }

    /// A machine that does not run has no addresses to tell, whoever is asked.
    async fn what_does_not_run_has_no_address(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        let features = cx.hypervisor().capabilities().await?.features;
        for state in [VmState::Off, VmState::Saved] {
            let id = cx.in_state(state.as_str(), state).await?;
            for (source, feature) in [
                (AddressSource::Lease, Feature::LeaseAddresses),
                (AddressSource::Agent, Feature::AgentAddresses),
                (AddressSource::Arp, Feature::ArpAddresses),
            ] {
                if features.contains(&feature) {
                    refused(guest.addresses(&id, source).await, ErrorKind::InvalidState)?;
                }
            }
        }
        Ok(())
    }

    /// A machine that is not there is not found.
    async fn what_is_not_there_is_not_found(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        for source in AddressSource::ALL {
            refused(guest.addresses(&cx.id("absent"), source).await, ErrorKind::NotFound)?;
        }
        refused(guest.ping_agent(&cx.id("absent")).await, ErrorKind::NotFound)?;
        refused(guest.ask_agent(&cx.id("absent"), &ping()?, SOON).await, ErrorKind::NotFound)
    }

    /// The agent of a guest that is up takes commands, and its answers can be read.
    async fn an_agent_takes_commands(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        let id = cx.running("a").await?;
        agent_is_up(cx, guest, &id).await?;
        guest.ask_agent(&id, &ping()?, SOON).await?;
        let info = guest.ask_agent(&id, &AgentCommand::new("guest-info", &())?, SOON).await?;
        holds("it says that it takes this command", ping()?.is_taken(&info)?)
    }

    /// A command that the agent does not know is unsupported.
    async fn a_command_that_no_agent_knows_is_unsupported(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        let id = cx.running("a").await?;
        agent_is_up(cx, guest, &id).await?;
        refused(guest.ask_agent(&id, &AgentCommand::new("guest-fly", &())?, SOON).await, ErrorKind::Unsupported)
    }

    /// What the agent knows and cannot do is refused, and afterwards it answers as before.
    async fn what_an_agent_cannot_do_is_invalid_state(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        let id = cx.running("a").await?;
        agent_is_up(cx, guest, &id).await?;
        let arguments = std::collections::BTreeMap::from([("path", "/no/such/file"), ("mode", "r")]);
        let open = AgentCommand::new("guest-file-open", &arguments)?;
        refused(guest.ask_agent(&id, &open, SOON).await, ErrorKind::InvalidState)?;
        guest.ask_agent(&id, &ping()?, SOON).await?;
        Ok(())
    }

    /// An agent that is not there does not answer, which is no fault of the host.
    async fn an_absent_agent_is_unavailable(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        let mut document = cx.document("a")?;
        if let Some(devices) = &mut document.devices {
            devices.channel.clear();
        }
        let id = cx.hypervisor().define(&document, kvm_core::Existing::Reject).await?;
        cx.power(&id, kvm_core::PowerAction::Start).await?;
        refused(guest.ping_agent(&id).await, ErrorKind::Unavailable)?;
        refused(guest.ask_agent(&id, &ping()?, SOON).await, ErrorKind::Unavailable)?;
        refused(guest.addresses(&id, AddressSource::Agent).await, ErrorKind::Unavailable)
    }

    /// The agent of a machine that does not run cannot be asked.
    async fn the_agent_of_what_does_not_run_is_invalid_state(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        let id = cx.defined("a").await?;
        refused(guest.ping_agent(&id).await, ErrorKind::InvalidState)?;
        refused(guest.ask_agent(&id, &ping()?, SOON).await, ErrorKind::InvalidState)
    }
}
