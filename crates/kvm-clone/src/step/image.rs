//! The content of an image.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Probe, Step, StepContext};
use kvm_core::{Blocks, Bytes, Error, ErrorKind, Host, Progress, Result, VolumeName};
use kvm_vm::{VolumeRef, copy_content};
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeFormat, VolumeTarget};
use kvm_xml::{Document as _, StorageVolume};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ends, to_json, unless_gone};

/// Fills a volume with what an image of the source holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyImage {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) from: VolumeRef,
    pub(crate) to: VolumeRef,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    pub(crate) format: String,
    /// Whether other images lie below it: then it is made whole first, beside itself.
    pub(crate) is_overlay: bool,
    /// The document of the volume that takes it.
    pub(crate) document: String,
}

impl CopyImage {
    pub(crate) const NAME: &'static str = "copy-image";

    /// What an overlay is called once it is whole, on the source, until it has arrived.
    fn whole(&self) -> Result<VolumeRef> {
        let volume = VolumeName::parse(&format!("{}.kvm-manager-whole", self.to.volume.as_str()))?;
        Ok(VolumeRef { pool: self.from.pool.clone(), volume })
    }

    async fn copy(&self, from: &VolumeRef, source: &Host, target: &Host, cx: &StepContext<'_>) -> Result<()> {
        copy_content((source, from), (target, &self.to), cx).await
    }

    /// Makes the overlay whole and copies that.
    async fn flatten(&self, source: &Host, target: &Host, cx: &StepContext<'_>) -> Result<()> {
        let whole = self.whole()?;
        let content = source.storage.content().ok_or_else(unreachable)?;
        let format = self.format.parse().map_err(|_| {
            Error::new(ErrorKind::Unsupported, format!("overlays of format {} are not made whole", self.format))
        })?;
        let document = StorageVolume {
            name: Some(whole.volume.as_str().to_owned()),
            capacity: Some(Size::from_bytes(self.size.get())),
            allocation: Some(Size::from_bytes(0)),
            target: Some(VolumeTarget {
                format: Some(VolumeFormat { r#type: Some(format), ..VolumeFormat::default() }),
                ..VolumeTarget::default()
            }),
            ..StorageVolume::default()
        };
        let from = (&self.from.pool, &self.from.volume);
        content.copy(from, &whole.pool, &document, Blocks::Own).await?;
        let copied = self.copy(&whole, source, target, cx).await;
        let removed = self.forget_whole(source).await;
        copied.and(removed)
    }

    /// Its name is one that only this step gives.
    async fn forget_whole(&self, source: &Host) -> Result<()> {
        if !self.is_overlay {
            return Ok(());
        }
        let whole = self.whole()?;
        unless_gone(source.storage.delete_volume(&whole.pool, &whole.volume).await)
    }
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
            self.forget_whole(&source).await?;
            unless_gone(target.storage.delete_volume(&self.to.pool, &self.to.volume).await)?;
            let document = StorageVolume::from_xml(&self.document)
                .map_err(|e| Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e))?;
            target.storage.create_volume(&self.to.pool, &document).await?;
        }
        match self.is_overlay {
            true => self.flatten(&source, &target, cx).await?,
            false => self.copy(&self.from, &source, &target, cx).await?,
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
        if !self.is_overlay {
            return Ok(());
        }
        self.forget_whole(&cx.peer(&self.ends.source).await?).await
    }
}

fn unreachable() -> Error {
    Error::new(ErrorKind::Unsupported, "this host cannot reach into its volumes")
}
