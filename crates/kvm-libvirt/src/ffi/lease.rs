//! Leases of a virtual network's DHCP server.

use virt::network::Network;
use virt::sys;

use super::{check, copy_text, drain_array};
use crate::error::LibvirtError;

/// A lease, as libvirt tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) mac: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) prefix: u32,
    pub(crate) hostname: Option<String>,
    /// Seconds since 1970; 0 for one that never ends.
    pub(crate) expiry: i64,
}

/// Lists a network's leases: `virNetworkGetDHCPLeases`.
pub(crate) fn of_network(network: &Network) -> Result<Vec<Lease>, LibvirtError> {
    let mut leases = std::ptr::null_mut();
    // SAFETY: the handle is valid, a null MAC means all; libvirt stores an array, or leaves the null there.
    let returned = unsafe { sys::virNetworkGetDHCPLeases(network.as_ptr(), std::ptr::null(), &raw mut leases, 0) };
    let count = check(returned)?;
    // SAFETY: the call gave `count` leases, each freed here once with libvirt's own function, and the array came from
    // `malloc`.
    Ok(unsafe {
        drain_array(leases, count, |lease| {
            let copy = copy_lease(&*lease);
            sys::virNetworkDHCPLeaseFree(lease);
            copy
        })
    })
}

/// # Safety
///
/// `lease` came from libvirt and has not been freed.
unsafe fn copy_lease(lease: &sys::virNetworkDHCPLease) -> Lease {
    // SAFETY: libvirt fills in null or strings of its own.
    unsafe {
        Lease {
            mac: copy_text(lease.mac),
            address: copy_text(lease.ipaddr),
            prefix: lease.prefix,
            hostname: copy_text(lease.hostname),
            expiry: lease.expirytime,
        }
    }
}
