//! Jobs on the images of running machines as parts of a plan.

use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{
    Bandwidth, BlockJob, BlockJobKind, Device, DeviceRef, DiskPath, Error, ErrorKind, Impact, Progress, Resource,
    Result, View, VmId, VmName,
};
use kvm_image::graph::Name;
use kvm_xml::domain::{Disk, DiskDriver, DiskFormat, DiskSource, DiskType, MirrorReady};
use kvm_xml::value::DiskName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::to_json;
use crate::block_job::{check_commit, facet};
use crate::chain::{disk_graph, normal};

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// For how long a host may be out of reach while a job goes on there without us.
const PATIENCE: Duration = Duration::from_secs(60);

/// A disk of a machine, for messages and calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) device: DeviceRef,
}

/// Where an image is, and how it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) path: DiskPath,
    pub(crate) format: String,
    pub(crate) is_block: bool,
}

/// What is true of a disk now.
pub(super) struct Seen {
    pub(super) disk: Disk,
    pub(super) image: Option<String>,
    /// The image that a job fills, and whether it has everything.
    mirror: Option<(String, bool)>,
}

impl Subject {
    pub(super) fn disk(&self) -> Result<&DiskName> {
        match &self.device {
            DeviceRef::Disk(disk) => Ok(disk),
            other => Err(Error::internal(format!("{other} is no disk"))),
        }
    }

    pub(super) async fn see(&self, cx: &StepContext<'_>, view: View) -> Result<Seen> {
        let document = cx.host.hypervisor.definition(&self.id, view).await?;
        let Some(Device::Disk(disk)) = self.device.find(&document) else {
            return Err(
                Error::new(ErrorKind::NotFound, format!("VM {} has no {}", self.name, self.device)).on(self.vm())
            );
        };
        let image = path(disk.source.as_ref());
        let mirror = disk
            .mirror
            .as_ref()
            .and_then(|mirror| Some((path(mirror.source.as_ref())?, mirror.ready == Some(MirrorReady::Yes))));
        Ok(Seen { disk: *disk, image, mirror })
    }

    async fn job(&self, cx: &StepContext<'_>) -> Result<Option<BlockJob>> {
        if !cx.host.hypervisor.find(&self.id.into()).await?.state.is_active() {
            return Ok(None);
        }
        facet(cx.host)?.job(&self.id, self.disk()?).await
    }

    pub(super) fn vm(&self) -> Resource {
        Resource::Vm(self.name.as_str().to_owned())
    }

    /// Whether a job is under way that brings what the disk shows into this image.
    pub(super) async fn is_filling(&self, cx: &StepContext<'_>, image: &DiskPath) -> Result<bool> {
        let seen = self.see(cx, View::LIVE).await?;
        let is_it = seen.mirror.is_some_and(|(to, _)| to == normal(image.as_str()));
        // What a document says of a job may outlive it.
        Ok(is_it && self.job(cx).await?.is_some())
    }

    /// Waits until a job is over, or ready, whichever comes first. Whoever cancels finds it still going on.
    pub(super) async fn wait(&self, cx: &StepContext<'_>, title: &str) -> Result<()> {
        let mut unseen = Duration::ZERO;
        loop {
            match self.job(cx).await {
                Ok(None) => return Ok(()),
                Ok(Some(job)) if job.ready => return Ok(()),
                Ok(Some(job)) => {
                    unseen = Duration::ZERO;
                    let (done, total) = (job.done, job.total);
                    cx.reporter.report(&Progress::Moved { title: title.to_owned(), done, total });
                }
                Err(e) if !matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) || unseen >= PATIENCE => {
                    return Err(e);
                }
                Err(_) => unseen += LOOK,
            }
            tokio::select! {
                biased;
                () = cx.cancel.cancelled() => {
                    return Err(Error::new(ErrorKind::Cancelled, format!("{title} was cancelled")).on(self.vm()));
                }
                () = cx.clock.sleep(LOOK) => {}
            }
        }
    }

    /// Ends a job of ours, if it is still there.
    async fn abort(&self, cx: &StepContext<'_>, is_ours: impl Fn(&Seen, &BlockJob) -> bool) -> Result<()> {
        let Some(job) = self.job(cx).await? else { return Ok(()) };
        if !is_ours(&self.see(cx, View::LIVE).await?, &job) {
            return Ok(());
        }
        match facet(cx.host)?.abort(&self.id, self.disk()?).await {
            // It has ended by itself meanwhile.
            Err(e) if e.kind() == ErrorKind::InvalidState => Ok(()),
            ended => ended,
        }
    }
}

