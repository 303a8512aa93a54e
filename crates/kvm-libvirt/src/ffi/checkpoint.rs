//! Checkpoints of a domain.

use virt::domain::Domain;
use virt::sys;

use super::{check, copy_text, drain_array};
use crate::error::LibvirtError;

/// A checkpoint's name and its parent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) name: String,
    pub(crate) parent: Option<String>,
}

/// Lists a domain's checkpoints, parents before children: `virDomainListAllCheckpoints`.
pub(crate) fn of_domain(domain: &Domain) -> Result<Vec<Checkpoint>, LibvirtError> {
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
    // SAFETY: the call gave `count` handles, each consumed here once, and the array came from `malloc`.
    let all = unsafe { drain_array(checkpoints, count, |checkpoint| copy_checkpoint(checkpoint)) };
    Ok(all.into_iter().flatten().collect())
}

/// Copies names and frees the handle.
///
/// # Safety
///
/// `checkpoint` is a valid handle that this call may consume.
unsafe fn copy_checkpoint(checkpoint: sys::virDomainCheckpointPtr) -> Option<Checkpoint> {
    // SAFETY: the handle is valid until it is freed, and the name is copied before. A parent is a handle of its own;
    // null says that there is none.
    unsafe {
        let name = copy_text(sys::virDomainCheckpointGetName(checkpoint));
        let above = sys::virDomainCheckpointGetParent(checkpoint, 0);
        let parent = if above.is_null() {
            None
        } else {
            let parent = copy_text(sys::virDomainCheckpointGetName(above));
            sys::virDomainCheckpointFree(above);
            parent
        };
        sys::virDomainCheckpointFree(checkpoint);
        Some(Checkpoint { name: name?, parent })
    }
}
