//! Volumes that come and go with what is in them.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Blocks, Bytes, DiskPath, Error, ErrorKind, Holes, Progress, Resource, Result, VolumeInfo};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{document, to_json, unless_gone};
use crate::spec::VolumeRef;
use crate::volume::pump::Way;
use crate::volume::{ImageCheck, Sharing, Uses, Verify, content, local, resource};

/// How long a host may take to let go of a volume whose transfer has ended, and how often it is asked.
const LET_GO: (Duration, Duration) = (Duration::from_secs(20), Duration::from_millis(200));

/// Makes a volume that the next step fills.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReserveVolume {
    pub(crate) volume: VolumeRef,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    pub(crate) document: String,
}

impl ReserveVolume {
    pub(crate) const NAME: &'static str = "reserve-volume";
}

#[async_trait]
impl Step for ReserveVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("create volume {}, {}", self.volume, self.size)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if find(cx, &self.volume).await?.is_some() { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        cx.host.storage.create_volume(&self.volume.pool, &document(&self.document)?).await.map(drop)
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        delete_unless_used(&self.volume, cx).await
    }
}

/// Sends a file into a volume that holds nothing yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UploadVolume {
    pub(crate) volume: VolumeRef,
    pub(crate) file: PathBuf,
    #[serde(rename = "length_bytes")]
    pub(crate) length: Bytes,
    /// When the file had been changed last, in nanoseconds since 1970; 0 for a device.
    #[serde(rename = "modified_nanoseconds")]
    pub(crate) modified: i128,
    pub(crate) holes: Holes,
    pub(crate) verify: Verify,
}

impl UploadVolume {
    pub(crate) const NAME: &'static str = "upload-volume";

    /// What the plan was made for is what is sent, also when it is sent again after a crash.
    async fn check_source(&self) -> Result<()> {
        let now = local::look(&self.file, ImageCheck::None).await?;
        if (now.length, now.modified) == (self.length, self.modified) {
            return Ok(());
        }
        let shown = self.file.display().to_string();
        Err(Error::new(ErrorKind::Corrupt, format!("{shown} has changed since the plan was made"))
            .on(Resource::File(shown))
            .with_detail("plan the upload again"))
    }
}

#[async_trait]
impl Step for UploadVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("upload {} into volume {}, {}", self.file.display(), self.volume, self.length)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    /// Nobody sees from outside whether a volume holds all of a file: an upload that was interrupted is done again.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        self.check_source().await?;
        let Self { volume, file, holes, verify, .. } = self;
        Way { volume, file, holes: *holes, verify: *verify }.upload(self.length, cx).await?;
        self.check_source().await?;
        // Only now the pool can see what it is. One that is busy looks by itself when it is no longer.
        if let Err(e) = cx.host.storage.refresh_pool(&volume.pool).await {
            let message = format!("pool {} has not looked at {volume} yet: {e}", volume.pool);
            cx.reporter.report(&Progress::Warning { message });
        }
        Ok(())
    }

    /// What was sent goes with the volume.
    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Ok(())
    }
}

/// Deletes a volume that another one replaces.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MakeRoom {
    pub(crate) volume: VolumeRef,
    /// `None` of one that is reached over the network.
    pub(crate) path: Option<DiskPath>,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
}

impl MakeRoom {
    pub(crate) const NAME: &'static str = "make-room";
}

#[async_trait]
impl Step for MakeRoom {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("delete volume {}", self.volume)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if find(cx, &self.volume).await?.is_some() { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let Some(old) = find(cx, &self.volume).await? else { return Ok(()) };
        if old.capacity != self.size || old.path != self.path {
            let message = format!("volume {} is another one than in the plan", self.volume);
            return Err(Error::new(ErrorKind::InvalidState, message).on(resource(&self.volume)));
        }
        Uses::read(cx.host, &old).await?.refuse_change(&self.volume, "replace")?;
        unless_gone(cx.host.storage.delete_volume(&self.volume.pool, &self.volume.volume).await)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a deleted volume cannot be brought back"))
    }
}

