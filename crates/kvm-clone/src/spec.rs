//! What a copy is to be like.

use std::str::FromStr;

use jiff::Timestamp;
use kvm_core::{Bandwidth, Error, PoolName, Result, VmName};
use kvm_vm::Start;
use kvm_xml::rewrite::{Policy, policy};

use crate::parallel::Parallel;
use crate::replace::Replace;

/// A clone that is wanted; the default is another machine that is off, with a name, a uuid and addresses of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneSpec {
    /// Its name; `web` gives `web-clone` if left out, and a number where that is taken.
    pub name: Option<VmName>,
    /// Where its images go; if left out, to the pool that has the same directory as the original's, else the host's
    /// default.
    pub pool: Option<PoolName>,
    /// What the target calls the original's networks and bridges, where that differs.
    pub uplinks: Vec<UplinkMap>,
    /// Whether the addresses of network devices stay. Two machines with one address on one network hear each other's.
    pub preserve_mac: bool,
    /// Whether devices of the source's hardware are left out; else a machine that has some is refused.
    pub drop_hostdev: bool,
    /// Whether the passwords of screens go along.
    pub keep_passwords: bool,
    /// What the clone has of an emulated TPM.
    pub tpm: TpmState,
    /// What happens to a machine that runs.
    pub running: WhileRunning,
    /// Most bytes per second over all images.
    pub limit: Bandwidth,
    /// Whether what is under way is compressed where that helps.
    pub compression: Compress,
    /// How many images are sent at a time, where helpers carry them.
    pub parallel: Parallel,
    /// Whether the clone is started at once.
    pub start: Start,
    /// What becomes of a machine that has the name already, which has to be given then; without it the name must be free.
    pub replace: Option<Replace>,
}

impl Default for CloneSpec {
    fn default() -> Self {
        Self {
            name: None,
            pool: None,
            uplinks: Vec::new(),
            preserve_mac: false,
            drop_hostdev: false,
            keep_passwords: false,
            tpm: TpmState::Fresh,
            running: WhileRunning::Snapshot,
            limit: Bandwidth::UNLIMITED,
            compression: Compress::Auto,
            parallel: Parallel::default(),
            start: Start::No,
            replace: None,
        }
    }
}

impl CloneSpec {
    /// What happens to each part of the machine's document.
    pub(crate) fn policy(&self) -> Policy {
        let mac = if self.preserve_mac { policy::Mac::Keep } else { policy::Mac::New };
        let hostdev = if self.drop_hostdev { policy::HostDevices::Drop } else { policy::HostDevices::Map };
        let password = if self.keep_passwords { policy::Password::Keep } else { policy::Password::Drop };
        let name = if self.replace.is_some() { policy::Name::Replace } else { policy::Name::New };
        let tpm = match self.tpm {
            TpmState::Fresh => policy::Tpm::Fresh,
            TpmState::Copy => policy::Tpm::Copy,
        };
        Policy { name, mac, hostdev, password, tpm, ..Policy::CLONE }
    }
}

/// A replica that is wanted, or is to be brought up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSpec {
    /// The time of asking: the replica has all that its source had until then.
    pub at: Timestamp,
    /// Its name on its host; that of its source if left out. A replica that exists keeps the one that it has.
    pub target_name: Option<VmName>,
    /// Where new images go; as for a clone.
    pub pool: Option<PoolName>,
    /// What the target calls the source's networks and bridges, where that differs.
    pub uplinks: Vec<UplinkMap>,
    /// What happens to a source that runs.
    pub running: WhileRunning,
    /// Most bytes per second.
    pub limit: Bandwidth,
    /// Whether what is under way is compressed where that helps.
    pub compression: Compress,
    /// How many images are sent at a time, where helpers carry them.
    pub parallel: Parallel,
    /// Whether the source's images are to remember what is written from now on, so that the next copy need not read them
    /// in full.
    pub track: Track,
    /// Whether the machine on the target, which was the source until this one was promoted, becomes its replica. What it
    /// has that this one has not is lost.
    pub invert: bool,
}

impl SyncSpec {
    /// The default, asked for at this time.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        let CloneSpec { pool, uplinks, running, limit, compression, parallel, .. } = CloneSpec::default();
        let (target_name, track, invert) = (None, Track::No, false);
        Self { at, target_name, pool, uplinks, running, limit, compression, parallel, track, invert }
    }

    /// What of it is as for a clone.
    pub(crate) fn as_clone(&self, name: Option<VmName>) -> CloneSpec {
        CloneSpec {
            name,
            pool: self.pool.clone(),
            uplinks: self.uplinks.clone(),
            running: self.running,
            limit: self.limit,
            compression: self.compression,
            parallel: self.parallel,
            ..CloneSpec::default()
        }
    }
}

/// What a clone, or another machine out of a backup, has of the state of an emulated TPM: its keys, and what the guest has
/// sealed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpmState {
    /// Nothing: it starts with an empty TPM, which is another one.
    Fresh,
    /// All of it: both machines have one identity then. The original of a clone must be off, and the target must have the
    /// secret by which the state is encrypted, where it is.
    Copy,
}

/// Whether what is under way is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// Where a sample shows that it helps.
    Auto,
    /// Never.
    Never,
}

/// What happens to a machine that runs while it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhileRunning {
    /// It goes on in overlays, and what lay still meanwhile is copied: a moment of all its disks. Its guest agent, where
    /// it answers, brings the file systems in order for it; else the copy is as after a power cut.
    Snapshot,
    /// It is refused.
    Refuse,
}

/// Whether images remember what is written to them after a copy.
///
/// QEMU keeps a bitmap in each qcow2 image, as a checkpoint of libvirt; the next copy, wherever it goes, reads what the
/// bitmap marks and the image's tables. A machine that has checkpoints is not migrated, its snapshots are not
/// reverted to, and it takes no external one while it is off, before they are deleted. Where the bitmap is lost, as when QEMU was killed, all is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// As far as an earlier copy has asked for it.
    No,
    /// Yes, where the machine runs.
    Yes,
}

/// What the target calls a network or a bridge: `lan=default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkMap {
    /// What the original calls it.
    pub from: String,
    /// What it is there.
    pub to: String,
}

impl FromStr for UplinkMap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('=').filter(|(from, to)| !from.is_empty() && !to.is_empty());
        let Some((from, to)) = parts else {
            let shown = kvm_core::text::printable_within(text, 48);
            return Err(Error::invalid("network", format!("\"{shown}\" is no OLD=NEW")));
        };
        // Both are names of networks or of bridges; the stricter is asked of what is new.
        kvm_core::NetworkName::adopt(from)?;
        Ok(Self { from: from.to_owned(), to: kvm_core::NetworkName::parse(to)?.as_str().to_owned() })
    }
}
