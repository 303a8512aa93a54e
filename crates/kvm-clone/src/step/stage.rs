//! What changed of an image, brought beside its replica, and applied there.

use std::num::NonZeroU8;

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Peer, Probe, Step, StepContext};
use kvm_core::{
    Bytes, DiskPath, Error, ErrorKind, Host, Progress, ReplicaState, Replication, Resource, Result, VmId, VmRef,
};
use kvm_vm::VolumeRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::whole::Whole;
use super::{Ends, record, to_json, unless_gone};
use crate::parallel::Parallel;
use crate::spec::Compress;
use crate::tally::{Moved, TallyOf};
use crate::transfer::{Changed, ImageUpdate, Watch, recover, root, staged};

/// What an image's changes are called for as long as they wait beside it; the helper's own.
pub(crate) const WAITING: &str = ".sync";

/// Sends what changed of an image; it waits beside the replica's, which is not touched.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StageImage {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) from: VolumeRef,
    pub(crate) path: DiskPath,
    #[serde(default)]
    pub(crate) is_qcow2: bool,
    /// The replica's image.
    pub(crate) to: DiskPath,
    /// Where other images lie below it: what is made of them first.
    pub(crate) whole: Option<Whole>,
    /// What the replica's image was after the last sync.
    pub(crate) root: Option<String>,
    #[serde(rename = "limit_bytes_per_second")]
    pub(crate) limit: Option<Bytes>,
    pub(crate) is_compressed: bool,
    /// How many images are under way at a time, this one included.
    #[serde(default)]
    pub(crate) at_once: Parallel,
    /// Hears what was sent.
    #[serde(skip)]
    pub(crate) tally: TallyOf,
}

impl StageImage {
    pub(crate) const NAME: &'static str = "stage-image";

    async fn send(&self, path: &DiskPath, cx: &StepContext<'_>) -> Result<()> {
        let (source, target) = self.ends.open(cx).await?;
        let resume = cx.attempt == Attempt::Again;
        if !resume {
            // Of another sync, of which nothing is known.
            forget_waiting(&target, &self.to).await?;
        }
        let update = ImageUpdate {
            source: &*source.transport,
            from: path,
            is_qcow2: self.is_qcow2,
            target: &*target.transport,
            to: &self.to,
            limit: self.limit,
            compression: if self.is_compressed { Compress::Auto } else { Compress::Never },
            resume,
        };
        let title = format!("sync {}", self.from);
        let watch = Watch { reporter: cx.reporter, title: &title, clock: cx.clock, cancel: cx.cancel, pace: cx.pace };
        let Changed { length, changed, wire, there, was_read, spared } = update.stage(watch).await?;
        let was_written = match (&self.root, there) {
            (Some(then), Some(now)) => *then != now.to_string(),
            _ => false,
        };
        if was_written {
            let message = format!("{} was written to since the last sync; that is overwritten", self.to);
            cx.reporter.report(&Progress::Warning { message });
        }
        self.tally.add(Moved {
            length,
            changed,
            sent: wire,
            is_new: false,
            is_whole: false,
            was_written,
            was_read,
            spared,
        });
        Ok(())
    }
}

#[async_trait]
impl Step for StageImage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("send what changed of {} from {} to {}", self.from, self.ends.source, self.ends.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    fn at_once(&self) -> NonZeroU8 {
        self.at_once.get()
    }

    /// What waits there may be of another moment.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let Some(whole) = &self.whole else { return self.send(&self.path, cx).await };
        let source = cx.peer(&self.ends.source).await?;
        let made = whole.make(&source).await?;
        let sent = match made.host_path() {
            Ok(path) => self.send(path, cx).await,
            Err(e) => Err(e),
        };
        sent.and(whole.forget(&source).await)
    }

    /// Nothing was applied yet.
    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        if let Some(whole) = &self.whole {
            whole.forget(&cx.peer(&self.ends.source).await?).await?;
        }
        forget_waiting(&cx.peer(&self.ends.target).await?, &self.to).await
    }
}

/// Removes changes of an image that wait beside it and of which none is applied.
pub(crate) async fn forget_waiting(target: &Host, image: &DiskPath) -> Result<()> {
    unless_gone(target.transport.remove_file(format!("{image}{WAITING}").as_ref()).await)
}

/// Notes on a replica that a sync is sent to it, or that it is tried, so that no sync comes at the same time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClaimReplica {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    /// What is noted before.
    pub(crate) before: Option<Replication>,
    /// What is noted for as long as it is sent.
    pub(crate) claimed: Replication,
}

impl ClaimReplica {
    pub(crate) const NAME: &'static str = "claim-replica";
}

