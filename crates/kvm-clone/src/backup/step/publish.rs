//! The end of making a point.

use async_trait::async_trait;
use kvm_core::Result;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_wire::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::At;
use crate::step::to_json;

/// Gives a point its name: from then on it is there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishPoint {
    #[serde(flatten)]
    pub(crate) at: At,
}

impl PublishPoint {
    pub(crate) const NAME: &'static str = "publish-point";
}

#[async_trait]
impl Step for PublishPoint {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("publish backup {}", self.at.point)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let mut session = self.at.open(cx).await?;
        Ok(if self.at.is_whole(&mut session).await? { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (file, to) = (self.at.point.unfinished(), self.at.point.to_string());
        self.at.open(cx).await?.have(Request::Rename { file, to }).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let mut session = self.at.open(cx).await?;
        if !self.at.is_whole(&mut session).await? {
            return Ok(());
        }
        let to = self.at.point.unfinished().name;
        session.have(Request::Rename { file: self.at.point.whole(), to }).await
    }
}
