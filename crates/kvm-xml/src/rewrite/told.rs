//! What a rewriting tells: changes with their reasons, warnings, copies to make, refusals.

use super::facts::{Content, Location};
use crate::diff::Change;
use crate::value::MacAddr;
use std::fmt;
use uuid::Uuid;

/// One change of the document, and why.
///
/// `Display` shows it on one line: `uuid: 6f1c… -> 0a4e… (two machines are not one)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What changed, as [`diff`](crate::diff) says it.
    pub change: Change,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.change, self.reason)
    }
}

/// Bytes that somebody has to bring to where the new document expects them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The element that names them: `devices.disk[vda].source`.
    pub path: String,
    /// What they are.
    pub content: Content,
    /// Where they lie.
    pub from: Location,
    /// Where the new document expects them.
    pub to: Location,
    /// How they get there.
    pub how: How,
}

/// How bytes get to a new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// As they are.
    AsIs,
    /// Together with what lies below them, as one image.
    Flattened,
    /// Not at all: a new, empty qcow2 image on top of them.
    Overlay,
}

macro_rules! worded {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $choice:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$about])* $choice,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$choice => $text,)+ })
            }
        }
    };
}

worded! {
    /// Why something was changed.
    Reason {
        /// The copy was given a name.
        Named = "the name of the copy",
        /// The copy is a machine of its own.
        Identity = "two machines are not one",
        /// The guest has to notice that it was copied or set back.
        Generation = "the guest notices by it that it was copied or set back",
        /// It comes and goes with a running machine.
        Live = "only a running machine has it",
        /// The target's name for the same network.
        Uplink = "the target's name for it",
        /// Where the bytes of the copy lie.
        Placed = "where the copy lies",
        /// The copy holds what was below.
        Flattened = "the copy holds all of it",
        /// The copy holds only what differs.
        Overlay = "the copy lies on top of the original",
        /// The medium is not for the copy.
        Ejected = "the copy does not have the medium",
        /// A new TPM.
        FreshTpm = "the copy has a TPM of its own",
        /// libvirt finds one that is free.
        Chosen = "libvirt chooses one that is free",
        /// The target has no such address.
        Listen = "where the target can listen",
        /// A document with a secret in it is a secret.
        Secret = "a document with a password is a secret",
        /// A file or socket of the original.
        HostPath = "the original uses it",
        /// A device of the target.
        HostDevice = "devices of a host do not move",
        /// What the target has in its place.
        Target = "what the target has",
        /// libvirt labels anew.
        Relabelled = "libvirt labels anew",
        /// It told where the original comes from.
        Lineage = "where the copy comes from",
    }
}

worded! {
    /// What kind of reason a refusal has.
    Refusal {
        /// A fact is missing that the policy needs, or it cannot be used.
        Facts = "a fact is missing or cannot be used",
        /// The name is taken.
        NameTaken = "the name is taken",
        /// Something lies where the copy should.
        LocationTaken = "the place is taken",
        /// The target has no such network.
        NetworkMissing = "the target has no such network",
        /// The target does not reach a source that it needs.
        Unreachable = "the target does not reach it",
        /// Two machines would write to it.
        TwoWriters = "two machines would write to it",
        /// The target has no such device.
        HostDevice = "the target has no such device",
        /// The target has no such secret.
        SecretMissing = "the target has no such secret",
        /// The target cannot run such a machine.
        Unsupported = "the target cannot run it",
        /// The document has something that this version does not know and must not guess.
        Unknown = "it is not known what it means",
    }
}

/// Why a document was not rewritten. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteError {
    /// What kind of reason it is.
    pub kind: Refusal,
    /// The field of the document, as [`diff`](crate::diff) calls it.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would help.
    pub fix: String,
}

