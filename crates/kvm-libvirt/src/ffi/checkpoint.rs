//! Checkpoints of a domain.

use std::ffi::CString;

use virt::domain::Domain;
use virt::sys;

use super::{check, copy_text, drain_array, error};
use crate::error::LibvirtError;

/// The documents of a domain's checkpoints, without the domain as it was, parents before children:
/// `virDomainListAllCheckpoints`.
pub(crate) fn of_domain(domain: &Domain) -> Result<Vec<String>, LibvirtError> {
    let mut checkpoints = std::ptr::null_mut();
    // SAFETY: the handle is valid; libvirt stores an array, or leaves the null there.
    let returned = unsafe {
        sys::virDomainListAllCheckpoints(
            domain.as_ptr(),
            &raw mut checkpoints,
            sys::VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL,
        )
    };
    let count = check(returned)?;
    // SAFETY: the call gave `count` handles, each owned here once, and the array came from `malloc`.
    let all = unsafe { drain_array(checkpoints, count, Checkpoint) };
    // Each may have gone in the meantime.
    Ok(all.into_iter().filter_map(|checkpoint| checkpoint.document(0).ok()).collect())
}

/// A checkpoint's handle.
pub(crate) struct Checkpoint(sys::virDomainCheckpointPtr);

impl Checkpoint {
    /// `virDomainCheckpointLookupByName`.
    pub(crate) fn find(domain: &Domain, name: &str) -> Result<Self, LibvirtError> {
        let name = c_string(name)?;
        // SAFETY: the handle is valid, and the name ends in NUL and outlives the call.
        Self::new(unsafe { sys::virDomainCheckpointLookupByName(domain.as_ptr(), name.as_ptr(), 0) })
    }

    /// `virDomainCheckpointCreateXML`.
    pub(crate) fn create(domain: &Domain, document: &str, flags: u32) -> Result<Self, LibvirtError> {
        let document = c_string(document)?;
        // SAFETY: the handle is valid, and the document ends in NUL and outlives the call.
        Self::new(unsafe { sys::virDomainCheckpointCreateXML(domain.as_ptr(), document.as_ptr(), flags) })
    }

    fn new(checkpoint: sys::virDomainCheckpointPtr) -> Result<Self, LibvirtError> {
        if checkpoint.is_null() { Err(error::last()) } else { Ok(Self(checkpoint)) }
    }

    /// `virDomainCheckpointGetXMLDesc`, always without the domain as it was.
    pub(crate) fn document(&self, flags: u32) -> Result<String, LibvirtError> {
        // SAFETY: the handle is valid until it is dropped; libvirt gives a string from `malloc`, or null.
        unsafe {
            let text = sys::virDomainCheckpointGetXMLDesc(self.0, flags | sys::VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN);
            let copy = copy_text(text);
            // The error first: what follows may overwrite it.
            let copy = copy.ok_or_else(error::last);
            libc::free(text.cast());
            copy
        }
    }

    /// `virDomainCheckpointDelete`.
    pub(crate) fn delete(&self, flags: u32) -> Result<(), LibvirtError> {
        // SAFETY: the handle is valid until it is dropped.
        check(unsafe { sys::virDomainCheckpointDelete(self.0, flags) }).map(drop)
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        // SAFETY: the handle is owned, and this is its last use.
        unsafe { sys::virDomainCheckpointFree(self.0) };
    }
}

fn c_string(text: &str) -> Result<CString, LibvirtError> {
    CString::new(text)
        .map_err(|_| LibvirtError::new(sys::VIR_ERR_INVALID_ARG, sys::VIR_FROM_NONE, "the text has a NUL in it", None))
}
