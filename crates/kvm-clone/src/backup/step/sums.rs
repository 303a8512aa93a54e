//! What `sha256sum` reads.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::At;
use crate::backup::manifest::{MANIFEST, SUMS};
use crate::step::to_json;
use crate::transfer::Watch;

/// Writes the SHA-256 of every file of a point, for those who check it without us.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WriteSums {
    #[serde(flatten)]
    pub(crate) at: At,
    /// The files that the manifest speaks of.
    pub(crate) files: Vec<String>,
}

impl WriteSums {
    pub(crate) const NAME: &'static str = "write-sums";

    async fn write(&self, cx: &StepContext<'_>) -> Result<()> {
        let mut session = self.at.open(cx).await?;
        let mut lines = String::new();
        for file in self.files.iter().map(String::as_str).chain([MANIFEST]) {
            let title = format!("sum {}/{file}", self.at.point);
            let StepContext { reporter, clock, cancel, pace, .. } = *cx;
            let sum = session.sum(&self.at.begun(file), Watch { reporter, title: &title, clock, cancel, pace }).await?;
            lines += &format!("{sum}  {file}\n");
        }
        session.write(&self.at.begun(SUMS), lines.as_bytes()).await
    }
}

#[async_trait]
impl Step for WriteSums {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("write {SUMS}")
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let mut session = self.at.open(cx).await?;
        let is_there = session.stat(&self.at.begun(SUMS)).await?.is_some() || self.at.is_whole(&mut session).await?;
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if cx.attempt == Attempt::Again {
            self.undo(cx).await?;
        }
        tokio::select! {
            biased;
            () = cx.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the operation was cancelled")),
            written = self.write(cx) => written,
        }
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.at.forget(cx, SUMS).await
    }
}
