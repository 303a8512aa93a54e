//! Under which addresses a guest can be reached.

use std::time::Duration;

use kvm_core::{AddressSource, Clock, Error, ErrorKind, Guest, GuestAddress, Host, Result, VmId};

use crate::parallel::within;

/// How long one source may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// A guest's addresses from the first source that knows any: DHCP leases, the guest agent, the host's neighbour
/// table. Each has two seconds. Empty when nobody knows.
///
/// `InvalidState` when the machine does not run, `NotFound`, `Unavailable` when the host cannot be reached,
/// `Unsupported` when the backend knows nothing of guests.
pub async fn addresses(host: &Host, id: &VmId, clock: &dyn Clock) -> Result<Vec<GuestAddress>> {
    let guest = host
        .hypervisor
        .guest()
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "this host knows nothing of its guests"))?;
    for source in AddressSource::ALL {
        let found = ask(guest, id, source, clock).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

async fn ask(guest: &dyn Guest, id: &VmId, source: AddressSource, clock: &dyn Clock) -> Result<Vec<GuestAddress>> {
    match within(clock, DEADLINE, guest.addresses(id, source)).await {
        Some(Ok(mut found)) => {
            found.sort_by_key(|a| (a.interface.clone(), a.address));
            Ok(found)
        }
        // An agent that does not answer says nothing about the host.
        Some(Err(e)) if e.kind() == ErrorKind::Unavailable && source != AddressSource::Agent => Err(e),
        Some(Err(e)) if matches!(e.kind(), ErrorKind::InvalidState | ErrorKind::NotFound) => Err(e),
        Some(Err(e)) => {
            tracing::debug!(vm = %id, source = source.as_str(), error = %e, "this source knows no address");
            Ok(Vec::new())
        }
        None => {
            tracing::debug!(vm = %id, source = source.as_str(), "this source did not answer in time");
            Ok(Vec::new())
        }
    }
}
