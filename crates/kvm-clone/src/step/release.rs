//! The end of a moment that was held still.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Host, Remove, Result, SnapshotInfo, SnapshotName, Snapshots, VmId, VmName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ends, to_json, unless_gone};

/// Merges the snapshot that held a moment of the original.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReleaseMoment {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) snapshot: SnapshotName,
    /// What was said of it when it was made: the next one has the same name. Older journals do not say, nor do they need to.
    #[serde(default)]
    pub(crate) description: Option<String>,
}

impl ReleaseMoment {
    pub(crate) const NAME: &'static str = "release-moment";

    /// Whether it is there, and still this one.
    async fn is_there(&self, source: &Host) -> Result<bool> {
        let is_ours = |snapshot: &SnapshotInfo| {
            snapshot.name == self.snapshot && (self.description.is_none() || snapshot.description == self.description)
        };
        Ok(snapshots(source)?.list(&self.id).await?.iter().any(is_ours))
    }
}

#[async_trait]
impl Step for ReleaseMoment {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("merge snapshot {} of {} on {}", self.snapshot, self.name, self.ends.source)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let source = cx.peer(&self.ends.source).await?;
        Ok(if self.is_there(&source).await? { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let source = cx.peer(&self.ends.source).await?;
        if !self.is_there(&source).await? {
            return Ok(());
        }
        unless_gone(snapshots(&source)?.delete(&self.id, &self.snapshot, Remove::Everything).await)
    }

    /// Before the operation there was none.
    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Ok(())
    }
}

fn snapshots(host: &Host) -> Result<&dyn Snapshots> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host takes no snapshots");
    host.hypervisor.snapshots().ok_or_else(missing)
}