fn path(source: Option<&DiskSource>) -> Option<String> {
    let source = source?;
    source.file.as_ref().or(source.dev.as_ref()).map(|path| normal(path))
}

/// Brings everything that a disk shows into another image, and keeps that image equal from then on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Mirror {
    pub(crate) disk: Subject,
    pub(crate) from: DiskPath,
    pub(crate) to: Place,
    /// Whether the other image is below the disk's own.
    pub(crate) is_commit: bool,
    pub(crate) speed: Bandwidth,
}

impl Mirror {
    pub(crate) const NAME: &'static str = "mirror";

    fn is_ours(&self, seen: &Seen) -> bool {
        seen.mirror.as_ref().is_some_and(|(to, _)| *to == normal(self.to.path.as_str()))
    }

    async fn begin(&self, cx: &StepContext<'_>) -> Result<()> {
        let (jobs, disk) = (facet(cx.host)?, self.disk.disk()?);
        if self.is_commit {
            // Somebody may have made an overlay of the base since the plan.
            check_commit(&disk_graph(cx.host).await?, &self.disk.name, disk, &self.from, &self.to.path)?;
            return jobs.commit(&self.disk.id, disk, &self.to.path, self.speed).await;
        }
        let copy = Disk { driver: Some(DiskDriver::default()), ..Disk::default() };
        jobs.copy(&self.disk.id, disk, &at(copy, &self.to)?, self.speed).await
    }
}

#[async_trait]
impl Step for Mirror {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        let verb = if self.is_commit { "commit" } else { "copy" };
        format!("{verb} {} of {} into {}", self.disk.device, self.disk.name, self.to.path)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let seen = self.disk.see(cx, View::LIVE).await?;
        let has_moved = seen.image.as_deref() == Some(&*normal(self.to.path.as_str()));
        let is_ready = self.is_ours(&seen) && seen.mirror.is_some_and(|(_, ready)| ready);
        Ok(if has_moved || is_ready { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if !self.is_ours(&self.disk.see(cx, View::LIVE).await?) {
            self.begin(cx).await?;
        }
        self.disk.wait(cx, &self.title()).await?;
        match self.probe(cx).await? {
            Probe::Done => Ok(()),
            Probe::Pending => {
                Err(Error::new(ErrorKind::InvalidState, format!("{} has ended unfinished", self.title()))
                    .on(self.disk.vm())
                    .with_detail("the VM has stopped, or the host could not write; its disk is as it was"))
            }
        }
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.disk.abort(cx, |seen, _| self.is_ours(seen)).await
    }
}

/// Lets a machine go on in the image that a [`Mirror`] has filled, now and after its next start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pivot {
    pub(crate) disk: Subject,
    pub(crate) from: DiskPath,
    pub(crate) to: Place,
}

impl Pivot {
    pub(crate) const NAME: &'static str = "pivot";

    async fn is_live(&self, cx: &StepContext<'_>) -> Result<bool> {
        let seen = self.disk.see(cx, View::LIVE).await?;
        Ok(seen.image.as_deref() == Some(&*normal(self.to.path.as_str())))
    }

    /// The disk as it is configured, where that still has the old image. What somebody configured meanwhile counts more
    /// than the plan.
    async fn stale(&self, cx: &StepContext<'_>) -> Result<Option<Disk>> {
        if !cx.host.hypervisor.find(&self.disk.id.into()).await?.persistent {
            return Ok(None);
        }
        let seen = self.disk.see(cx, View::CONFIG).await?;
        Ok((seen.image.as_deref() == Some(&*normal(self.from.as_str()))).then_some(seen.disk))
    }

