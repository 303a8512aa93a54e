//! The end of a point's life.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Result};
use kvm_wire::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::At;
use crate::backup::place::inside;
use crate::step::to_json;

/// Takes a point's name away: from then on it is there no more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HidePoint {
    #[serde(flatten)]
    pub(crate) at: At,
}

impl HidePoint {
    pub(crate) const NAME: &'static str = "hide-point";
}

#[async_trait]
impl Step for HidePoint {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("take backup {} out of the store", self.at.point)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let mut session = self.at.open(cx).await?;
        Ok(if self.at.is_whole(&mut session).await? { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let to = self.at.point.deleted().name;
        self.at.open(cx).await?.have(Request::Rename { file: self.at.point.whole(), to }).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let mut session = self.at.open(cx).await?;
        let file = self.at.point.deleted();
        if !self.at.has(&mut session, &file).await? {
            return Ok(());
        }
        session.have(Request::Rename { file, to: self.at.point.to_string() }).await
    }
}

/// Removes the files of a point that has no name any more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemovePoint {
    #[serde(flatten)]
    pub(crate) at: At,
    /// Everything that its manifest speaks of, the manifest, and the sums where there are some.
    pub(crate) files: Vec<String>,
}

impl RemovePoint {
    pub(crate) const NAME: &'static str = "remove-point";
}

#[async_trait]
impl Step for RemovePoint {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("remove the {} files of {}", self.files.len(), self.at.point)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let mut session = self.at.open(cx).await?;
        let is_there = self.at.has(&mut session, &self.at.point.deleted()).await?;
        Ok(if is_there { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let mut session = self.at.open(cx).await?;
        let directory = self.at.point.deleted();
        for file in &self.files {
            session.have(Request::Remove { file: inside(&directory, file) }).await?;
        }
        session.have(Request::Remove { file: directory }).await?;
        // The machine's directory goes with its last point.
        match session.have(Request::Remove { file: self.at.point.machine() }).await {
            Err(e) if e.kind() != ErrorKind::InvalidState => Err(e),
            _ => Ok(()),
        }
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("what was removed of a backup is not brought back"))
    }
}
