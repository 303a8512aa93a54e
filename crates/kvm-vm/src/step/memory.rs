//! Memory that processes of the host share.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Existing, Result, View, VmId, VmName};
use kvm_xml::Domain;
use kvm_xml::domain::MemoryBacking;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{document, to_json};

/// Lets processes of the host share a machine's memory from its next start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShareMemory {
    id: VmId,
    name: VmName,
    /// How its memory is kept, as a document that has nothing else.
    before: String,
    after: String,
}

impl ShareMemory {
    pub(crate) const NAME: &'static str = "share-memory";

    pub(crate) fn new(id: VmId, name: VmName, before: &Domain, after: &Domain) -> Self {
        let alone = |document: &Domain| {
            let memory_backing = document.memory_backing.clone();
            kvm_xml::Document::to_xml(&Domain { memory_backing, ..Domain::default() })
        };
        Self { id, name, before: alone(before), after: alone(after) }
    }

    async fn change(&self, cx: &StepContext<'_>, from: &str, to: &str) -> Result<()> {
        let mut config = cx.host.hypervisor.definition(&self.id, View::CONFIG.with_secrets()).await?;
        if config.memory_backing != backing(from)? {
            return Ok(());
        }
        config.memory_backing = backing(to)?;
        cx.host.hypervisor.define(&config, Existing::Replace).await.map(drop)
    }
}

#[async_trait]
impl Step for ShareMemory {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("share the memory of {} with processes of the host", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let config = cx.host.hypervisor.definition(&self.id, View::CONFIG).await?;
        Ok(if crate::build::peripheral::shares_memory(&config) { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        self.change(cx, &self.before, &self.after).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.change(cx, &self.after, &self.before).await
    }
}

fn backing(xml: &str) -> Result<Option<MemoryBacking>> {
    Ok(document::<Domain>(xml)?.memory_backing)
}
