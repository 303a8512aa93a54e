//! The machine's document in a point.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Peer, Probe, Step, StepContext};
use kvm_core::{Result, Secrets, View, VmId, VmName};
use kvm_xml::Document as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::At;
use crate::backup::manifest::DOCUMENT;
use crate::step::to_json;

/// Writes the machine's document as it is then, with its passwords: nothing of it is in the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoreDocument {
    #[serde(flatten)]
    pub(crate) at: At,
    pub(crate) source: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) is_persistent: bool,
}

impl StoreDocument {
    pub(crate) const NAME: &'static str = "store-document";
}

/// As a point keeps a document: with its passwords, which a machine that is restored in its place needs.
pub(crate) fn view(is_persistent: bool) -> View {
    let view = if is_persistent { View::CONFIG } else { View::LIVE };
    View { secrets: Secrets::Show, ..view }
}

#[async_trait]
impl Step for StoreDocument {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("store the definition of {}", self.name)
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
            session.stat(&self.at.begun(DOCUMENT)).await?.is_some() || self.at.is_whole(&mut session).await?;
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if cx.attempt == Attempt::Again {
            self.undo(cx).await?;
        }
        let source = cx.peer(&self.source).await?;
        let document = source.hypervisor.definition(&self.id, view(self.is_persistent)).await?;
        self.at.open(cx).await?.write(&self.at.begun(DOCUMENT), document.to_xml().as_bytes()).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.at.forget(cx, DOCUMENT).await
    }
}
