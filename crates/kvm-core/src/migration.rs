//! Moving machines to another host.

use std::any::Any;
use std::fmt;
use std::num::NonZeroU8;
use std::time::Duration;

use async_trait::async_trait;
use kvm_xml::Domain;
use kvm_xml::value::DiskName;
use serde::{Deserialize, Serialize};

use crate::{Bandwidth, Bytes, HostName, Result, Target, VmId};

/// Moving machines from one host to another. Both hosts are of one backend.
///
/// A machine is on one of the two hosts at any time: whatever goes wrong, its virtual CPUs run at most once.
#[async_trait]
pub trait Migration: fmt::Debug + Send + Sync {
    /// Moves a machine of this host to another one, and returns when it is there.
    ///
    /// Disks that are not copied have to be there already under the same paths; those that are copied, too, empty and at
    /// least as large. When it goes wrong the machine goes on where it was, with two exceptions: after a switch to
    /// post-copy, and when the answer of the last handshake is lost; then whoever asked looks at both hosts.
    ///
    /// `NotFound`; `InvalidState` when a live migration finds the machine off, or an offline one does not, when it is the
    /// host's own, or when a host refuses it as it is; `AlreadyExists` when the other host has the name or the uuid;
    /// `Unsupported` when the other host is of another backend, or one of them cannot do it this way; `Cancelled` after
    /// [`cancel`](Self::cancel); `Unavailable` when a connection between the two was lost or could not be made.
    async fn migrate(&self, vm: &VmId, to: &dyn Migration, spec: &MigrationSpec) -> Result<()>;

    /// How far a migration from this host is; `None` while there is none. `NotFound`.
    async fn job(&self, vm: &VmId) -> Result<Option<MigrationJob>>;

    /// What the last migration to this host took, as long as the hypervisor remembers; `None` when it does not, or when
    /// there was none. `NotFound`.
    async fn outcome(&self, vm: &VmId) -> Result<Option<MigrationJob>>;

    /// Asks a migration from this host to stop: the machine goes on here, and [`migrate`](Self::migrate) ends with
    /// `Cancelled`. `InvalidState` when there is none, or when it has gone too far for that; `NotFound`.
    async fn cancel(&self, vm: &VmId) -> Result<()>;

    /// Lets the machine run on the other host at once, and fetch what is missing of its memory when it needs it. There is
    /// no way back: a machine whose hosts lose each other now is lost. `InvalidState` when there is no migration that
    /// [allows](MigrationSpec::post_copy) it; `NotFound`.
    async fn start_post_copy(&self, vm: &VmId) -> Result<()>;

    /// Says whether this host could give the machine of this document its CPU.
    async fn compare_cpu(&self, document: &Domain) -> Result<CpuFit>;

    /// The backend itself, by which it recognises its own kind at the other end.
    fn as_any(&self) -> &dyn Any;
}

/// How a machine is moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationSpec {
    /// While it runs, or while it is off.
    pub mode: MigrationMode,
    /// Who leads.
    pub route: Route,
    /// Where the definition is afterwards.
    pub definition: DefinitionPlace,
    /// Disks whose content is copied; all others are on storage that both hosts share.
    #[serde(with = "disk_names", skip_serializing_if = "Vec::is_empty", default)]
    pub copy: Vec<DiskName>,
    /// The address under which the source reaches the destination for the data; else the name that the destination has
    /// for itself.
    pub data_host: Option<HostName>,
    /// Whether memory and disks are encrypted on their way, with the certificates of both hosts' hypervisors.
    pub tls: bool,
    /// Most bytes per second.
    pub bandwidth: Bandwidth,
    /// How long the machine may stand still at the end; the hypervisor's own idea (0.3 s) otherwise.
    pub max_downtime: Option<Duration>,
    /// Whether virtual CPUs that dirty memory faster than it is sent are slowed down.
    pub auto_converge: bool,
    /// Whether [`Migration::start_post_copy`] is allowed.
    pub post_copy: bool,
    /// So many connections at a time for the memory; `None` is one.
    pub connections: Option<NonZeroU8>,
}

