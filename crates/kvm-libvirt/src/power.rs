//! Changes of power state.

use kvm_core::{ErrorKind, PowerAction, Result, VmId, VmState};
use virt::sys;

use crate::config::Kind;
use crate::document;
use crate::error::LibvirtError;
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::task::{Failure, Task};

impl Libvirt {
    pub(crate) async fn change_power(&self, id: &VmId, action: PowerAction) -> Result<()> {
        let id = *id;
        let work = move |task: &Task<'_>| change(task, &id, action);
        if takes_long(action) {
            self.work(action.as_str(), vm_resource(&id), work).await
        } else {
            self.ask(action.as_str(), vm_resource(&id), work).await
        }
    }
}

fn change(task: &Task<'_>, id: &VmId, action: PowerAction) -> Result<(), Failure> {
    let machine = task.machine(id)?;
    // libvirt lets some requests pass that change nothing (suspending what is paused), so the state decides first.
    let state = machine.state()?;
    if !allows(state, action) {
        return Err(wrong_state(task, state).into());
    }
    request(task, &machine, action).map_err(|e| {
        // Its kind may be known, and else somebody may have been faster than we.
        if e.kind().is_some() && !keeps_off(action, &e) {
            return e.into();
        }
        match machine.state() {
            Ok(now) if !allows(now, action) => wrong_state(task, now).with_source(e).into(),
            Ok(_) => refused(task, action, e),
            Err(gone) if gone.kind() == Some(ErrorKind::NotFound) => task.not_found().with_source(e).into(),
            Err(_) => e.into(),
        }
    })
}

/// libvirt's call for each action.
fn request(task: &Task<'_>, machine: &Machine, action: PowerAction) -> Result<(), LibvirtError> {
    let domain = &machine.domain;
    match action {
        PowerAction::Start => domain.create_with_flags(sys::VIR_DOMAIN_NONE)?,
        // The test driver knows no flag for it, and its guests do nothing that could come in between.
        PowerAction::StartPaused if task.address().kind() == Kind::Test => {
            domain.create()?;
            domain.suspend()?;
        }
        PowerAction::StartPaused => domain.create_with_flags(sys::VIR_DOMAIN_START_PAUSED)?,
        // By default libvirt asks the agent where there is one, and then presses the button.
        PowerAction::Shutdown => domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_DEFAULT)?,
        PowerAction::PowerOff => domain.destroy()?,
        PowerAction::Reboot => domain.reboot(sys::VIR_DOMAIN_REBOOT_DEFAULT)?,
        PowerAction::Reset => domain.reset()?,
        PowerAction::Suspend => domain.suspend()?,
        PowerAction::Resume => domain.resume()?,
        PowerAction::Save => domain.managed_save(0)?,
        PowerAction::DiscardSaved => domain.managed_save_remove(0)?,
        _ => {
            let message = "this version does not know that action";
            return Err(LibvirtError::new(sys::VIR_ERR_NO_SUPPORT, sys::VIR_FROM_NONE, message, None));
        }
    }
    Ok(())
}

/// Whether an action makes sense in this state.
fn allows(state: VmState, action: PowerAction) -> bool {
    use VmState as S;
    match action {
        PowerAction::Start | PowerAction::StartPaused => matches!(state, S::Off | S::Saved),
        // A frozen guest can obey no wish.
        PowerAction::Shutdown | PowerAction::Suspend => state == S::Running,
        PowerAction::Reboot | PowerAction::Save => matches!(state, S::Running | S::Paused),
        PowerAction::Reset => matches!(state, S::Running | S::Paused | S::Crashed),
        PowerAction::Resume => state == S::Paused,
        PowerAction::DiscardSaved => state == S::Saved,
        // The way out of every state, also of one that this version does not know.
        _ => state.is_active() || state == S::Unknown,
    }
}

/// What waits for a guest, its agent, or for memory to be written or read.
fn takes_long(action: PowerAction) -> bool {
    !matches!(action, PowerAction::Suspend | PowerAction::Resume | PowerAction::Reset)
}

fn wrong_state(task: &Task<'_>, state: VmState) -> kvm_core::Error {
    task.invalid_state(match state {
        VmState::Off => "is off".into(),
        state => format!("is {state}"),
    })
}

/// A machine in the right state that the host could not move: a disk that is missing is a system error like any
/// other, and what it says is that the machine cannot do this as it is.
fn refused(task: &Task<'_>, action: PowerAction, e: LibvirtError) -> Failure {
    match e.os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::EISDIR) => {
            task.invalid_state("refers to a file that is not there").with_source(e).into()
        }
        _ if keeps_off(action, &e) => task.invalid_state("cannot start").with_source(e).into(),
        _ => e.into(),
    }
}

