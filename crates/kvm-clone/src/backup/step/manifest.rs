//! The manifest of a point.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Resource, Result};
use kvm_wire::Keep;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::At;
use crate::backup::manifest::{MANIFEST, Manifest, StoredFile, StoredFormat};
use crate::step::to_json;
use crate::transfer::Session;

/// Writes what the files of a point are: those that are there, not those that were sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WriteManifest {
    #[serde(flatten)]
    pub(crate) at: At,
    /// With sizes and digests that are not known yet.
    pub(crate) draft: Manifest,
}

impl WriteManifest {
    pub(crate) const NAME: &'static str = "write-manifest";

    /// The helper remembers what it has read back before it gave a file its name.
    async fn look(&self, session: &mut Session, file: &mut StoredFile) -> Result<()> {
        (file.digest, file.size) = session.digest(&self.at.begun(&file.file), Keep::Remember, None).await?;
        Ok(())
    }
}

#[async_trait]
impl Step for WriteManifest {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        "write the manifest".to_owned()
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let mut session = self.at.open(cx).await?;
        let is_there =
            session.stat(&self.at.begun(MANIFEST)).await?.is_some() || self.at.is_whole(&mut session).await?;
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if cx.attempt == Attempt::Again {
            self.undo(cx).await?;
        }
        let mut session = self.at.open(cx).await?;
        let mut manifest = self.draft.clone();
        self.look(&mut session, &mut manifest.document).await?;
        for file in [&mut manifest.nvram, &mut manifest.tpm].into_iter().flatten() {
            self.look(&mut session, file).await?;
        }
        for disk in &mut manifest.disks {
            self.look(&mut session, &mut disk.stored).await?;
            let stat = session.stat(&self.at.begun(&disk.stored.file)).await?;
            let gone = || Error::new(ErrorKind::NotFound, "the image is gone");
            disk.allocated = stat.ok_or_else(gone)?.allocated;
            if disk.format == StoredFormat::Raw {
                disk.virtual_size = disk.stored.size;
            }
        }
        let json = manifest.to_json()?;
        // What nobody could read again is no backup.
        if Manifest::parse(&json)? != manifest {
            return Err(Error::internal("the manifest reads as something else than was written")
                .on(Resource::File(MANIFEST.to_owned())));
        }
        session.write(&self.at.begun(MANIFEST), json.as_bytes()).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.at.forget(cx, MANIFEST).await
    }
}