impl MigrationSpec {
    /// A live migration on shared storage, led by this program, with the definition.
    #[must_use]
    pub fn live() -> Self {
        Self {
            mode: MigrationMode::Live,
            route: Route::Client,
            definition: DefinitionPlace::Destination,
            copy: Vec::new(),
            data_host: None,
            tls: false,
            bandwidth: Bandwidth::UNLIMITED,
            max_downtime: None,
            auto_converge: false,
            post_copy: false,
            connections: None,
        }
    }

    /// Moves the definition of a machine that is off.
    #[must_use]
    pub fn offline() -> Self {
        Self { mode: MigrationMode::Offline, ..Self::live() }
    }
}

/// Whether a machine runs while it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationMode {
    /// It runs.
    Live,
    /// It is off, and only its definition moves.
    Offline,
}

/// Who leads a migration. The data goes from one host straight to the other in any case but [`Tunnel`](Self::Tunnel).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// This program, which is connected to both hosts. When it dies the migration is given up.
    Client,
    /// The source, which connects to the destination by itself, under this target and with its own keys. It goes on
    /// without this program.
    Source(Target),
    /// As [`Source`](Self::Source), and memory goes through that connection, too. Disks cannot.
    Tunnel(Target),
}

/// Where a machine's definition is after it moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefinitionPlace {
    /// It moves with the machine.
    Destination,
    /// It stays: the machine is gone from the destination when it stops.
    Source,
}

/// How far a migration is, or what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MigrationJob {
    /// Since it began.
    #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
    pub elapsed: Option<Duration>,
    /// The machine's memory.
    pub memory: Transfer,
    /// Its copied disks.
    pub disks: Transfer,
    /// How often the memory was gone through; more than once for what was written meanwhile.
    pub passes: Option<u64>,
    /// How long it stands still at the end, as expected now or as it was.
    #[serde(rename = "downtime_seconds", serialize_with = "seconds")]
    pub downtime: Option<Duration>,
}

fn seconds<S: serde::Serializer>(d: &Option<Duration>, s: S) -> std::result::Result<S::Ok, S::Error> {
    d.map(|d| d.as_secs_f64()).serialize(s)
}

/// How much of something has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// How much there is.
    #[serde(rename = "total_bytes")]
    pub total: Bytes,
    /// How much has been sent; more than the total when parts are sent again.
    #[serde(rename = "done_bytes")]
    pub done: Bytes,
    /// How much is still to be sent.
    #[serde(rename = "remaining_bytes")]
    pub remaining: Bytes,
}

/// Whether a host can give a machine its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuFit {
    /// It can.
    Fits,
    /// It lacks something.
    Lacks,
    /// Nobody can say: the machine has whatever its host has, or the host does not compare.
    Unknown,
}

/// Names of disks as text, checked when they are read.
mod disk_names {
    use kvm_xml::value::DiskName;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(names: &[DiskName], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(names.iter().map(DiskName::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<DiskName>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_survives_a_journal() {
        let spec = MigrationSpec {
            route: Route::Source(Target::parse("qemu+ssh://root@kvm2/system").unwrap()),
            copy: vec!["vda".parse().unwrap()],
            data_host: Some(HostName::parse("10.0.0.2").unwrap()),
            bandwidth: Bandwidth::parse("100M").unwrap(),
            max_downtime: Some(Duration::from_millis(500)),
            connections: NonZeroU8::new(4),
            ..MigrationSpec::live()
        };
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<MigrationSpec>(&text).unwrap(), spec, "{text}");
        let hostile = text.replace("vda", "../x");
        assert!(serde_json::from_str::<MigrationSpec>(&hostile).is_err(), "{hostile}");
        let hostile = text.replace("/system", "/system?command=id");
        assert!(serde_json::from_str::<MigrationSpec>(&hostile).is_err(), "{hostile}");
    }
}
