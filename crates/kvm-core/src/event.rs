//! What happens on a host, as a stream.

use std::pin::Pin;

use futures_core::Stream;
use serde::{Deserialize, Serialize};

use crate::{VmId, VmName};

/// Events of one subscription, in the order in which the hypervisor gave them.
pub type EventStream = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// One item of an [`EventStream`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Something happened to a machine.
    Vm(VmEvent),
    /// The connection was lost; events that happen now are not seen.
    Disconnected,
    /// The connection stands again. What happened in between is found by listing.
    Resynced,
    /// The subscriber was too slow and this many events were dropped. What they said is found by listing.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// Something that happened to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmEvent {
    /// Whose.
    pub vm: VmId,
    /// Its name at that time.
    pub name: VmName,
    /// What.
    pub what: VmChange,
}

/// What happened to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum VmChange {
    /// Defined for the first time.
    Defined,
    /// Its definition changed.
    Redefined,
    /// Its definition has a new name.
    Renamed,
    /// Forgotten.
    Undefined,
    /// Booted.
    Started,
    /// Started from its saved state.
    Restored,
    /// Virtual CPUs frozen.
    Suspended,
    /// Frozen because of an I/O error, typically a full disk.
    SuspendedOnIoError,
    /// Virtual CPUs go on.
    Resumed,
    /// The guest finished its shutdown.
    ShutDown,
    /// Stopped after the guest's own shutdown.
    Stopped,
    /// Stopped by force.
    PoweredOff,
    /// Stopped, its memory saved.
    Saved,
    /// The guest or its process died.
    Crashed,
    /// Stopped because it moved to another host.
    Migrated,
    /// The guest suspended itself to memory.
    PmSuspended,
    /// The guest rebooted.
    Rebooted,
    /// The guest agent answers.
    AgentConnected,
    /// The guest agent is gone.
    AgentDisconnected,
    /// A device was plugged in.
    DeviceAdded,
    /// A device was taken out.
    DeviceRemoved,
    /// Memory of the guest changed (balloon).
    BalloonChanged,
    /// Title, description or metadata changed.
    NotesChanged,
}

impl VmChange {
    /// The name used in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Defined => "defined",
            Self::Redefined => "redefined",
            Self::Renamed => "renamed",
            Self::Undefined => "undefined",
            Self::Started => "started",
            Self::Restored => "restored",
            Self::Suspended => "suspended",
            Self::SuspendedOnIoError => "suspended-on-io-error",
            Self::Resumed => "resumed",
            Self::ShutDown => "shut-down",
            Self::Stopped => "stopped",
            Self::PoweredOff => "powered-off",
            Self::Saved => "saved",
            Self::Crashed => "crashed",
            Self::Migrated => "migrated",
            Self::PmSuspended => "pm-suspended",
            Self::Rebooted => "rebooted",
            Self::AgentConnected => "agent-connected",
            Self::AgentDisconnected => "agent-disconnected",
            Self::DeviceAdded => "device-added",
            Self::DeviceRemoved => "device-removed",
            Self::BalloonChanged => "balloon-changed",
            Self::NotesChanged => "notes-changed",
        }
    }
}
