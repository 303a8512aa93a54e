//! The end of a moment that was held still.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Host, Remove, Result, SnapshotName, Snapshots, VmId, VmName};
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
}

impl ReleaseMoment {
    pub(crate) const NAME: &'static str = "release-moment";
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
        let all = snapshots(&source)?.list(&self.id).await?;
        let is_there = all.iter().any(|snapshot| snapshot.name == self.snapshot);
        Ok(if is_there { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let source = cx.peer(&self.ends.source).await?;
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
