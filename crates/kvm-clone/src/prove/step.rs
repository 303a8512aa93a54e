//! The trial itself, as a step.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::op::{Already, Attempt, Peer, Probe, Step, StepContext};
use kvm_core::{
    DiskPath, Error, ErrorKind, Host, ProofKind, ProofResult, ProofVersions, ProvedImage, Receipt, Replication, Result,
    View, VmId, VmName, VmNotes,
};
use kvm_xml::{Document as _, Domain, StorageVolume};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::overlay::Overlay;
use crate::step::{to_json, unless_gone};
use crate::transfer::root;
use crate::trial::{Variables, Watched, check_still_off, end, refused, watch};

/// What to do with a trial that somebody has stored.
const STORED: &str = "it lies on overlays that are thrown away; delete it: kvmctl vm delete";

/// Starts the trial, waits for what it has to show, ends it, and notes on the machine what came out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunTrial {
    pub(crate) target: Peer,
    /// The machine that is tried.
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) trial: VmId,
    pub(crate) document: String,
    pub(crate) by: ProofKind,
    pub(crate) until: Option<String>,
    pub(crate) timeout_seconds: u64,
    pub(crate) at: Timestamp,
    /// The machine's images, by the disks' names.
    pub(crate) images: Vec<(String, DiskPath)>,
    pub(crate) overlays: Vec<Overlay>,
    pub(crate) variables: Option<Variables>,
    /// What is noted of a replica for as long as it is tried.
    pub(crate) claimed: Option<Replication>,
    /// What is noted otherwise.
    pub(crate) before: Option<Replication>,
    /// The receipt before.
    pub(crate) was: Option<Receipt>,
}

impl RunTrial {
    pub(crate) const NAME: &'static str = "run-trial";

    fn document(&self) -> Result<Domain> {
        Domain::from_xml(&self.document)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e))
    }

    /// Whether the noted receipt is this trial's.
    fn is_ours(&self, notes: &VmNotes) -> bool {
        notes.proof.as_ref().is_some_and(|proof| VmId::from(proof.trial) == self.trial)
    }

    /// What an earlier attempt wrote must not be what is tried.
    async fn begin_anew(&self, host: &Host) -> Result<()> {
        end(host, &self.trial, STORED).await?;
        for Overlay { volume, document } in &self.overlays {
            unless_gone(host.storage.delete_volume(&volume.pool, &volume.volume).await)?;
            let document = StorageVolume::from_xml(document)
                .map_err(|e| Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e))?;
            host.storage.create_volume(&volume.pool, &document).await?;
        }
        match &self.variables {
            Some(variables) => variables.renew(host).await,
            None => Ok(()),
        }
    }

    /// `InvalidState` when the machine is not as it was when the plan was made.
    async fn check_unchanged(&self, host: &Host) -> Result<()> {
        check_still_off(host, &self.id).await?;
        let noted = VmNotes::of(&host.hypervisor.definition(&self.id, View::CONFIG).await?).replication;
        match noted == self.claimed.clone().or_else(|| self.before.clone()) {
            true => Ok(()),
            false => Err(refused(
                &self.name,
                format!("what is noted of the replica {} was changed by somebody else", self.name),
            )),
        }
    }

    /// The images as they are: a host without a helper cannot tell.
    async fn images(&self, host: &Host) -> Result<Vec<ProvedImage>> {
        let mut images = Vec::with_capacity(self.images.len());
        for (disk, path) in &self.images {
            let root = match root(&*host.transport, path).await {
                Ok(root) => Some(root.to_string()),
                Err(e) if matches!(e.kind(), ErrorKind::Busy | ErrorKind::NotFound) => return Err(e),
                Err(_) => None,
            };
            images.push(ProvedImage { disk: disk.clone(), path: path.clone(), root });
        }
        Ok(images)
    }

    /// Starts it and watches; the machine type that it ran with.
    async fn run(&self, host: &Host, cx: &StepContext<'_>) -> Result<(Watched, Option<String>)> {
        let document = self.document()?;
        let machine = |document: &Domain| document.os.as_ref()?.r#type.as_ref()?.machine.clone();
        match host.hypervisor.start_transient(&document).await {
            Ok(_) => {}
            // It has never run: that is what was to be found out.
            Err(e)
                if matches!(e.kind(), ErrorKind::InvalidState | ErrorKind::InvalidInput | ErrorKind::Unsupported) =>
            {
                let why = match e.detail() {
                    Some(detail) => format!("the host did not start it: {e}: {detail}"),
                    None => format!("the host did not start it: {}", with_causes(&e)),
                };
                return Ok((Watched { after_seconds: 0, why: Some(why), seen: None }, machine(&document)));
            }
            Err(e) => return Err(e),
        }
        let live = host.hypervisor.definition(&self.trial, View::LIVE).await?;
        let watched = watch(host, &self.trial, self.until.as_deref(), Duration::from_secs(self.timeout_seconds), cx);
        Ok((watched.await?, machine(&live)))
    }

    async fn note(&self, host: &Host, receipt: Option<Receipt>) -> Result<()> {
        let mut notes = VmNotes::of(&host.hypervisor.definition(&self.id, View::CONFIG).await?);
        if self.claimed.is_some() && notes.replication == self.claimed {
            notes.replication = self.before.clone();
        }
        notes.proof = receipt;
        host.hypervisor.set_notes(&self.id, &notes).await
    }
}

/// An error with what it came from, which is where hypervisors say what is wrong.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        text += &format!(": {e}");
        cause = e.source();
    }
    text
}

#[async_trait]
impl Step for RunTrial {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("start {} on trial, at most {} s", self.name, self.timeout_seconds)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let host = cx.peer(&self.target).await?;
        let notes = VmNotes::of(&host.hypervisor.definition(&self.id, View::CONFIG).await?);
        Ok(if self.is_ours(&notes) { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let host = cx.peer(&self.target).await?;
        if cx.attempt == Attempt::Again {
            self.begin_anew(&host).await?;
        }
        self.check_unchanged(&host).await?;
        let images = tokio::select! {
            biased;
            () = cx.cancel.cancelled() => return Err(Error::new(ErrorKind::Cancelled, "the trial was cancelled")),
            images = self.images(&host) => images?,
        };
        let ran = self.run(&host, cx).await;
        // Whatever came out, and before that is told.
        end(&host, &self.trial, STORED).await?;
        let (Watched { after_seconds, why, seen }, machine) = ran?;
        let capabilities = host.hypervisor.capabilities().await?;
        let receipt = Receipt {
            result: if why.is_none() { ProofResult::Proved } else { ProofResult::NotProved },
            vm: self.name.clone(),
            id: self.id,
            host: self.target.host.clone(),
            at: self.at,
            trial: self.trial.into(),
            by: self.by,
            until: self.until.clone(),
            after_seconds,
            why: why.as_deref().map(Receipt::bounded),
            seen,
            versions: ProofVersions {
                libvirt: capabilities.library_version,
                qemu: capabilities.hypervisor_version,
                machine,
                kvm_manager: Some(env!("CARGO_PKG_VERSION").to_owned()),
            },
            images,
        };
        self.note(&host, Some(receipt)).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let host = cx.peer(&self.target).await?;
        end(&host, &self.trial, STORED).await?;
        if let Some(variables) = &self.variables {
            variables.remove(&host).await?;
        }
        let notes = match host.hypervisor.definition(&self.id, View::CONFIG).await {
            Ok(document) => VmNotes::of(&document),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        match self.is_ours(&notes) {
            true => self.note(&host, self.was.clone()).await,
            false => Ok(()),
        }
    }
}
