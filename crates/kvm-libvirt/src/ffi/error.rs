//! The error that libvirt keeps for each thread.

use virt::sys;

use super::copy_text;
use crate::error::LibvirtError;

/// Copies this thread's last error. Call it right after the call that went wrong, on the same thread.
pub(crate) fn last() -> LibvirtError {
    // SAFETY: takes nothing; gives null or a pointer into this thread's own storage, which stays as it is until the
    // next libvirt call on this thread.
    let error = unsafe { sys::virGetLastError() };
    if error.is_null() {
        return LibvirtError::new(sys::VIR_ERR_INTERNAL_ERROR, sys::VIR_FROM_NONE, "libvirt gave no reason", None);
    }
    // SAFETY: not null, and valid as said above.
    let error = unsafe { &*error };
    // SAFETY: libvirt fills in null or a string of its own.
    let message = unsafe { copy_text(error.message) }.unwrap_or_default();
    let code = sys::virErrorNumber::try_from(error.code).unwrap_or(sys::VIR_ERR_INTERNAL_ERROR);
    let domain = sys::virErrorDomain::try_from(error.domain).unwrap_or(sys::VIR_FROM_NONE);
    // Where a system call went wrong, libvirt puts its number into the first integer.
    let system = (code == sys::VIR_ERR_SYSTEM_ERROR && error.int1 > 0).then_some(error.int1);
    LibvirtError::new(code, domain, message, system)
}
