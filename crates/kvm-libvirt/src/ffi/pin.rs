//! Threads of a domain, and the host's CPUs that they run on.

use std::ffi::{c_int, c_uchar};

use virt::domain::Domain;
use virt::sys;

use super::check;
use crate::error::LibvirtError;

/// Says on which CPUs an I/O thread may run, a bit for each: `virDomainPinIOThread`.
pub(crate) fn pin_iothread(domain: &Domain, iothread: u32, map: &[u8], flags: u32) -> Result<(), LibvirtError> {
    let length = c_int::try_from(map.len()).unwrap_or(c_int::MAX);
    let bits = map.as_ptr().cast_mut().cast::<c_uchar>();
    // SAFETY: the handle is valid, and `length` is not longer than the map, which libvirt only reads.
    check(unsafe { sys::virDomainPinIOThread(domain.as_ptr(), iothread, bits, length, flags) }).map(drop)
}

/// Adds an I/O thread: `virDomainAddIOThread`.
pub(crate) fn add_iothread(domain: &Domain, iothread: u32, flags: u32) -> Result<(), LibvirtError> {
    // SAFETY: the handle is valid, and libvirt takes numbers alone.
    check(unsafe { sys::virDomainAddIOThread(domain.as_ptr(), iothread, flags) }).map(drop)
}

/// Takes an I/O thread away: `virDomainDelIOThread`.
pub(crate) fn remove_iothread(domain: &Domain, iothread: u32, flags: u32) -> Result<(), LibvirtError> {
    // SAFETY: the handle is valid, and libvirt takes numbers alone.
    check(unsafe { sys::virDomainDelIOThread(domain.as_ptr(), iothread, flags) }).map(drop)
}
