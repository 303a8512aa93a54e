//! The content of an image, through libvirt.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Probe, Step, StepContext};
use kvm_core::{Bytes, Error, ErrorKind, Progress, Result};
use kvm_vm::{VolumeRef, copy_content};
use kvm_xml::{Document as _, StorageVolume};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::whole::Whole;
use super::{Ends, to_json, unless_gone};

/// Fills a volume with what an image of the source holds, piece by piece through this program and both hosts' libvirt:
/// the way where a host has no helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyImage {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) from: VolumeRef,
    pub(crate) to: VolumeRef,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    /// Where other images lie below it: what is made of them first.
    pub(crate) whole: Option<Whole>,
    /// The document of the volume that takes it.
    pub(crate) document: String,
}

impl CopyImage {
    pub(crate) const NAME: &'static str = "copy-image";
}

#[async_trait]
impl Step for CopyImage {
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
        Already::Fine
    }

    /// Nobody sees from outside whether a volume holds all of another: a copy that was interrupted is done again.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (source, target) = self.ends.open(cx).await?;
        if cx.attempt == Attempt::Again {
            // Holes are not written, so what is there of an earlier attempt must go.
            unless_gone(target.storage.delete_volume(&self.to.pool, &self.to.volume).await)?;
            let document = StorageVolume::from_xml(&self.document)
                .map_err(|e| Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e))?;
            target.storage.create_volume(&self.to.pool, &document).await?;
        }
        match &self.whole {
            Some(whole) => {
                whole.make(&source).await?;
                let copied = copy_content((&source, &whole.reference()), (&target, &self.to), cx).await;
                copied.and(whole.forget(&source).await)?;
            }
            None => copy_content((&source, &self.from), (&target, &self.to), cx).await?,
        }
        // Only now the pool can see what it is. One that is busy looks by itself when it is no longer.
        if let Err(e) = target.storage.refresh_pool(&self.to.pool).await {
            let message = format!("pool {} has not looked at {} yet: {e}", self.to.pool, self.to);
            cx.reporter.report(&Progress::Warning { message });
        }
        Ok(())
    }

    /// What was copied goes with the volume that it is in.
    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        match &self.whole {
            Some(whole) => whole.forget(&cx.peer(&self.ends.source).await?).await,
            None => Ok(()),
        }
    }
}
