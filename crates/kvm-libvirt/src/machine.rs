//! A machine's handle, and what several calls ask of it.

use kvm_core::{Error, Resource, VmId, VmState};
use virt::domain::Domain;
use virt::sys;

use crate::error::LibvirtError;
use crate::task::{Failure, Task};

/// A machine that was looked up.
pub(crate) struct Machine {
    pub(crate) domain: Domain,
}

impl Task<'_> {
    /// Looks a machine up; from here on, errors call it by its name.
    pub(crate) fn machine(&self, id: &VmId) -> Result<Machine, Failure> {
        let domain = self.connection().lookup_domain_by_uuid((*id).into())?;
        self.about(Resource::Vm(domain.name()?));
        Ok(Machine { domain })
    }

    /// Looks a machine up that has to be running.
    pub(crate) fn active_machine(&self, id: &VmId) -> Result<Machine, Failure> {
        let machine = self.machine(id)?;
        if machine.domain.is_active()? { Ok(machine) } else { Err(self.not_running().into()) }
    }

    /// The error for what needs a running machine.
    pub(crate) fn not_running(&self) -> Error {
        self.invalid_state("is not running")
    }

    /// Whether a machine that a call failed on is off by now: then that is why.
    pub(crate) fn unless_off(&self, machine: &Machine, e: LibvirtError) -> Failure {
        match machine.domain.is_active() {
            Ok(false) => self.not_running().with_source(e).into(),
            _ => e.into(),
        }
    }
}

impl Machine {
    /// The power state: `virDomainGetInfo`, and whether there is a saved state when it is off.
    ///
    /// (`virt`'s `Domain::state` gives an answer even when the call went wrong.)
    pub(crate) fn state(&self) -> Result<VmState, LibvirtError> {
        let state = state_of(self.domain.info()?.state.to_raw());
        if state == VmState::Off && self.domain.has_managed_save(0)? {
            return Ok(VmState::Saved);
        }
        Ok(state)
    }

    /// Which of its documents a change has to reach: the stored one, the live one, or both.
    pub(crate) fn impact(&self) -> Result<sys::virDomainModificationImpact, LibvirtError> {
        let mut impact = 0;
        if self.domain.is_active()? {
            impact |= sys::VIR_DOMAIN_AFFECT_LIVE;
        }
        if self.domain.is_persistent()? {
            impact |= sys::VIR_DOMAIN_AFFECT_CONFIG;
        }
        Ok(impact)
    }
}

/// Translates `virDomainState`. A saved machine is off to libvirt; see [`Machine::state`].
pub(crate) fn state_of(state: sys::virDomainState) -> VmState {
    match state {
        // Blocked: its processors wait for something.
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED => VmState::Running,
        sys::VIR_DOMAIN_PAUSED => VmState::Paused,
        sys::VIR_DOMAIN_SHUTDOWN => VmState::ShuttingDown,
        sys::VIR_DOMAIN_SHUTOFF => VmState::Off,
        sys::VIR_DOMAIN_CRASHED => VmState::Crashed,
        sys::VIR_DOMAIN_PMSUSPENDED => VmState::PmSuspended,
        _ => VmState::Unknown,
    }
}
