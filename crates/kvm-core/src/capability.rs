//! What a host is, and what it can do at its present version.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kvm_xml::value::CpuSet;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::Bytes;

/// What a host is and can do.
///
/// A facet of [`Hypervisor`](crate::Hypervisor) says that a backend knows a family; a [`Feature`] here says that this
/// host can do this variant now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capabilities {
    /// The connection in its canonical form; never a secret.
    pub target: String,
    /// The host's own uuid, where it has one (the test driver and the simulated host do not).
    pub host_uuid: Option<Uuid>,
    /// The host's name, as it says itself.
    pub host_name: String,
    /// `QEMU`, `Test`, `mock`.
    pub driver: String,
    /// Version of the hypervisor, `10.0.2`.
    pub hypervisor_version: Option<String>,
    /// Version of the management daemon's library, `11.3.0`.
    pub library_version: Option<String>,
    /// Architecture of the host's CPUs, `x86_64`.
    pub arch: Option<String>,
    /// Logical CPUs.
    pub cpus: Option<u32>,
    /// Physical memory.
    #[serde(rename = "memory_bytes")]
    pub memory: Option<Bytes>,
    /// What kinds of guest it runs.
    pub guests: Vec<GuestKind>,
    /// Its NUMA nodes, by number; empty when the host does not say.
    pub numa: Vec<NumaNode>,
    /// As whom machines run; `None` when they run as whoever connects, or the host does not say.
    pub runs_as: Option<ProcessUser>,
    /// What it can do at this version.
    pub features: BTreeSet<Feature>,
}

impl Capabilities {
    /// Names the host in locks and journals: its uuid, or its canonical target where it has none.
    #[must_use]
    pub fn host_key(&self) -> HostKey {
        HostKey(self.host_uuid.map_or_else(|| self.target.clone(), |u| u.hyphenated().to_string()))
    }

    /// The kind of guest that runs fastest for this architecture: hardware virtualisation before emulation.
    #[must_use]
    pub fn best_guest(&self, arch: &str) -> Option<&GuestKind> {
        self.guests.iter().filter(|g| g.arch == arch && g.os_type == "hvm").min_by_key(|g| g.virt_type != "kvm")
    }
}

/// A NUMA node of a host: CPUs with the memory that is near to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NumaNode {
    /// The number by which the host knows it.
    pub number: u32,
    /// Its memory.
    #[serde(rename = "memory_bytes")]
    pub memory: Option<Bytes>,
    /// Its CPUs; none where it is memory alone.
    #[serde(serialize_with = "as_text")]
    pub cpus: CpuSet,
    /// How far it is to each node: 10 to itself, 20 for twice as long. Empty when the host does not say.
    pub distances: BTreeMap<u32, u32>,
}

fn as_text<S: Serializer>(set: &CpuSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(set.as_str())
}

/// A user of the host with the group that its processes have first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessUser {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// One combination that a host runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestKind {
    /// `hvm`, `exe`…
    pub os_type: String,
    /// Architecture of the guest, `x86_64`.
    pub arch: String,
    /// `kvm` (hardware), `qemu` (emulation), `test`.
    pub virt_type: String,
    /// The emulator's path.
    pub emulator: Option<String>,
    /// Machine types by their canonical names and aliases.
    pub machines: Vec<String>,
    /// Most virtual CPUs that any of its machine types takes; `None` when the host does not say.
    pub max_vcpus: Option<u32>,
}

/// Something that some hosts or versions cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Feature {
    /// Machines start when the host boots.
    Autostart,
    /// [`PowerAction::Save`](crate::PowerAction::Save) and its way back.
    ManagedSave,
    /// [`PowerAction::Reset`](crate::PowerAction::Reset).
    Reset,
    /// Statistics of machines, beyond their state.
    Statistics,
    /// A guest's addresses from DHCP leases.
    LeaseAddresses,
    /// A guest's addresses from its agent.
    AgentAddresses,
    /// A guest's addresses from the host's neighbour table.
    ArpAddresses,
    /// A serial console as a byte stream.
    SerialConsole,
    /// Pictures of the screen.
    Screenshot,
    /// Snapshot records.
    Snapshots,
    /// Checkpoint records.
    Checkpoints,
    /// Jobs on the images of running machines.
    BlockJobs,
    /// UEFI firmware with a variable store.
    Uefi,
    /// Emulated TPM.
    Tpm,
    /// Commands to a guest's agent.
    AgentCommands,
}

/// Names a host in locks and journals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostKey(pub(crate) String);

impl HostKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
