//! The steps of a restoration.

use std::collections::BTreeSet;
use std::num::NonZeroU8;

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Peer, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Existing, Resource, Result, View, VmId, VmName, VmRef};
use kvm_vm::{VolumeRef, reserve_volume};
use kvm_wire::{Digest, Keep};
use kvm_xml::{Document as _, Domain, StorageVolume};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backup::{Point, inside};
use crate::parallel::Parallel;
use crate::place;
use crate::spec::Compress;
use crate::step::{to_json, unless_gone};
use crate::survey::has;
use crate::transfer::{FileTransfer, Reach, Reached, Watch, file};

/// Brings a file of a point to where the machine has it: it gets its name there only when it is what was stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RestoreFile {
    pub(crate) store: Peer,
    pub(crate) target: Peer,
    pub(crate) point: Point,
    pub(crate) file: String,
    pub(crate) digest: Digest,
    pub(crate) to: DiskPath,
    /// Where a pool has it.
    pub(crate) volume: Option<VolumeRef>,
    /// What the guest sees of it.
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    /// Most bytes per second.
    #[serde(rename = "limit_bytes_per_second")]
    pub(crate) limit: Option<Bytes>,
    pub(crate) is_compressed: bool,
    /// How many images are under way at a time, this one included.
    #[serde(default)]
    pub(crate) at_once: Parallel,
    /// How far it has come in this process.
    #[serde(skip)]
    pub(crate) reach: Reach,
}

impl RestoreFile {
    pub(crate) const NAME: &'static str = "restore-file";
}

#[async_trait]
impl Step for RestoreFile {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("restore {} of {} to {}", self.file, self.point, self.to)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    fn at_once(&self) -> NonZeroU8 {
        self.at_once.get()
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        Ok(if has(&target, self.to.as_str()).await? { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (store, target) = (cx.peer(&self.store).await?, cx.peer(&self.target).await?);
        let transfer = FileTransfer {
            source: &*store.transport,
            from: inside(&self.point.whole(), &self.file),
            keep: Keep::Remember,
            target: &*target.transport,
            to: file(&self.to),
            limit: self.limit,
            compression: if self.is_compressed { Compress::Auto } else { Compress::Never },
            resume: cx.attempt == Attempt::Again,
            seed: None,
            expect: Some(self.digest),
        };
        let title = format!("restore {}", self.file);
        transfer
            .run_noting(
                Watch { reporter: cx.reporter, title: &title, clock: cx.clock, cancel: cx.cancel, pace: cx.pace },
                &self.reach,
            )
            .await?;
        match &self.volume {
            Some(volume) => target.storage.refresh_pool(&volume.pool).await,
            None => Ok(()),
        }
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let reached = self.reach.get();
        if reached == Reached::Nothing {
            return Ok(());
        }
        let target = cx.peer(&self.target).await?;
        let partial = format!("{}.partial", self.to);
        unless_gone(target.transport.remove_file(partial.as_ref()).await)?;
        if reached == Reached::Partial {
            return match &self.volume {
                Some(volume) => target.storage.refresh_pool(&volume.pool).await,
                None => Ok(()),
            };
        }
        let Some(volume) = &self.volume else {
            return unless_gone(target.transport.remove_file(self.to.as_path()).await);
        };
        target.storage.refresh_pool(&volume.pool).await?;
        // As for any volume that an operation made: it stays where it is in use by now.
        let made = reserve_volume(volume.clone(), self.size, &StorageVolume::default());
        made.undo(&StepContext { host: &target, ..*cx }).await
    }
}

/// Has a machine that is off be what was stored: from then on it uses the restored images.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Redefine {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) document: String,
    /// The images that the operation has brought.
    pub(crate) files: BTreeSet<String>,
}

impl Redefine {
    pub(crate) const NAME: &'static str = "redefine";

    /// The files that a machine writes to.
    fn used(document: &Domain) -> BTreeSet<String> {
        place::own(document).filter_map(|disk| disk.source.as_ref()?.file.clone()).collect()
    }
}

#[async_trait]
impl Step for Redefine {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("replace the definition of {}", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let now = cx.host.hypervisor.definition(&self.id, View::CONFIG).await?;
        let wanted = Domain::from_xml(&self.document).map_err(unreadable)?;
        let is_there = Self::used(&now) == self.files && now.genid == wanted.genid;
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let vm = cx.host.hypervisor.find(&VmRef::Id(self.id)).await?;
        if vm.state.is_active() {
            return Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {} by now", vm.name, vm.state))
                .on(Resource::Vm(vm.name.as_str().to_owned()))
                .with_detail("shut it down, and resume the operation: kvmctl op resume"));
        }
        let document = Domain::from_xml(&self.document).map_err(unreadable)?;
        cx.host.hypervisor.define(&document, Existing::Replace).await.map(drop)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("the definition that was replaced is not brought back"))
    }
}

fn unreadable(e: kvm_xml::XmlError) -> Error {
    Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e)
}
