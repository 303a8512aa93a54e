//! The definition of a replica, and what is noted about it on both hosts.

use async_trait::async_trait;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{
    Elsewhere, Error, ErrorKind, Existing, Progress, Replica, ReplicaState, Replication, Result, VmId, VmName, VmNotes,
};
use kvm_vm::VolumeRef;
use kvm_xml::{Document as _, Domain};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{record, to_json, unless_gone};
use crate::transfer::root;

/// Defines a replica anew, as its source is now.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RedefineReplica {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) document: String,
    /// What is noted before, where nothing of this sync is noted yet.
    pub(crate) before: Option<Replication>,
    /// The definition before.
    pub(crate) was: String,
}

impl RedefineReplica {
    pub(crate) const NAME: &'static str = "redefine-replica";

    fn document(&self) -> Result<(Domain, Replica)> {
        let document = read(&self.document)?;
        match VmNotes::of(&document).replication {
            Some(Replication::Replica(replica)) => Ok((document, replica)),
            _ => Err(Error::new(ErrorKind::Corrupt, "the step's document does not say whose replica it is")),
        }
    }

    fn sync(&self) -> Result<Uuid> {
        Ok(self.document()?.1.sync)
    }
}

#[async_trait]
impl Step for RedefineReplica {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("define {} on {} as its source is", self.name, self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        let now = record::of_sync(&target, &self.id, self.sync()?).await?;
        let is_done = now.is_some_and(|replica| replica.state == ReplicaState::Current);
        Ok(if is_done { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        let (mut document, mut ours) = self.document()?;
        match record::of_sync(&target, &self.id, ours.sync).await? {
            // The digests were noted when all had arrived.
            Some(noted) => ours.images = noted.images,
            None => record::check_unchanged(&target, &self.id, self.before.as_ref()).await?,
        }
        let notes = VmNotes { replication: Some(Replication::Replica(ours)), ..VmNotes::of(&document) };
        notes.apply_to(&mut document)?;
        target.hypervisor.define(&document, Existing::Replace).await.map(drop)
    }

    /// One that was promoted meanwhile is not touched.
    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        match record::of_sync(&target, &self.id, self.sync()?).await? {
            Some(_) => target.hypervisor.define(&read(&self.was)?, Existing::Replace).await.map(drop),
            None => Ok(()),
        }
    }
}

fn read(document: &str) -> Result<Domain> {
    Domain::from_xml(document)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e))
}

/// Notes the digests of a new replica's images, so that it is seen later when somebody has written to them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NoteDigests {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
}

impl NoteDigests {
    pub(crate) const NAME: &'static str = "note-digests";
}

#[async_trait]
impl Step for NoteDigests {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("note the digests of the images on {}", self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        let Some(Replication::Replica(mut replica)) = record::read(&target, &self.id).await? else { return Ok(()) };
        for image in &mut replica.images {
            image.root = Some(root(&*target.transport, &image.path).await?.to_string());
        }
        record::write(&target, &self.id, Some(Replication::Replica(replica))).await
    }

    /// They go with the machine.
    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Ok(())
    }
}

/// Notes on a machine where a replica of it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NoteSource {
    pub(crate) source: Peer,
    pub(crate) id: VmId,
    pub(crate) replica: Elsewhere,
    /// What is noted before.
    pub(crate) before: Option<Replication>,
}

impl NoteSource {
    pub(crate) const NAME: &'static str = "note-source";
}

#[async_trait]
impl Step for NoteSource {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("note on {} that a replica is on {}", self.source, self.replica)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_noted = match record::read(&cx.peer(&self.source).await?, &self.id).await? {
            Some(Replication::Source { replicas }) => replicas.contains(&self.replica),
            _ => false,
        };
        Ok(if is_noted { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let source = cx.peer(&self.source).await?;
        let mut replicas = match record::read(&source, &self.id).await? {
            Some(Replication::Source { replicas }) => replicas,
            _ => Vec::new(),
        };
        replicas.retain(|other| other.host != self.replica.host);
        replicas.push(self.replica.clone());
        record::write(&source, &self.id, Some(Replication::Source { replicas })).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        unless_gone(record::write(&cx.peer(&self.source).await?, &self.id, self.before.clone()).await)
    }
}

/// Deletes an image of a replica in whose place a sync has put another one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DropImage {
    pub(crate) target: Peer,
    pub(crate) volume: VolumeRef,
}

impl DropImage {
    pub(crate) const NAME: &'static str = "drop-image";
}

#[async_trait]
impl Step for DropImage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("delete volume {} on {}, which was replaced", self.volume, self.target)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        match target.storage.find_volume(&self.volume.pool, &self.volume.volume).await {
            Ok(_) => Ok(Probe::Pending),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Probe::Done),
            Err(e) => Err(e),
        }
    }

    /// One that somebody else uses by now stays.
    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let target = cx.peer(&self.target).await?;
        let (_, users) = kvm_vm::volume_uses(&target, &self.volume).await?;
        if let Some(users) = users {
            let message = format!("volume {} stays: it is used by {users}", self.volume);
            cx.reporter.report(&Progress::Warning { message });
            return Ok(());
        }
        unless_gone(target.storage.delete_volume(&self.volume.pool, &self.volume.volume).await)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a deleted image cannot be brought back"))
    }
}
