//! The contract of a hypervisor: machines that are listed, defined, powered and watched.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;
use crate::event::EventStream;
use crate::{
    BlockJobs, Bytes, Checkpoints, Console, Devices, Error, Guest, HostDevices, Migration, Result, Snapshots, VmId,
    VmName, VmNotes, VmRef,
};

/// Machines on one host.
///
/// Calls may be cancelled by dropping their future: then nobody waits for the answer, but what was asked may still
/// happen. Whoever needs certainty looks again ([`Hypervisor::find`]).
///
/// Every method gives [`Unavailable`](crate::ErrorKind::Unavailable) when the host cannot be reached and
/// [`Timeout`](crate::ErrorKind::Timeout) when it does not answer within the backend's deadline; each method names
/// only what it adds to these.
#[async_trait]
pub trait Hypervisor: fmt::Debug + Send + Sync + 'static {
    /// Says what this host is and can do. Backends may answer from a cache for as long as a connection lasts.
    async fn capabilities(&self) -> Result<Capabilities>;

    /// Lists the machines whose states are wanted, sorted by name, in one bulk call.
    ///
    /// A machine that disappears while the list is made is left out, never an error.
    async fn list(&self, filter: &VmFilter) -> Result<Vec<VmSummary>>;

    /// Finds one machine. `NotFound` when there is none.
    ///
    /// A [`VmRef::Name`] that looks like a uuid is matched against names first.
    async fn find(&self, vm: &VmRef) -> Result<VmSummary>;

    /// Gives the machine's document. Secrets are left out unless the view asks for them; of a machine that is off,
    /// both views give the same. `NotFound`.
    async fn definition(&self, id: &VmId, view: View) -> Result<kvm_xml::Domain>;

    /// Stores a machine's persistent document and says under which id.
    ///
    /// The document needs a name and a uuid, and passes [`check_definition`](crate::check_definition) first:
    /// some names and numbers harm a hypervisor that merely parses them. With [`Existing::Reject`],
    /// `AlreadyExists` when the name or the uuid is taken. With [`Existing::Replace`], the machine with that uuid
    /// is redefined (`NotFound` when there is none, `AlreadyExists` when another one has the name, `InvalidInput` when
    /// the document gives it a new name: that is [`rename`](Self::rename)); a running one changes at its next start.
    /// `InvalidInput` when the hypervisor refuses the document.
    async fn define(&self, doc: &kvm_xml::Domain, existing: Existing) -> Result<VmId>;

    /// Starts a machine that is stored nowhere, with its virtual CPUs halted ([`PowerAction::Resume`] lets them run), and
    /// says under which id: when it stops it is gone.
    ///
    /// Where the host can, it also stops when the connection is lost over which it was started, so that it does not outlive
    /// whoever wanted it. The document is as for [`define`](Self::define). `AlreadyExists` when the name or the uuid is
    /// taken, `InvalidInput` when the hypervisor refuses the document, `InvalidState` when the host cannot start it.
    async fn start_transient(&self, doc: &kvm_xml::Domain) -> Result<VmId>;

    /// Forgets a machine that is off, with everything the hypervisor keeps for it except what `keep` names.
    /// Disks are never touched.
    ///
    /// `InvalidState` when it runs, or when something that is to be kept cannot outlive the definition
    /// (snapshot records, for instance); `NotFound`.
    async fn undefine(&self, id: &VmId, keep: Keep) -> Result<()>;

    /// Asks for a change of power state. Returns when the request is accepted, not when the guest has obeyed.
    ///
    /// `InvalidState` when the present state does not allow the action: starting what runs, stopping what is off,
    /// resuming what is not paused, suspending or shutting down what is, discarding where nothing is saved; and when
    /// the host cannot start the machine as it is defined. `NotFound`.
    async fn power(&self, id: &VmId, action: PowerAction) -> Result<()>;

    /// Gives a machine that is off a new name; its uuid stays.
    ///
    /// `InvalidState` when it runs, is saved or has snapshot records, `AlreadyExists` when the name is taken, also by
    /// itself, `NotFound`.
    async fn rename(&self, id: &VmId, name: &VmName) -> Result<()>;

    /// Sets whether the host starts this machine when it boots. Setting what is set succeeds.
    async fn set_autostart(&self, id: &VmId, autostart: Autostart) -> Result<()>;

    /// Replaces title, description, tags and protection, in the persistent document and in the live one.
    /// Metadata of other programs stays as it is. They are read with [`VmNotes::of`]. `NotFound`.
    async fn set_notes(&self, id: &VmId, notes: &VmNotes) -> Result<()>;

    /// Measures the machines whose states are wanted, in one bulk call, sorted by name.
    ///
    /// What is not known is `None`, never zero.
    async fn stats(&self, filter: &VmFilter) -> Result<Vec<VmStats>>;

    /// Subscribes to events; the subscription stands when this returns.
    ///
    /// After a lost connection was regained the stream gives [`Event::Resynced`](crate::Event::Resynced): whoever
    /// keeps a picture lists again. The stream ends only when the backend is dropped.
    async fn events(&self) -> Result<EventStream>;

    /// Devices that are plugged in and out, virtual CPUs and memory. `None` when the backend has no such family.
    fn devices(&self) -> Option<&dyn Devices>;

    /// What is asked of a running guest: its addresses. `None` when the backend has no such family.
    fn guest(&self) -> Option<&dyn Guest>;

    /// Consoles and screenshots. `None` when the backend has no such family.
    fn console(&self) -> Option<&dyn Console>;

    /// Snapshot records. `None` when the backend has no such family.
    fn snapshots(&self) -> Option<&dyn Snapshots>;

    /// Checkpoint records. `None` when the backend has no such family.
    fn checkpoints(&self) -> Option<&dyn Checkpoints>;

    /// Jobs on the images of running machines. `None` when the backend has no such family.
    fn block_jobs(&self) -> Option<&dyn BlockJobs>;
    /// Moving machines to other hosts. `None` when the backend has no such family.
    fn migration(&self) -> Option<&dyn Migration>;
    /// Devices of the host itself. `None` when the backend has no such family.
    fn host_devices(&self) -> Option<&dyn HostDevices>;
}

