//! The state of an emulated TPM in a point.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Peer, Probe, Step, StepContext};
use kvm_core::{DiskPath, ErrorKind, Host, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::At;
use crate::backup::manifest::TPM;
use crate::step::{TPM_MOST, to_json};
use crate::transfer::{Session, file};

/// How often it is read before somebody is told that it changes too fast.
const ATTEMPTS: usize = 8;

/// Brings the state of an emulated TPM into a point, also while the machine runs: swtpm writes a new file beside it, which
/// takes its name when it is whole. So whoever has it open reads one state, as a power cut would leave it.
///
/// It has secrets. In the store it is readable for its owner alone, and nothing of it is in the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoreTpm {
    #[serde(flatten)]
    pub(crate) at: At,
    pub(crate) source: Peer,
    pub(crate) path: DiskPath,
}

impl StoreTpm {
    pub(crate) const NAME: &'static str = "store-tpm";

    async fn read(&self, source: &Host) -> Result<Vec<u8>> {
        let mut attempt = 1;
        loop {
            // What is left of a conversation that ended early is for nobody.
            let mut session = Session::open(&*source.transport).await?;
            match session.read(&file(&self.path), TPM_MOST).await {
                // One of another length has come between looking and opening.
                Err(e) if matches!(e.kind(), ErrorKind::Busy | ErrorKind::Corrupt) && attempt < ATTEMPTS => {
                    attempt += 1
                }
                Ok(state) => {
                    session.give_back(&*source.transport).await;
                    return Ok(state);
                }
                Err(e) => return Err(e),
            }
        }
    }
}

#[async_trait]
impl Step for StoreTpm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("store {} of {} as {TPM}", self.path, self.source)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let mut session = self.at.open(cx).await?;
        let is_there = session.stat(&self.at.begun(TPM)).await?.is_some() || self.at.is_whole(&mut session).await?;
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if cx.attempt == Attempt::Again {
            self.undo(cx).await?;
        }
        let state = self.read(&cx.peer(&self.source).await?).await?;
        self.at.open(cx).await?.write(&self.at.begun(TPM), &state).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.at.forget(cx, TPM).await
    }
}
