//! Threads on the host's CPUs.

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
