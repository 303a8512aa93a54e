//! Turning a guest off in a way that ends.

use std::time::Duration;

use kvm_core::{Clock, Error, ErrorKind, Host, HypervisorExt as _, PowerAction, Result, VmId, VmState};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// How long pulling the plug may take: the hypervisor flushes what it holds.
const POWER_OFF: Duration = Duration::from_secs(30);

/// How long to wait for a guest, and what then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// How long the guest has.
    pub timeout: Duration,
    /// What happens when it is still on.
    pub then: Then,
}

/// What happens to a guest that does not shut down in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays on, and the call ends with `Timeout`.
    Fail,
    /// It is switched off.
    PowerOff,
}

/// How a machine went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownOutcome {
    /// The guest shut itself down.
    Obeyed,
    /// It was switched off.
    PoweredOff,
}

/// Asks a guest to shut down and waits until its machine is off.
///
/// `InvalidState` when it is not running; `Timeout` when the guest does not obey and [`Then::Fail`] was asked for;
/// `Cancelled`: the guest may still obey the request that it has; `NotFound`.
pub async fn shutdown(
    host: &Host,
    id: &VmId,
    options: &ShutdownOptions,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> Result<ShutdownOutcome> {
    host.hypervisor.power(id, PowerAction::Shutdown).await?;
    let obeyed = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(cancelled()),
        off = until_off(host, id, options.timeout, clock) => off,
    };
    match (obeyed, options.then) {
        (Ok(()), _) => Ok(ShutdownOutcome::Obeyed),
        (Err(e), Then::PowerOff) if e.kind() == ErrorKind::Timeout => power_off(host, id, clock).await,
        (Err(e), _) => Err(e),
    }
}

/// Switches a machine off and waits until it is. One that is off already is fine.
pub(crate) async fn power_off(host: &Host, id: &VmId, clock: &dyn Clock) -> Result<ShutdownOutcome> {
    match host.hypervisor.power(id, PowerAction::PowerOff).await {
        Ok(()) => until_off(host, id, POWER_OFF, clock).await.map(|()| ShutdownOutcome::PoweredOff),
        // It went off in the very moment; a transient machine is then gone as well.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidState | ErrorKind::NotFound) => Ok(ShutdownOutcome::Obeyed),
        Err(e) => Err(e),
    }
}

async fn until_off(host: &Host, id: &VmId, timeout: Duration, clock: &dyn Clock) -> Result<()> {
    match host.hypervisor.wait_for(id, &[VmState::Off], timeout, clock).await {
        Ok(_) => Ok(()),
        // A transient machine is gone when it is off.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the wait was cancelled")
        .with_detail("the guest was asked to shut down and may still do so")
}
