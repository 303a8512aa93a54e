//! The firmware's variables.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Resource, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ends, to_json, unless_gone};
use crate::survey::has;

/// No firmware has more of them.
const MOST: Bytes = Bytes::from_mib(64);
/// As libvirt makes such files; it gives them to whom it wants when the machine starts.
const MODE: u32 = 0o600;

/// Copies the file of UEFI variables.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyVariables {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) from: DiskPath,
    pub(crate) to: DiskPath,
}

impl CopyVariables {
    pub(crate) const NAME: &'static str = "copy-variables";
}

#[async_trait]
impl Step for CopyVariables {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("copy {} from {} to {}", self.from, self.ends.source, self.to)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_there = has(&cx.peer(&self.ends.target).await?, self.to.as_str()).await?;
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (source, target) = self.ends.open(cx).await?;
        let sent = source.transport.read_file(self.from.as_path(), MOST).await?;
        target.transport.write_file(self.to.as_path(), &sent, MODE).await?;
        if target.transport.read_file(self.to.as_path(), MOST).await? == sent {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, format!("{} and {} differ after the copy", self.from, self.to))
            .on(Resource::File(self.to.as_str().to_owned())))
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.ends.target).await?;
        unless_gone(target.transport.remove_file(self.to.as_path()).await)
    }
}
