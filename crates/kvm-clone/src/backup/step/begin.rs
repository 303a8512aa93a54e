//! The beginning of a point.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Resource, Result};
use kvm_wire::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::At;
use crate::step::to_json;

/// Only its owner enters a store's directories.
const PRIVATE: u32 = 0o700;

/// Makes the directory of a point under a name that says that it is not whole.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BeginPoint {
    #[serde(flatten)]
    pub(crate) at: At,
    /// Whether it is the first point of its machine.
    pub(crate) is_first: bool,
}

impl BeginPoint {
    pub(crate) const NAME: &'static str = "begin-point";
}

#[async_trait]
impl Step for BeginPoint {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("begin backup {} in {} on {}", self.at.point, self.at.point.directory, self.at.store)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let mut session = self.at.open(cx).await?;
        let is_there = self.at.has(&mut session, &self.at.point.unfinished()).await?;
        // At the end it has its name.
        let is_whole = self.at.is_whole(&mut session).await?;
        Ok(if is_there || is_whole { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let mut session = self.at.open(cx).await?;
        match session.have(Request::MakeDirectory { file: self.at.point.machine(), mode: PRIVATE }).await {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        session.have(Request::MakeDirectory { file: self.at.point.unfinished(), mode: PRIVATE }).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let mut session = self.at.open(cx).await?;
        let remove = session.have(Request::Remove { file: self.at.point.unfinished() }).await;
        remove.map_err(|e| match e.kind() {
            ErrorKind::InvalidState => {
                let directory = self.at.point.unfinished();
                Error::new(ErrorKind::InvalidState, "there are files that this operation did not make")
                    .on(Resource::File(format!("{}/{}", directory.root, directory.name)))
                    .with_detail("look at them, and remove the directory by hand")
            }
            _ => e,
        })?;
        if !self.is_first {
            return Ok(());
        }
        match session.have(Request::Remove { file: self.at.point.machine() }).await {
            // Another point came meanwhile.
            Err(e) if e.kind() != ErrorKind::InvalidState => Err(e),
            _ => Ok(()),
        }
    }
}
