//! A replica that becomes a machine of its own.

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{
    DiskPath, Error, ErrorKind, Existing, Host, Replica, ReplicaState, Replication, Resource, Result, View, VmId,
    VmName, VmNotes,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::stage::{apply_waiting, forget_waiting};
use super::{record, to_json};

/// Brings an image of a replica to one side of a sync that was cut short: forward where that was being applied, back
/// where not all had arrived.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SettleImage {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    pub(crate) path: DiskPath,
}

impl SettleImage {
    pub(crate) const NAME: &'static str = "settle-image";
}

#[async_trait]
impl Step for SettleImage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("settle {} on {} after a sync that was cut short", self.path, self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        match record::read(&target, &self.id).await? {
            Some(Replication::Replica(replica)) if replica.state != ReplicaState::Promoted => Ok(Probe::Pending),
            // It may run by now.
            _ => Ok(Probe::Done),
        }
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        let replica = replica(&target, &self.id).await?;
        if replica.state != ReplicaState::Applying {
            return forget_waiting(&target, &self.path).await;
        }
        let image = replica.images.iter().find(|image| image.path == self.path);
        let expected = image.and_then(|image| image.root.as_deref());
        apply_waiting(&target, (&self.id, &self.path), expected, cx).await
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("what was applied to an image cannot be taken back"))
    }
}

/// Notes on a replica that it is a machine of its own, and gives it a new generation id where it has one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Promote {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) at: Timestamp,
    pub(crate) genid: Uuid,
    /// What is noted before.
    pub(crate) before: Replica,
    /// The generation id before.
    pub(crate) was: Option<Uuid>,
}

impl Promote {
    pub(crate) const NAME: &'static str = "promote";

    async fn define(&self, target: &Host, replica: Replica, genid: Option<Uuid>) -> Result<()> {
        let mut document = target.hypervisor.definition(&self.id, View::CONFIG.with_secrets()).await?;
        if let Some(own) = &mut document.genid {
            own.value = genid;
        }
        let notes = VmNotes { replication: Some(Replication::Replica(replica)), ..VmNotes::of(&document) };
        notes.apply_to(&mut document)?;
        target.hypervisor.define(&document, Existing::Replace).await.map(drop)
    }
}

#[async_trait]
impl Step for Promote {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("make {} on {} a machine of its own", self.name, self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        let is_promoted = matches!(record::read(&target, &self.id).await?,
            Some(Replication::Replica(replica)) if replica.state == ReplicaState::Promoted);
        Ok(if is_promoted { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        // A sync that was cut short may have been taken back since the plan was made.
        let now = replica(&target, &self.id).await?;
        record::check_unchanged(&target, &self.id, Some(&Replication::Replica(now.clone()))).await?;
        if now.state == ReplicaState::Applying && self.before.state != ReplicaState::Applying {
            let message = format!("a sync is being applied to the replica {} by now", self.name);
            return Err(Error::new(ErrorKind::InvalidState, message).on(Resource::Vm(self.name.as_str().to_owned())));
        }
        let promoted = Replica { state: ReplicaState::Promoted, promoted: Some(self.at), ..now };
        self.define(&target, promoted, Some(self.genid)).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        let now = replica(&target, &self.id).await?;
        let before = Replica { state: self.before.state, promoted: None, ..now };
        self.define(&target, before, self.was).await
    }
}

async fn replica(target: &Host, id: &VmId) -> Result<Replica> {
    match record::read(target, id).await? {
        Some(Replication::Replica(replica)) => Ok(replica),
        _ => {
            Err(Error::new(ErrorKind::InvalidState, "the machine is no replica any more")
                .on(Resource::Vm(id.to_string())))
        }
    }
}