    /// Has the next start find the new image.
    pub(super) async fn configure(&self, cx: &StepContext<'_>) -> Result<()> {
        let Some(disk) = self.stale(cx).await? else { return Ok(()) };
        let disk = Device::Disk(Box::new(at(disk, &self.to)?));
        crate::device::facet(cx.host)?.update(&self.disk.id, &disk, Impact::Config).await
    }
}

#[async_trait]
impl Step for Pivot {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("go on in {}", self.to.path)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_done = self.is_live(cx).await? && self.stale(cx).await?.is_none();
        Ok(if is_done { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if !self.is_live(cx).await? {
            facet(cx.host)?.pivot(&self.disk.id, self.disk.disk()?).await?;
        }
        // Hypervisors do this by themselves where both documents had the same image.
        self.configure(cx).await
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a machine that went over to another image does not go back"))
    }
}

/// Copies into an image what it takes from those below.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PullImage {
    pub(crate) disk: Subject,
    pub(crate) image: DiskPath,
    /// What it still lies upon afterwards.
    pub(crate) base: Option<DiskPath>,
    pub(crate) speed: Bandwidth,
}

impl PullImage {
    pub(crate) const NAME: &'static str = "pull";
}

#[async_trait]
impl Step for PullImage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("pull into {} of {}", self.disk.device, self.disk.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        // Its pool remembers what the image lay upon when it looked last.
        if let Ok(volume) = cx.host.storage.volume_at(&self.image).await {
            cx.host.storage.refresh_pool(&volume.pool).await?;
        }
        let graph = disk_graph(cx.host).await?;
        let graph = graph.graph();
        let index = |path: &DiskPath| graph.find(&Name::path(normal(path.as_str())));
        let Some(image) = index(&self.image) else { return Ok(Probe::Pending) };
        let wanted: Vec<usize> = self.base.as_ref().and_then(index).into_iter().collect();
        let is_done = graph.images()[image].backing.iter().copied().eq(wanted);
        Ok(if is_done { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if self.probe(cx).await? == Probe::Done {
            return Ok(());
        }
        if self.disk.job(cx).await?.is_none_or(|job| job.kind != BlockJobKind::Pull) {
            facet(cx.host)?.pull(&self.disk.id, self.disk.disk()?, self.base.as_ref(), self.speed).await?;
        }
        self.disk.wait(cx, &self.title()).await?;
        match self.probe(cx).await? {
            Probe::Done => Ok(()),
            Probe::Pending => {
                Err(Error::new(ErrorKind::InvalidState, format!("{} has ended unfinished", self.title()))
                    .on(self.disk.vm())
                    .with_detail("the VM has stopped, or the host could not write; run it again to go on"))
            }
        }
    }

    /// What was copied stays: the image shows the same with it as without.
    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.disk.abort(cx, |_, job| job.kind == BlockJobKind::Pull).await
    }
}

/// The disk with its image elsewhere.
pub(super) fn at(mut disk: Disk, place: &Place) -> Result<Disk> {
    let path = Some(place.path.as_str().to_owned());
    let format: DiskFormat = place.format.parse().map_err(|e: kvm_xml::XmlError| {
        Error::invalid("format", format!("a disk cannot be of format {}", place.format)).with_source(e)
    })?;
    disk.driver.get_or_insert_default().r#type = Some(format);
    disk.r#type = Some(if place.is_block { DiskType::Block } else { DiskType::File });
    let (file, dev) = if place.is_block { (None, path) } else { (path, None) };
    let old = disk.source.take().unwrap_or_default();
    // What belongs to the old place (pool, labels, slices) does not go along.
    disk.source = Some(DiskSource { file, dev, startup_policy: old.startup_policy, ..DiskSource::default() });
    disk.backing_store = None;
    disk.mirror = None;
    Ok(disk)
}