/// A machine that is stored nowhere and that libvirt did not start: its document is wrong, or this host cannot run it.
pub(crate) fn not_started(task: &Task<'_>, e: LibvirtError) -> Failure {
    match e.kind() {
        Some(ErrorKind::InvalidInput) => document::refused(task, e),
        _ => refused(task, PowerAction::StartPaused, e),
    }
}

/// Whether a start went wrong over what the machine's definition asks of this host: a processor that it does not have, a
/// port that is taken, a bridge, network or volume that is not there. libvirt uses many numbers for it. What is left out
/// says something else of the host: no permission, no room, no memory, no such call.
fn keeps_off(action: PowerAction, e: &LibvirtError) -> bool {
    matches!(action, PowerAction::Start | PowerAction::StartPaused)
        && match e.kind() {
            None | Some(ErrorKind::InvalidInput) => true,
            Some(ErrorKind::NotFound) => !e.is(sys::VIR_ERR_NO_DOMAIN),
            Some(ErrorKind::Unsupported) => {
                e.is(sys::VIR_ERR_CONFIG_UNSUPPORTED) || e.is(sys::VIR_ERR_CPU_INCOMPATIBLE)
            }
            Some(_) => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_cannot_be_started_and_what_is_off_cannot_be_stopped() {
        for state in [VmState::Running, VmState::Paused, VmState::Crashed, VmState::PmSuspended] {
            assert!(!allows(state, PowerAction::Start), "{state}");
            assert!(allows(state, PowerAction::PowerOff), "{state}");
        }
        for state in [VmState::Off, VmState::Saved] {
            assert!(allows(state, PowerAction::Start), "{state}");
            for action in [PowerAction::PowerOff, PowerAction::Shutdown, PowerAction::Reset, PowerAction::Save] {
                assert!(!allows(state, action), "{state} {action}");
            }
        }
    }

    #[test]
    fn a_frozen_guest_is_not_asked_for_anything() {
        assert!(!allows(VmState::Paused, PowerAction::Shutdown));
        assert!(!allows(VmState::Paused, PowerAction::Suspend));
        assert!(allows(VmState::Paused, PowerAction::Save));
    }

    #[test]
    fn only_what_is_paused_resumes_and_only_what_is_saved_is_discarded() {
        for state in VmState::ALL {
            assert_eq!(allows(state, PowerAction::Resume), state == VmState::Paused, "{state}");
            assert_eq!(allows(state, PowerAction::DiscardSaved), state == VmState::Saved, "{state}");
        }
    }

    #[test]
    fn a_start_that_fails_over_the_definition_is_told_from_one_that_fails_over_the_host() {
        let keeps_off = |action, code, os_error| {
            keeps_off(action, &LibvirtError::new(code, sys::VIR_FROM_QEMU, "any text", os_error))
        };
        for (code, os_error) in [
            (sys::VIR_ERR_INTERNAL_ERROR, None),
            (sys::VIR_ERR_OPERATION_FAILED, None),
            (sys::VIR_ERR_OPERATION_INVALID, None),
            (sys::VIR_ERR_SYSTEM_ERROR, Some(libc::EADDRINUSE)),
            (sys::VIR_ERR_SYSTEM_ERROR, Some(libc::ENODEV)),
            (sys::VIR_ERR_CONFIG_UNSUPPORTED, None),
            (sys::VIR_ERR_CPU_INCOMPATIBLE, None),
            (sys::VIR_ERR_NO_NETWORK, None),
            (sys::VIR_ERR_NO_STORAGE_VOL, None),
        ] {
            assert!(keeps_off(PowerAction::Start, code, os_error), "{code}");
            assert!(keeps_off(PowerAction::StartPaused, code, os_error), "{code}");
            assert!(!keeps_off(PowerAction::Resume, code, os_error), "{code}");
        }
        for (code, os_error) in [
            (sys::VIR_ERR_NO_DOMAIN, None),
            (sys::VIR_ERR_NO_SUPPORT, None),
            (sys::VIR_ERR_OPERATION_DENIED, None),
            (sys::VIR_ERR_OPERATION_TIMEOUT, None),
            (sys::VIR_ERR_SYSTEM_ERROR, Some(libc::EACCES)),
            (sys::VIR_ERR_SYSTEM_ERROR, Some(libc::ENOSPC)),
        ] {
            assert!(!keeps_off(PowerAction::Start, code, os_error), "{code}");
        }
    }
}
