//! What the images of a machine that runs remember of its writes, for the next copy.

use async_trait::async_trait;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{CheckpointSpec, ErrorKind, Remove, Result, SnapshotName, VmId, VmName};
use kvm_vm::checkpoints;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{to_json, unless_gone};

/// How the names of our checkpoints begin, and with that those of their bitmaps, which helpers trust. The rest is never
/// used again.
pub(crate) const TRACK: &str = "kvm-manager-track-";

/// Makes a checkpoint, so that the images remember what is written from now on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrackChanges {
    pub(crate) source: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) checkpoint: SnapshotName,
}

impl TrackChanges {
    pub(crate) const NAME: &'static str = "track-changes";
}

#[async_trait]
impl Step for TrackChanges {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("have {} on {} remember what is written", self.name, self.source)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let all = checkpoints(&cx.peer(&self.source).await?)?.list(&self.id).await?;
        let is_there = all.iter().any(|checkpoint| checkpoint.name == self.checkpoint);
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let source = cx.peer(&self.source).await?;
        checkpoints(&source)?.create(&self.id, &CheckpointSpec::new(self.checkpoint.clone())).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        forget(cx, &self.source, &self.id, &self.checkpoint).await
    }
}

/// Forgets the checkpoints of earlier copies: their images remember twice otherwise.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForgetTracks {
    pub(crate) source: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) old: Vec<SnapshotName>,
}

impl ForgetTracks {
    pub(crate) const NAME: &'static str = "forget-tracks";
}

#[async_trait]
impl Step for ForgetTracks {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("forget what {} on {} has remembered until now", self.name, self.source)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let all = checkpoints(&cx.peer(&self.source).await?)?.list(&self.id).await?;
        let is_there = all.iter().any(|checkpoint| self.old.contains(&checkpoint.name));
        Ok(if is_there { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        for checkpoint in &self.old {
            forget(cx, &self.source, &self.id, checkpoint).await?;
        }
        Ok(())
    }

    /// What they remembered is only for speed.
    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Ok(())
    }
}

/// Of a machine that was stopped meanwhile only the record can go; its bitmaps cost nothing but a little room.
async fn forget(cx: &StepContext<'_>, source: &Peer, id: &VmId, checkpoint: &SnapshotName) -> Result<()> {
    let source = cx.peer(source).await?;
    let all = checkpoints(&source)?;
    match all.delete(id, checkpoint, Remove::Everything).await {
        Err(e) if e.kind() == ErrorKind::InvalidState => unless_gone(all.delete(id, checkpoint, Remove::Record).await),
        deleted => unless_gone(deleted),
    }
}
