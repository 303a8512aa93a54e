//! libvirt's events in the words of `kvm-core`.

use std::ffi::c_int;

use kvm_core::{Event, VmChange, VmEvent, VmId, VmName};
use virt::sys;

use crate::ffi::domain_event::{DomainEvent, EventKind};

/// Translates an event; `None` for one that says nothing new, that this version does not know, or about a machine
/// whose name nobody may speak.
pub(crate) fn translate(event: DomainEvent) -> Option<Event> {
    let what = match event.kind {
        EventKind::Lifecycle { event, detail } => lifecycle(event, detail)?,
        EventKind::Reboot => VmChange::Rebooted,
        EventKind::Agent { state } => agent(state)?,
        EventKind::DeviceAdded => VmChange::DeviceAdded,
        EventKind::DeviceRemoved => VmChange::DeviceRemoved,
        EventKind::Balloon => VmChange::BalloonChanged,
        EventKind::Metadata => VmChange::NotesChanged,
    };
    let name = match VmName::adopt(&event.name) {
        Ok(name) => name,
        Err(e) => {
            tracing::warn!(vm = %event.uuid, error = %e, "an event about a machine with an impossible name");
            return None;
        }
    };
    Some(Event::Vm(VmEvent { vm: VmId::from(event.uuid), name, what }))
}

fn lifecycle(event: c_int, detail: c_int) -> Option<VmChange> {
    let (event, detail) = (u32::try_from(event).ok()?, u32::try_from(detail).ok()?);
    Some(match (event, detail) {
        (sys::VIR_DOMAIN_EVENT_DEFINED, sys::VIR_DOMAIN_EVENT_DEFINED_ADDED) => VmChange::Defined,
        (sys::VIR_DOMAIN_EVENT_DEFINED, sys::VIR_DOMAIN_EVENT_DEFINED_RENAMED) => VmChange::Renamed,
        (sys::VIR_DOMAIN_EVENT_DEFINED, _) => VmChange::Redefined,

        // The other half of a rename, under the old name.
        (sys::VIR_DOMAIN_EVENT_UNDEFINED, sys::VIR_DOMAIN_EVENT_UNDEFINED_RENAMED) => return None,
        (sys::VIR_DOMAIN_EVENT_UNDEFINED, _) => VmChange::Undefined,

        (sys::VIR_DOMAIN_EVENT_STARTED, sys::VIR_DOMAIN_EVENT_STARTED_RESTORED) => VmChange::Restored,
        (sys::VIR_DOMAIN_EVENT_STARTED, sys::VIR_DOMAIN_EVENT_STARTED_WAKEUP) => VmChange::Resumed,
        (sys::VIR_DOMAIN_EVENT_STARTED, _) => VmChange::Started,

        (sys::VIR_DOMAIN_EVENT_SUSPENDED, sys::VIR_DOMAIN_EVENT_SUSPENDED_IOERROR) => VmChange::SuspendedOnIoError,
        (sys::VIR_DOMAIN_EVENT_SUSPENDED, _) => VmChange::Suspended,

        (sys::VIR_DOMAIN_EVENT_RESUMED, _) => VmChange::Resumed,

        (sys::VIR_DOMAIN_EVENT_STOPPED, sys::VIR_DOMAIN_EVENT_STOPPED_DESTROYED) => VmChange::PoweredOff,
        (sys::VIR_DOMAIN_EVENT_STOPPED, sys::VIR_DOMAIN_EVENT_STOPPED_MIGRATED) => VmChange::Migrated,
        (sys::VIR_DOMAIN_EVENT_STOPPED, sys::VIR_DOMAIN_EVENT_STOPPED_SAVED) => VmChange::Saved,
        (
            sys::VIR_DOMAIN_EVENT_STOPPED,
            sys::VIR_DOMAIN_EVENT_STOPPED_CRASHED | sys::VIR_DOMAIN_EVENT_STOPPED_FAILED,
        ) => VmChange::Crashed,
        (sys::VIR_DOMAIN_EVENT_STOPPED, _) => VmChange::Stopped,

        (sys::VIR_DOMAIN_EVENT_SHUTDOWN, _) => VmChange::ShutDown,
        (sys::VIR_DOMAIN_EVENT_PMSUSPENDED, _) => VmChange::PmSuspended,
        (sys::VIR_DOMAIN_EVENT_CRASHED, _) => VmChange::Crashed,
        _ => return None,
    })
}

fn agent(state: c_int) -> Option<VmChange> {
    match u32::try_from(state).ok()? {
        sys::VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED => Some(VmChange::AgentConnected),
        sys::VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED => Some(VmChange::AgentDisconnected),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn change(event: u32, detail: u32) -> Option<VmChange> {
        lifecycle(event.cast_signed(), detail.cast_signed())
    }

    #[test]
    fn a_stop_says_why() {
        use sys::*;
        for (detail, what) in [
            (VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, VmChange::Stopped),
            (VIR_DOMAIN_EVENT_STOPPED_DESTROYED, VmChange::PoweredOff),
            (VIR_DOMAIN_EVENT_STOPPED_CRASHED, VmChange::Crashed),
            (VIR_DOMAIN_EVENT_STOPPED_SAVED, VmChange::Saved),
            (VIR_DOMAIN_EVENT_STOPPED_MIGRATED, VmChange::Migrated),
            (99, VmChange::Stopped),
        ] {
            assert_eq!(change(VIR_DOMAIN_EVENT_STOPPED, detail), Some(what), "{detail}");
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_pause() {
        use sys::*;
        let suspended = |detail| change(VIR_DOMAIN_EVENT_SUSPENDED, detail);
        assert_eq!(suspended(VIR_DOMAIN_EVENT_SUSPENDED_IOERROR), Some(VmChange::SuspendedOnIoError));
        assert_eq!(suspended(VIR_DOMAIN_EVENT_SUSPENDED_PAUSED), Some(VmChange::Suspended));
    }

    #[test]
    fn a_rename_is_told_once() {
        use sys::*;
        assert_eq!(change(VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_RENAMED), None);
        assert_eq!(change(VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_RENAMED), Some(VmChange::Renamed));
    }

    #[test]
    fn an_event_from_the_future_is_left_out() {
        assert_eq!(change(99, 0), None);
        assert_eq!(lifecycle(-1, 0), None);
        assert_eq!(agent(99), None);
    }

    #[test]
    fn a_machine_that_nobody_may_name_is_left_out() {
        let event = |name: &str| DomainEvent { uuid: Uuid::nil(), name: name.into(), kind: EventKind::Reboot };
        assert_eq!(translate(event("..")), None);
        assert!(translate(event("-rf")).is_some());
    }
}
