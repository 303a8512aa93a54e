//! What could become a storage pool.

use std::ffi::CString;

use virt::connect::Connect;
use virt::sys;

use super::{copy_text, error};
use crate::error::LibvirtError;

/// Looks for sources of pools: `virConnectFindStoragePoolSources`. A document, or nothing when the host has none to give.
pub(crate) fn find(connection: &Connect, kind: &str, at: Option<&str>) -> Result<Option<String>, LibvirtError> {
    let text = |text: &str| {
        CString::new(text).map_err(|_| {
            LibvirtError::new(sys::VIR_ERR_INVALID_ARG, sys::VIR_FROM_NONE, "a NUL character in a question", None)
        })
    };
    let (kind, at) = (text(kind)?, at.map(text).transpose()?);
    let at = at.as_ref().map_or(std::ptr::null(), |at| at.as_ptr());
    // SAFETY: the handle is valid, the strings live as long as this call, and a null place is allowed.
    let found = unsafe { sys::virConnectFindStoragePoolSources(connection.as_ptr(), kind.as_ptr(), at, 0) };
    if found.is_null() {
        return Err(error::last());
    }
    // SAFETY: not null, so it is a string from `malloc` that is ours.
    let document = unsafe { copy_text(found) };
    // SAFETY: as above, and nothing refers to it any more.
    unsafe { libc::free(found.cast()) };
    Ok(document.filter(|text| !text.is_empty()))
}