/// Fetches a volume into a file that has not got its name yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DownloadVolume {
    pub(crate) volume: VolumeRef,
    pub(crate) partial: PathBuf,
    /// What it is called in the end.
    pub(crate) file: PathBuf,
    pub(crate) holes: Holes,
    pub(crate) verify: Verify,
}

impl DownloadVolume {
    pub(crate) const NAME: &'static str = "download-volume";
}

#[async_trait]
impl Step for DownloadVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("download volume {} into {}", self.volume, self.file.display())
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    /// Nobody sees whether a file holds all of a volume: a download that was interrupted is done again.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let Self { volume, partial, holes, verify, .. } = self;
        Way { volume, file: partial, holes: *holes, verify: *verify }.download(cx).await
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        local::forget(&self.partial).await
    }
}

/// Gives a file that is complete its name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishFile {
    pub(crate) partial: PathBuf,
    pub(crate) file: PathBuf,
    /// Whether an earlier file of this name gives way.
    pub(crate) replace: bool,
}

impl PublishFile {
    pub(crate) const NAME: &'static str = "publish-file";
}

#[async_trait]
impl Step for PublishFile {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("finish {}", self.file.display())
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        let done = !local::exists(&self.partial).await? && local::exists(&self.file).await?;
        Ok(if done { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, _: &StepContext<'_>) -> Result<()> {
        local::publish(&self.partial, &self.file, self.replace).await
    }

    /// Only where there was no file before.
    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        match local::exists(&self.partial).await? {
            // It has not got that name.
            true => Ok(()),
            false => local::forget(&self.file).await,
        }
    }
}

/// Makes a volume with what another one holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyVolume {
    pub(crate) from: VolumeRef,
    pub(crate) volume: VolumeRef,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    pub(crate) document: String,
    pub(crate) sharing: Sharing,
}

impl CopyVolume {
    pub(crate) const NAME: &'static str = "copy-volume";

    async fn copy(&self, blocks: Blocks, cx: &StepContext<'_>) -> Result<()> {
        let from = (&self.from.pool, &self.from.volume);
        let document = document(&self.document)?;
        content(cx.host)?.copy(from, &self.volume.pool, &document, blocks).await.map(drop)
    }
}

#[async_trait]
impl Step for CopyVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("copy volume {} to {}, {}", self.from, self.volume, self.size)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    /// A host makes a copy in one piece, and removes what is there of one that it cannot finish.
    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if find(cx, &self.volume).await?.is_some() { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        match self.sharing {
            Sharing::Always => self.copy(Blocks::Shared, cx).await,
            Sharing::Never => self.copy(Blocks::Own, cx).await,
            Sharing::Auto => match self.copy(Blocks::Shared, cx).await {
                Err(e) if e.kind() == ErrorKind::Unsupported => self.copy(Blocks::Own, cx).await,
                copied => copied,
            },
        }
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        delete_unless_used(&self.volume, cx).await
    }
}

async fn find(cx: &StepContext<'_>, at: &VolumeRef) -> Result<Option<VolumeInfo>> {
    match cx.host.storage.find_volume(&at.pool, &at.volume).await {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Takes a volume back that this operation made. By then somebody may have put it to use: then it stays, and the error
/// says so.
async fn delete_unless_used(at: &VolumeRef, cx: &StepContext<'_>) -> Result<()> {
    let Some(volume) = find(cx, at).await? else { return Ok(()) };
    if let Some(why) = Uses::read(cx.host, &volume).await?.users.describe() {
        let message = format!("volume {at} stays: it is {why}");
        return Err(Error::new(ErrorKind::InvalidState, message).on(resource(at)));
    }
    let mut left = LET_GO.0;
    loop {
        match unless_gone(cx.host.storage.delete_volume(&at.pool, &at.volume).await) {
            // The host has not heard yet that nobody sends any more.
            Err(e) if e.kind() == ErrorKind::Busy && !left.is_zero() => {
                cx.clock.sleep(LET_GO.1).await;
                left = left.saturating_sub(LET_GO.1);
            }
            deleted => return deleted,
        }
    }
}
