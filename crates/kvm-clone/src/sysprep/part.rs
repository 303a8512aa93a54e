//! What makes a guest one of its own, and what became of it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use kvm_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// A part of a guest's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// `/etc/machine-id`, by which its DHCP server and its logs know it.
    MachineId,
    /// `/etc/hostname`, and where `/etc/hosts` has the old one.
    HostName,
    /// The keys by which SSH knows it: `/etc/ssh/ssh_host_*`.
    SshKeys,
    /// Leases and identifiers of DHCP clients.
    Dhcp,
    /// Names of network devices that udev has written down with their old addresses.
    NetRules,
    /// What lies in `/var/log`.
    Logs,
    /// What users have typed into shells.
    History,
}

impl Part {
    /// All parts, in the order in which they are changed.
    pub const ALL: [Self; 7] =
        [Self::MachineId, Self::HostName, Self::SshKeys, Self::Dhcp, Self::NetRules, Self::Logs, Self::History];

    /// The name in command lines, tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MachineId => "machine-id",
            Self::HostName => "host-name",
            Self::SshKeys => "ssh-keys",
            Self::Dhcp => "dhcp",
            Self::NetRules => "net-rules",
            Self::Logs => "logs",
            Self::History => "history",
        }
    }

    /// What it is afterwards.
    pub(super) fn becomes(self) -> &'static str {
        match self {
            Self::MachineId | Self::HostName => "new",
            Self::SshKeys => "new ones, made inside by ssh-keygen",
            Self::Dhcp => "leases and client identifiers deleted",
            Self::NetRules => "deleted",
            Self::Logs => "emptied; journals and rotated ones deleted",
            Self::History => "of shells, deleted",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == text).ok_or_else(|| {
            let shown = kvm_core::text::printable_within(text, 32);
            let known = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid("keep", format!("\"{shown}\" is no part of an identity; parts are: {known}"))
        })
    }
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is another one now.
    Changed,
    /// The guest has no such thing.
    Absent,
    /// It stays, as was asked.
    Kept,
    /// It is, at least in part, still the original's.
    Failed,
}

/// A part, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartDone {
    /// Which.
    pub part: Part,
    /// How it went.
    pub outcome: Outcome,
    /// What was done, or why it was not, in one printable line. Guests can lie.
    pub what: String,
}

/// What became of a guest's identity, part by part. Clones share it; it is empty until the operation has come so far, and
/// where another process goes on with it.
#[derive(Clone, Debug, Default)]
pub struct SysprepReport(Arc<Mutex<Vec<PartDone>>>);

impl SysprepReport {
    /// The parts, in the order of [`Part::ALL`].
    #[must_use]
    pub fn parts(&self) -> Vec<PartDone> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, parts: Vec<PartDone>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = parts;
    }
}