impl RewriteError {
    pub(super) fn new(
        kind: Refusal,
        field: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { kind, field: field.into(), problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Parts of it come from documents, and a message is one line.
        let text = format!("{}: {}; {}", self.field, self.problem, self.fix);
        text.chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

impl std::error::Error for RewriteError {}

/// What somebody should know before the copy is made. `path` is the element, as [`diff`](crate::diff) calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the sentence about a warning says what its fields are")]
pub enum Warning {
    /// The copy starts with an empty TPM: keys sealed in the old one (BitLocker, LUKS) do not open there.
    FreshTpm { path: String },
    /// Two machines have one TPM: its endorsement key is the same, and what is sealed in one opens in the other.
    SameTpm { path: String },
    /// Two machines have one MAC address on one network.
    MacShared { path: String, mac: MacAddr, network: String },
    /// A network filter names an IP address, which the copy keeps.
    FilteredAddress { path: String, address: String },
    /// A disk has another serial number or world wide name: what the guest mounts by it is not found.
    DiskSerial { path: String },
    /// The target has not the medium of a drive.
    Ejected { path: String, medium: String },
    /// A device of the host was taken out.
    HostDeviceDropped { path: String, device: String },
    /// A character device has lost its other end on the host.
    Detached { path: String, end: String },
    /// A password was taken out: the console of the copy is open until it gets another.
    PasswordDropped { path: String },
    /// Graphics listen on libvirt's default address, as the target has not the old one.
    ListenDropped { path: String, address: String },
    /// Two machines listen on one port of a host: only one of them starts.
    HostPort { path: String, port: String },
    /// Something on the host serves this socket or folder, and the copy uses it too.
    HostPath { path: String, host_path: String },
    /// The target has not this file.
    FileMissing { path: String, host_path: String },
    /// The target has not this secret.
    SecretMissing { path: String, secret: Uuid },
    /// The guest sees the CPU of the host, which is another one.
    HostCpu { path: String },
    /// Nothing is known of the target, so nothing was checked.
    Unchecked { path: String },
    /// Arguments for the emulator that nobody looks into may name files, ports and devices of the original.
    RawArguments { path: String },
    /// The guest's owner has sealed this to one host.
    SealedToHost { path: String },
    /// The generation id has to change when the replica is promoted.
    GenidAtPromotion,
    /// Snapshots and checkpoints are left behind.
    SnapshotsLeft { snapshots: usize, checkpoints: usize, internal: usize },
    /// The copy does not start with its host.
    AutostartOff,
    /// Schedules and alerts are left behind.
    SchedulesLeft { count: usize },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FreshTpm { path } => {
                write!(
                    f,
                    "{path}: THE COPY STARTS WITH AN EMPTY TPM: what is sealed in the old one (BitLocker, LUKS) does not open; have the recovery keys at hand"
                )
            }
            Self::SameTpm { path } => {
                write!(
                    f,
                    "{path}: both machines have the same TPM identity (endorsement key), and what one has sealed opens in the other"
                )
            }
            Self::MacShared { path, mac, network } => write!(f, "{path}: both machines have {mac} on {network}"),
            Self::FilteredAddress { path, address } => write!(f, "{path}: the filter lets only {address} through"),
            Self::DiskSerial { path } => {
                write!(f, "{path}: new serial number; what the guest mounts by the old one is not found")
            }
            Self::Ejected { path, medium } => write!(f, "{path}: the target has not {medium}; ejected"),
            Self::HostDeviceDropped { path, device } => write!(f, "{path}: taken out ({device})"),
            Self::Detached { path, end } => write!(f, "{path}: no longer connected to {end}"),
            Self::PasswordDropped { path } => write!(f, "{path}: without a password until one is set"),
            Self::ListenDropped { path, address } => {
                write!(f, "{path}: the target has not {address}; listens where libvirt does by default")
            }
            Self::HostPort { path, port } => write!(f, "{path}: only one machine of a host can have port {port}"),
            Self::HostPath { path, host_path } => write!(f, "{path}: the copy uses {host_path} too"),
            Self::FileMissing { path, host_path } => write!(f, "{path}: the target has not {host_path}"),
            Self::SecretMissing { path, secret } => write!(f, "{path}: the target has not the secret {secret}"),
            Self::HostCpu { path } => write!(f, "{path}: the guest sees the target's CPU, which may be another one"),
            Self::Unchecked { path } => write!(f, "{path}: not checked, as nothing is known of the target"),
            Self::RawArguments { path } => {
                write!(f, "{path}: passed on as they are; they may name what the original uses")
            }
            Self::SealedToHost { path } => {
                write!(f, "{path}: made for one host; the guest's owner has to make it anew")
            }
            Self::GenidAtPromotion => f.write_str("genid: has to change when the replica is promoted"),
            Self::SnapshotsLeft { snapshots, checkpoints, internal } => {
                write!(
                    f,
                    "snapshots are left behind: {snapshots}, checkpoints: {checkpoints}, inside images: {internal}"
                )
            }
            Self::AutostartOff => f.write_str("the copy does not start with its host"),
            Self::SchedulesLeft { count } => write!(f, "schedules and alerts are left behind: {count}"),
        }
    }
}
