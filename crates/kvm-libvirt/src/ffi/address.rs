//! Addresses of a domain's network devices.

use virt::domain::Domain;
use virt::sys;

use super::{check, copy_text, drain_array};
use crate::error::LibvirtError;

/// Leases of the host's own DHCP servers.
pub(crate) const LEASE: sys::virDomainInterfaceAddressesSource = sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE;
/// The guest's agent.
pub(crate) const AGENT: sys::virDomainInterfaceAddressesSource = sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT;
/// The host's neighbour table.
pub(crate) const ARP: sys::virDomainInterfaceAddressesSource = sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP;

/// A network device with its addresses, as one source knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: Option<String>,
    pub(crate) mac: Option<String>,
    /// Address and length of the prefix.
    pub(crate) addresses: Vec<(String, u32)>,
}

/// Asks one source for the addresses of a running domain: `virDomainInterfaceAddresses`.
pub(crate) fn of_domain(
    domain: &Domain,
    source: sys::virDomainInterfaceAddressesSource,
) -> Result<Vec<Interface>, LibvirtError> {
    let mut interfaces = std::ptr::null_mut();
    // SAFETY: the handle is valid; libvirt stores an array, or leaves the null there.
    let count = check(unsafe { sys::virDomainInterfaceAddresses(domain.as_ptr(), &raw mut interfaces, source, 0) })?;
    // SAFETY: the call gave `count` interfaces, each freed here once with libvirt's own function, and the array came
    // from `malloc`.
    Ok(unsafe {
        drain_array(interfaces, count, |interface| {
            let copy = copy_interface(&*interface);
            sys::virDomainInterfaceFree(interface);
            copy
        })
    })
}

/// # Safety
///
/// `interface` came from libvirt and has not been freed.
unsafe fn copy_interface(interface: &sys::virDomainInterface) -> Interface {
    let count = if interface.addrs.is_null() { 0 } else { interface.naddrs as usize };
    // SAFETY: libvirt fills in null or strings of its own, and `naddrs` addresses.
    unsafe {
        Interface {
            name: copy_text(interface.name),
            mac: copy_text(interface.hwaddr),
            addresses: (0..count)
                .filter_map(|i| {
                    let address = &*interface.addrs.add(i);
                    Some((copy_text(address.addr)?, address.prefix))
                })
                .collect(),
        }
    }
}
