//! Block jobs: what a running machine does to the images of a disk while its guest goes on.

use std::fmt;

use async_trait::async_trait;
use kvm_xml::domain::Disk;
use kvm_xml::value::DiskName;
use serde::{Deserialize, Serialize};

use crate::{Bandwidth, Bytes, DiskPath, Result, VmId};

/// Jobs on disks of running machines; a disk has one at a time.
///
/// Every method gives `InvalidState` when the machine is off, and `NotFound` when there is no such machine or disk. Those
/// that begin a job resolve when it has begun, and give `Busy` while another job of the disk is under way. A job ends with
/// its machine: whatever it had copied by then is of no use.
#[async_trait]
pub trait BlockJobs: fmt::Debug + Send + Sync {
    /// Says what is under way on a disk; `None` when nothing is.
    async fn job(&self, vm: &VmId, disk: &DiskName) -> Result<Option<BlockJob>>;

    /// Begins to write what the images above `base` hold into it. When that is ready, [`pivot`](Self::pivot) makes the
    /// machine go on in `base`; what was above belongs to nobody then.
    ///
    /// `InvalidInput` when `base` is not below the disk's image.
    async fn commit(&self, vm: &VmId, disk: &DiskName, base: &DiskPath, speed: Bandwidth) -> Result<()>;

    /// Begins to copy into the disk's image what it takes from those below, down to `base`, or all without one. It ends by
    /// itself; the image then lies upon `base`, or upon nothing.
    ///
    /// `InvalidInput` when `base` is not below the disk's image.
    async fn pull(&self, vm: &VmId, disk: &DiskName, base: Option<&DiskPath>, speed: Bandwidth) -> Result<()>;

    /// Begins to copy all that the guest sees into an image that is there, is as large as the disk, and holds nothing yet.
    /// What the guest writes meanwhile goes into both. When the copy is ready, [`pivot`](Self::pivot) makes the machine go
    /// on in it.
    ///
    /// Of the document, source and format count. `InvalidInput` when it names no image, `InvalidState` when the image is
    /// not there.
    async fn copy(&self, vm: &VmId, disk: &DiskName, to: &Disk, speed: Bandwidth) -> Result<()>;

    /// Ends a job that is ready: from now on the machine writes to the copy, or to the image that was committed into.
    /// `InvalidState` when nothing is under way, or it is not ready.
    async fn pivot(&self, vm: &VmId, disk: &DiskName) -> Result<()>;

    /// Ends a job: the machine stays in the images that it has. `InvalidState` when nothing is under way.
    async fn abort(&self, vm: &VmId, disk: &DiskName) -> Result<()>;
}

/// A job on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockJob {
    /// What it does.
    pub kind: BlockJobKind,
    /// How much of its work is done.
    #[serde(rename = "done_bytes")]
    pub done: Bytes,
    /// How much work there is, as far as is known now: a guest that writes makes it more.
    #[serde(rename = "total_bytes")]
    pub total: Bytes,
    /// Whether it only keeps up with the guest, and waits for [`pivot`](BlockJobs::pivot) or
    /// [`abort`](BlockJobs::abort).
    pub ready: bool,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BlockJobKind {
    /// [`BlockJobs::commit`].
    Commit,
    /// [`BlockJobs::pull`].
    Pull,
    /// [`BlockJobs::copy`].
    Copy,
    /// Something else, such as a backup.
    Other,
}

impl BlockJobKind {
    /// The word in messages and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Pull => "pull",
            Self::Copy => "copy",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for BlockJobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