/// Which machines a bulk call wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmFilter {
    /// Only these states; empty means all.
    pub states: Vec<VmState>,
}

impl VmFilter {
    /// Every machine.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Machines that have a QEMU process (or its like): running, paused, shutting down, crashed but kept,
    /// suspended by power management.
    #[must_use]
    pub fn active() -> Self {
        Self { states: VmState::ALL.into_iter().filter(|s| s.is_active()).collect() }
    }

    /// Whether a machine in this state is wanted.
    #[must_use]
    pub fn wants(&self, state: VmState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }
}

/// What a list says of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSummary {
    /// The uuid.
    pub id: VmId,
    /// The name.
    pub name: VmName,
    /// The power state.
    pub state: VmState,
    /// Virtual CPUs that are plugged in.
    pub vcpus: Option<u32>,
    /// Memory the guest has now (the balloon's target).
    #[serde(rename = "memory_bytes")]
    pub memory: Option<Bytes>,
    /// Memory the guest could have.
    #[serde(rename = "max_memory_bytes")]
    pub max_memory: Option<Bytes>,
    /// Whether the definition outlives a power-off.
    pub persistent: bool,
    /// Whether the host starts it at boot; `None` when the backend has no such notion.
    pub autostart: Option<bool>,
    /// Whether a saved state waits to be restored at the next start.
    pub has_saved_state: bool,
}

/// The power state of a machine.
///
/// ```text
///            start                suspend
///   Off ───────────────▶ Running ─────────▶ Paused
///    ▲ ▲                 │ │  ▲ ◀───────── resume
///    │ │   power-off     │ │  │
///    │ └─────────────────┘ │  │ start (restores)
///    │ guest obeys         │  │
///    └── ShuttingDown ◀────┤  │
///        shutdown          └──▶ Saved
///                          save
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum VmState {
    /// The guest runs (or idles).
    Running,
    /// The guest is frozen in memory.
    Paused,
    /// The guest was asked to shut down and the hypervisor says that it is doing so.
    ShuttingDown,
    /// Not running; nothing saved.
    Off,
    /// Not running; its memory is saved and restored by the next start.
    Saved,
    /// The guest or its process died; kept for inspection where the definition says so.
    Crashed,
    /// The guest suspended itself to memory.
    PmSuspended,
    /// The backend gave a state that this version does not know.
    Unknown,
}

impl VmState {
    /// All states, in the order in which lists group them.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Paused,
        Self::ShuttingDown,
        Self::PmSuspended,
        Self::Crashed,
        Self::Saved,
        Self::Off,
        Self::Unknown,
    ];

    /// Whether a machine in this state occupies memory on the host.
    #[must_use]
    pub fn is_active(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::ShuttingDown | Self::Crashed | Self::PmSuspended => true,
            Self::Off | Self::Saved | Self::Unknown => false,
        }
    }

    /// The name used in tables, selectors and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::ShuttingDown => "shutting-down",
            Self::Off => "off",
            Self::Saved => "saved",
            Self::Crashed => "crashed",
            Self::PmSuspended => "pm-suspended",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for VmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for VmState {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == s).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|s| s.as_str()).collect();
            Error::invalid("state", format!("no such state: {}", crate::text::printable(s)))
                .with_detail(format!("one of {}", known.join(", ")))
        })
    }
}

/// Which of a machine's two documents, and whether with its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Live or configured.
    pub which: Which,
    /// Hidden or shown.
    pub secrets: Secrets,
}

impl View {
    /// What runs now, without secrets.
    pub const LIVE: Self = Self { which: Which::Live, secrets: Secrets::Hide };
    /// What the next start will use, without secrets.
    pub const CONFIG: Self = Self { which: Which::Config, secrets: Secrets::Hide };

    /// The same document with its secrets.
    #[must_use]
    pub fn with_secrets(self) -> Self {
        Self { secrets: Secrets::Show, ..self }
    }
}

