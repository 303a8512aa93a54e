//! Addresses and agents of guests.

use std::time::Duration;

use kvm_core::{AddressSource, ErrorKind, Feature, VmState};

use crate::case::{Failure, cases, holds, refused, same};
use crate::cx::Cx;

/// How often a guest is asked whether it has an address by now.
const PAUSE: Duration = Duration::from_millis(500);

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
        refused(guest.ping_agent(&cx.id("absent")).await, ErrorKind::NotFound)
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
        refused(guest.addresses(&id, AddressSource::Agent).await, ErrorKind::Unavailable)
    }

    /// The agent of a machine that does not run cannot be asked.
    async fn the_agent_of_what_does_not_run_is_invalid_state(cx) {
        let guest = cx.family("guest", cx.hypervisor().guest())?;
        let id = cx.defined("a").await?;
        refused(guest.ping_agent(&id).await, ErrorKind::InvalidState)
    }
}
