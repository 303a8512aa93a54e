//! The guest agent.

use std::ffi::c_int;
use std::time::Duration;

use virt::domain::Domain;
use virt::sys;

use super::check;
use crate::error::LibvirtError;

/// Limits how long libvirt waits for any answer of this domain's agent: `virDomainAgentSetResponseTimeout`.
///
/// By default libvirt waits for ever for an agent that took a command and never answers.
pub(crate) fn set_response_timeout(domain: &Domain, timeout: Duration) -> Result<(), LibvirtError> {
    let seconds = c_int::try_from(timeout.as_secs()).unwrap_or(c_int::MAX);
    // SAFETY: the handle is valid; the call takes plain numbers.
    check(unsafe { sys::virDomainAgentSetResponseTimeout(domain.as_ptr(), seconds, 0) }).map(drop)
}
