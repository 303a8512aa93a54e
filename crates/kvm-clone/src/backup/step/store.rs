//! A file of the machine in a point.

use std::num::NonZeroU8;

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Peer, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::At;
use crate::backup::place::{Point, PointId, inside};
use crate::parallel::Parallel;
use crate::spec::Compress;
use crate::step::{Whole, to_json};
use crate::tally::{Moved, TallyOf};
use crate::transfer::{FileTransfer, Transferred, Watch, file, keep};

/// Brings an image, or the firmware's variables, into a point: compared, durable, and under its name only then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoreFile {
    #[serde(flatten)]
    pub(crate) at: At,
    pub(crate) source: Peer,
    pub(crate) path: DiskPath,
    #[serde(default)]
    pub(crate) is_qcow2: bool,
    /// Its name in the point.
    pub(crate) file: String,
    /// Where other images lie below it: what is made of them first.
    pub(crate) whole: Option<Whole>,
    /// The point whose file of this name it is made upon.
    pub(crate) base: Option<PointId>,
    /// Most bytes per second.
    #[serde(rename = "limit_bytes_per_second")]
    pub(crate) limit: Option<Bytes>,
    pub(crate) is_compressed: bool,
    /// How many images are under way at a time, this one included.
    #[serde(default)]
    pub(crate) at_once: Parallel,
    /// Hears what was sent of an image.
    #[serde(skip)]
    pub(crate) tally: TallyOf,
}

impl StoreFile {
    pub(crate) const NAME: &'static str = "store-file";

    async fn transfer(&self, path: &DiskPath, cx: &StepContext<'_>) -> Result<()> {
        let (source, store) = (cx.peer(&self.source).await?, self.at.host(cx).await?);
        let base = self.base.map(|point| Point { point, ..self.at.point.clone() });
        let transfer = FileTransfer {
            source: &*source.transport,
            from: file(path),
            keep: keep(self.is_qcow2),
            target: &*store.transport,
            to: self.at.begun(&self.file),
            limit: self.limit,
            compression: if self.is_compressed { Compress::Auto } else { Compress::Never },
            resume: cx.attempt == Attempt::Again,
            seed: base.map(|base| inside(&base.whole(), &self.file)),
            expect: None,
        };
        let title = format!("store {path}");
        let watch = Watch { reporter: cx.reporter, title: &title, clock: cx.clock, cancel: cx.cancel, pace: cx.pace };
        let Transferred { length, data, wire, spared } = transfer.run(watch).await?;
        let (is_new, is_whole) = (true, self.base.is_none());
        self.tally.add(Moved { length, changed: data, sent: wire, is_new, is_whole, spared, ..Moved::default() });
        Ok(())
    }

    /// Whether the point has it.
    async fn is_there(&self, cx: &StepContext<'_>) -> Result<bool> {
        let mut session = self.at.open(cx).await?;
        Ok(session.stat(&self.at.begun(&self.file)).await?.is_some() || self.at.is_whole(&mut session).await?)
    }
}

#[async_trait]
impl Step for StoreFile {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("store {} of {} as {}", self.path, self.source, self.file)
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
        let is_all = match &self.whole {
            Some(whole) if self.is_there(cx).await? => !whole.is_there(&cx.peer(&self.source).await?).await?,
            Some(_) => false,
            None => self.is_there(cx).await?,
        };
        Ok(if is_all { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if let (Attempt::Again, Some(whole)) = (cx.attempt, &self.whole)
            && self.is_there(cx).await?
        {
            // It got its name when it was whole; what it was made of had still to go.
            return whole.forget(&cx.peer(&self.source).await?).await;
        }
        let Some(whole) = &self.whole else { return self.transfer(&self.path, cx).await };
        let source = cx.peer(&self.source).await?;
        let made = whole.make(&source).await?;
        let stored = match made.host_path() {
            Ok(path) => self.transfer(path, cx).await,
            Err(e) => Err(e),
        };
        stored.and(whole.forget(&source).await)
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        if let Some(whole) = &self.whole {
            whole.forget(&cx.peer(&self.source).await?).await?;
        }
        self.at.forget(cx, &self.file).await
    }
}
