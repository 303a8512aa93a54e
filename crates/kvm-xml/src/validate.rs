//! What is wrong with a document although the schema allows it.

mod address;
mod cpu;
mod device;
mod disk;
mod look;
mod network;
mod pool;
mod system;

use crate::diff::one_line;
use crate::domain::Domain;
use crate::network::Network;
use crate::pool::StoragePool;
use std::fmt;
use uuid::Uuid;

/// Something that is wrong with a document. `Display` says it on one line:
/// `devices.disk[vdb].target.dev: devices.disk[vda] has this name too; choose another`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is, as in [`diff`](crate::diff).
    pub path: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub kind: ProblemKind,
    /// What is wrong and what mends it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", one_line(&self.path))?;
        }
        f.write_str(&one_line(&self.message))
    }
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// libvirt takes the document, but does something else than it says, or the guest will not like it.
    Warning,
    /// libvirt refuses the document, or the hypervisor refuses to start it.
    Error,
}

/// What a [`Problem`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Something that has to be there is not.
    Missing,
    /// A name that libvirt does not take.
    Name,
    /// Two items have what only one can have: a name, an address, a number.
    Duplicate,
    /// Two parts of the document exclude each other.
    Conflict,
    /// A number that is larger or smaller than another part of the document allows.
    OutOfRange,
    /// Something that another part of the document would have to define.
    Undefined,
    /// Something that the host does not have.
    Unknown,
    /// A part that is overruled by another and has no effect.
    Ignored,
}

/// Something outside of a document that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A storage pool.
    Pool(&'a str),
    /// A volume of a storage pool that is there.
    Volume {
        /// The pool.
        pool: &'a str,
        /// The volume.
        volume: &'a str,
    },
    /// A virtual network.
    Network(&'a str),
    /// A network filter.
    Filter(&'a str),
    /// A secret by its uuid.
    Secret(Uuid),
    /// A secret by its usage.
    SecretUsage(&'a str),
}

/// Whether a [`Reference`] leads somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    There,
    /// It does not.
    Absent,
    /// Nobody has looked.
    NotLooked,
}

/// The answer of who has not looked at the host: for [`Domain::validate`] without one.
#[must_use]
pub fn not_looked(_: Reference<'_>) -> Presence {
    Presence::NotLooked
}

impl Domain {
    /// What is wrong with the document although the schema allows it, in the order of the checks: the machine, its CPUs
    /// and memory, its devices.
    ///
    /// `look` is asked about pools, volumes, networks, filters and secrets; [`not_looked`] leaves them alone. What only
    /// one machine type or one version of QEMU refuses is not checked.
    ///
    /// ```
    /// use kvm_xml::domain::{Disk, DiskFormat};
    /// use kvm_xml::value::Memory;
    /// use kvm_xml::{Domain, not_looked};
    ///
    /// let disk = |path| Disk::file("vda".parse().expect("a name"), path, DiskFormat::Raw);
    /// let domain = Domain::kvm("web").memory(Memory::from_bytes(1 << 30)).disk(disk("/a")).disk(disk("/b"));
    /// let problems = domain.validate(&not_looked);
    /// assert_eq!(problems[0].to_string(), "devices.disk[vda].target.dev: another disk has this name; vdb is free");
    /// ```
    #[must_use]
    pub fn validate(&self, look: &dyn Fn(Reference<'_>) -> Presence) -> Vec<Problem> {
        let mut problems = Problems::default();
        system::check(self, &mut problems);
        cpu::check(self, &mut problems);
        disk::check(self, &mut problems);
        device::check(self, &mut problems);
        address::check(self, &mut problems);
        look::references(self, look, &mut problems);
        problems.0
    }
}

impl Network {
    /// What is wrong with the document although the schema allows it.
    #[must_use]
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        network::check(self, &mut problems);
        problems.0
    }
}

impl StoragePool {
    /// What is wrong with the document although the schema allows it.
    #[must_use]
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        pool::check(self, &mut problems);
        problems.0
    }
}

/// The problems found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn error(&mut self, path: impl Into<String>, kind: ProblemKind, message: impl Into<String>) {
        self.push(Severity::Error, path.into(), kind, message.into());
    }

    fn warning(&mut self, path: impl Into<String>, kind: ProblemKind, message: impl Into<String>) {
        self.push(Severity::Warning, path.into(), kind, message.into());
    }

    fn missing(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.error(path, ProblemKind::Missing, message);
    }

    fn push(&mut self, severity: Severity, path: String, kind: ProblemKind, message: String) {
        self.0.push(Problem { path, severity, kind, message });
    }
}