#[async_trait]
impl Step for ClaimReplica {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        match &self.claimed {
            Replication::Replica(replica) if replica.state == ReplicaState::Proving => {
                format!("note on {} that the replica is tried", self.target)
            }
            _ => format!("note on {} that a sync comes", self.target),
        }
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let now = record::read(&cx.peer(&self.target).await?, &self.id).await?;
        Ok(if now.as_ref() == Some(&self.claimed) { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        record::check_unchanged(&target, &self.id, self.before.as_ref()).await?;
        record::write(&target, &self.id, Some(self.claimed.clone())).await
    }

    /// What somebody else has noted since is theirs.
    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        match record::read(&target, &self.id).await?.as_ref() == Some(&self.claimed) {
            true => record::write(&target, &self.id, self.before.clone()).await,
            false => Ok(()),
        }
    }
}

/// Notes on the replica that all has arrived and what its images will be: from here on the sync only goes forward.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BeginApplying {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    /// What is noted before.
    pub(crate) before: Option<Replication>,
    /// What it will be.
    pub(crate) after: kvm_core::Replica,
    /// The disks of which changes wait.
    pub(crate) staged: Vec<String>,
}

impl BeginApplying {
    pub(crate) const NAME: &'static str = "begin-applying";
}

#[async_trait]
impl Step for BeginApplying {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("note on {} that all has arrived", self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        let is_noted = record::of_sync(&target, &self.id, self.after.sync).await?.is_some();
        Ok(if is_noted { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        record::check_unchanged(&target, &self.id, self.before.as_ref()).await?;
        let mut after = self.after.clone();
        after.state = ReplicaState::Applying;
        for image in &mut after.images {
            let digest = match self.staged.contains(&image.disk) {
                true => staged(&*target.transport, &image.path).await?.ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidState,
                        format!("what was sent for {} is not there any more", image.path),
                    )
                    .on(Resource::File(image.path.as_str().to_owned()))
                    .with_detail("another sync has taken its place; sync again")
                })?,
                false => root(&*target.transport, &image.path).await?,
            };
            image.root = Some(digest.to_string());
        }
        record::write(&target, &self.id, Some(Replication::Replica(after))).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        match record::of_sync(&target, &self.id, self.after.sync).await? {
            Some(_) => record::write(&target, &self.id, self.before.clone()).await,
            None => Ok(()),
        }
    }
}

/// Applies the changes that wait beside an image of a replica, on its host alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ApplyImage {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    pub(crate) sync: Uuid,
    pub(crate) disk: String,
    pub(crate) path: DiskPath,
}

impl ApplyImage {
    pub(crate) const NAME: &'static str = "apply-image";
}

#[async_trait]
impl Step for ApplyImage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("apply what changed to {} on {}", self.path, self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    /// Whether they wait is for `apply` to see, which does nothing where they do not.
    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        let replica = record::of_sync(&target, &self.id, self.sync).await?;
        Ok(match replica.is_some_and(|replica| replica.state == ReplicaState::Current) {
            true => Probe::Done,
            false => Probe::Pending,
        })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        let replica = record::of_sync(&target, &self.id, self.sync).await?;
        let image = replica.as_ref().and_then(|replica| replica.image(&self.disk)).ok_or_else(|| {
            Error::new(ErrorKind::InvalidState, "the replica was promoted or synced by somebody else meanwhile")
                .on(Resource::File(self.path.as_str().to_owned()))
        })?;
        apply_waiting(&target, (&self.id, &self.path), image.root.as_deref(), cx).await
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("what was applied to an image cannot be taken back"))
    }
}

/// Applies what waits beside an image of a machine, if anything does, and sees that the image is what it was to become.
pub(crate) async fn apply_waiting(
    target: &Host,
    (id, path): (&VmId, &DiskPath),
    expected: Option<&str>,
    cx: &StepContext<'_>,
) -> Result<()> {
    let title = format!("apply what changed to {path}");
    let watch = Watch { reporter: cx.reporter, title: &title, clock: cx.clock, cancel: cx.cancel, pace: cx.pace };
    // A machine that runs has its images for longer than anybody waits.
    let is_off = !target.hypervisor.find(&VmRef::Id(*id)).await?.state.is_active();
    let found = match recover(&*target.transport, path, is_off, watch).await? {
        Some(root) => root,
        None => root(&*target.transport, path).await?,
    };
    match expected.is_none_or(|expected| expected == found.to_string()) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Corrupt, format!("{path} is not what the sync was to make of it"))
            .on(Resource::File(path.as_str().to_owned()))
            .with_detail("somebody wrote to it meanwhile; sync again once its replica is off and left alone")),
    }
}