/// The running machine's document or the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// With what was hot-plugged and what the hypervisor chose.
    Live,
    /// What the next start will use.
    Config,
}

/// Whether a document carries passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Left out.
    Hide,
    /// Included. The document is then itself a secret.
    Show,
}

/// What happens when the thing to define is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Reject,
    /// Replace the one with the same uuid.
    Replace,
}

/// What outlives a definition; the default keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The UEFI variable store.
    pub nvram: bool,
    /// The emulated TPM's state.
    pub tpm: bool,
}

impl Keep {
    /// Everything goes.
    pub const NOTHING: Self = Self { nvram: false, tpm: false };
    /// The firmware's and the TPM's state stay, for a machine that is defined again at once.
    pub const STATE: Self = Self { nvram: true, tpm: true };
}

/// A change of power state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PowerAction {
    /// Boots it, or restores its saved state.
    Start,
    /// As [`Start`](Self::Start), but the virtual CPUs do not run yet.
    StartPaused,
    /// Asks the guest to shut down (guest agent, else the power button). The guest may refuse.
    Shutdown,
    /// Pulls the plug: the guest loses what it did not write.
    PowerOff,
    /// Asks the guest to reboot.
    Reboot,
    /// Presses the reset button: the guest loses what it did not write.
    Reset,
    /// Freezes the virtual CPUs.
    Suspend,
    /// Lets frozen virtual CPUs go on.
    Resume,
    /// Writes the memory to disk and stops; the next start restores it.
    Save,
    /// Throws a saved state away; the next start boots.
    DiscardSaved,
}

impl PowerAction {
    /// The verb used on the command line, in journals and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::StartPaused => "start-paused",
            Self::Shutdown => "shutdown",
            Self::PowerOff => "power-off",
            Self::Reboot => "reboot",
            Self::Reset => "reset",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Save => "save",
            Self::DiscardSaved => "discard-saved",
        }
    }
}

impl fmt::Display for PowerAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether the host starts a machine, pool or network when it boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Autostart {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// One measurement of a machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VmStats {
    /// The uuid.
    pub id: VmId,
    /// The name.
    pub name: VmName,
    /// The power state.
    pub state: VmState,
    /// Host CPU time spent since the start, over all virtual CPUs and the emulator.
    #[serde(rename = "cpu_time_seconds", serialize_with = "seconds")]
    pub cpu_time: Option<Duration>,
    /// Virtual CPUs that are plugged in.
    pub vcpus: Option<u32>,
    /// Memory the guest has now.
    #[serde(rename = "memory_bytes")]
    pub memory: Option<Bytes>,
    /// Memory the guest could have.
    #[serde(rename = "max_memory_bytes")]
    pub max_memory: Option<Bytes>,
    /// Host memory that the machine's process occupies.
    #[serde(rename = "resident_bytes")]
    pub resident: Option<Bytes>,
    /// Memory the guest itself says it does not use (only with a balloon driver that reports).
    #[serde(rename = "guest_unused_bytes")]
    pub guest_unused: Option<Bytes>,
    /// Per disk, by target name.
    pub disks: BTreeMap<String, DiskStats>,
    /// Per network device, by the host's device name, or an index where it has none.
    pub nics: BTreeMap<String, NicStats>,
}

fn seconds<S: serde::Serializer>(d: &Option<Duration>, s: S) -> std::result::Result<S::Ok, S::Error> {
    d.map(|d| d.as_secs_f64()).serialize(s)
}

/// Counters of a disk since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskStats {
    /// The file or device behind it.
    pub path: Option<String>,
    /// Bytes read.
    pub read_bytes: Option<Bytes>,
    /// Bytes written.
    pub write_bytes: Option<Bytes>,
    /// Read requests.
    pub read_requests: Option<u64>,
    /// Write requests.
    pub write_requests: Option<u64>,
    /// Size that the guest sees.
    #[serde(rename = "capacity_bytes")]
    pub capacity: Option<Bytes>,
    /// Space that it takes on the host.
    #[serde(rename = "allocation_bytes")]
    pub allocation: Option<Bytes>,
}

/// Counters of a network device since the start, as the guest sees directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NicStats {
    /// Bytes received.
    pub receive_bytes: Option<Bytes>,
    /// Bytes sent.
    pub transmit_bytes: Option<Bytes>,
    /// Packets received.
    pub receive_packets: Option<u64>,
    /// Packets sent.
    pub transmit_packets: Option<u64>,
    /// Errors and drops, both ways.
    pub errors: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_found_again_by_its_name() {
        for state in VmState::ALL {
            assert_eq!(state.as_str().parse::<VmState>().unwrap(), state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!("gone".parse::<VmState>().unwrap_err().kind(), crate::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_empty_filter_wants_all_and_the_active_one_wants_no_saved_machine() {
        assert!(VmState::ALL.into_iter().all(|s| VmFilter::all().wants(s)));
        assert!(!VmFilter::active().wants(VmState::Saved));
        assert!(VmFilter::active().wants(VmState::Paused));
    }
}
