//! An image that goes from helper to helper.

use std::num::NonZeroU8;

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Host, Result};
use kvm_vm::{VolumeRef, reserve_volume};
use kvm_xml::StorageVolume;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::whole::{Whole, has_volume};
use super::{Ends, to_json, unless_gone};
use crate::parallel::Parallel;
use crate::spec::Compress;
use crate::tally::{Moved, TallyOf};
use crate::transfer::{ImageTransfer, Reach, Reached, Transferred, Watch};

/// What an image is called for as long as it is not whole; the helper's own.
const PARTIAL: &str = ".partial";

/// Copies an image beside its place, verifies it, and gives it its name: once that is there, it is whole.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransferImage {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) from: VolumeRef,
    pub(crate) path: DiskPath,
    #[serde(default)]
    pub(crate) is_qcow2: bool,
    pub(crate) to: VolumeRef,
    pub(crate) to_path: DiskPath,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    /// Where other images lie below it: what is made of them first.
    pub(crate) whole: Option<Whole>,
    /// Most bytes per second.
    #[serde(rename = "limit_bytes_per_second")]
    pub(crate) limit: Option<Bytes>,
    pub(crate) is_compressed: bool,
    /// How many images are under way at a time, this one included.
    #[serde(default)]
    pub(crate) at_once: Parallel,
    /// How far it has come in this process.
    #[serde(skip)]
    pub(crate) reach: Reach,
    /// Hears what was sent.
    #[serde(skip)]
    pub(crate) tally: TallyOf,
}

impl TransferImage {
    pub(crate) const NAME: &'static str = "transfer-image";

    /// Whether the copy has its name.
    async fn is_there(&self, target: &Host) -> Result<bool> {
        target.storage.refresh_pool(&self.to.pool).await?;
        has_volume(target, &self.to).await
    }

    async fn transfer(&self, path: &DiskPath, cx: &StepContext<'_>) -> Result<()> {
        let (source, target) = self.ends.open(cx).await?;
        let transfer = ImageTransfer {
            source: &*source.transport,
            from: path,
            is_qcow2: self.is_qcow2,
            target: &*target.transport,
            to: &self.to_path,
            limit: self.limit,
            compression: if self.is_compressed { Compress::Auto } else { Compress::Never },
            resume: cx.attempt == Attempt::Again,
        };
        let title = format!("copy {}", self.from);
        let watch = Watch { reporter: cx.reporter, title: &title, clock: cx.clock, cancel: cx.cancel, pace: cx.pace };
        let Transferred { length, data, wire, .. } = transfer.run_noting(watch, &self.reach).await?;
        self.tally.add(Moved { length, changed: data, sent: wire, is_new: true, is_whole: true, ..Moved::default() });
        Ok(())
    }
}

#[async_trait]
impl Step for TransferImage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("copy volume {} from {} to {}, {}", self.from, self.ends.source, self.to, self.size)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    fn at_once(&self) -> NonZeroU8 {
        self.at_once.get()
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_there = self.is_there(&cx.peer(&self.ends.target).await?).await?;
        let is_all = match &self.whole {
            Some(whole) if is_there => !whole.is_there(&cx.peer(&self.ends.source).await?).await?,
            _ => is_there,
        };
        Ok(if is_all { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if cx.attempt == Attempt::Again && self.is_there(&cx.peer(&self.ends.target).await?).await? {
            // It got its name when it was whole; what it was made of had still to go.
            if let Some(whole) = &self.whole {
                whole.forget(&cx.peer(&self.ends.source).await?).await?;
            }
            return Ok(());
        }
        match &self.whole {
            Some(whole) => {
                let source = cx.peer(&self.ends.source).await?;
                let made = whole.make(&source).await?;
                let copied = match made.host_path() {
                    Ok(path) => self.transfer(path, cx).await,
                    Err(e) => Err(e),
                };
                copied.and(whole.forget(&source).await)?;
            }
            None => self.transfer(&self.path, cx).await?,
        }
        cx.peer(&self.ends.target).await?.storage.refresh_pool(&self.to.pool).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        if let Some(whole) = &self.whole {
            whole.forget(&cx.peer(&self.ends.source).await?).await?;
        }
        let reached = self.reach.get();
        if reached == Reached::Nothing {
            return Ok(());
        }
        let target = cx.peer(&self.ends.target).await?;
        let partial = format!("{}{PARTIAL}", self.to_path);
        unless_gone(target.transport.remove_file(partial.as_ref()).await)?;
        target.storage.refresh_pool(&self.to.pool).await?;
        if reached == Reached::Partial {
            return Ok(());
        }
        // As for any volume that an operation made: it stays where it is in use by now.
        let made = reserve_volume(self.to.clone(), self.size, &StorageVolume::default());
        made.undo(&StepContext { host: &target, ..*cx }).await
    }
}
