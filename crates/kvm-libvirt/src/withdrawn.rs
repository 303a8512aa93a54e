//! Migrations that somebody here asked to stop. libvirt ends them with any error.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kvm_core::VmId;

/// The machines whose migration was asked to stop.
#[derive(Debug, Default)]
pub(crate) struct Withdrawn(Mutex<HashSet<VmId>>);

impl Withdrawn {
    pub(crate) fn note(&self, vm: &VmId) {
        self.lock().insert(*vm);
    }

    /// Whether it was noted.
    pub(crate) fn forget(&self, vm: &VmId) -> bool {
        self.lock().remove(vm)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<VmId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
