//! Jobs on the images of running machines.

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    Bandwidth, BlockJob, BlockJobKind, BlockJobs, Bytes, Device, DeviceRef, DiskPath, Error, ErrorKind, Resource,
    Result, VmId, Which,
};
use kvm_xml::Domain;
use kvm_xml::domain::{Disk, DiskFormat, DiskSource, DiskType, Mirror, MirrorJob, MirrorReady};
use kvm_xml::value::DiskName;
use serde::{Deserialize, Serialize};

use crate::clock::elapsed;
use crate::document;
use crate::fault::Method;
use crate::image;
use crate::machine::Machine;
use crate::mock::Mock;
use crate::world::World;

/// How fast a job without a limit goes.
const SPEED: Bytes = Bytes::from_gib(16);

/// A job on a disk; it ends with the machine's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    kind: BlockJobKind,
    /// The image that a commit or copy writes to, and that a pull ends upon.
    image: Option<String>,
    began: Timestamp,
    total: Bytes,
    speed: Bytes,
}

impl Job {
    /// Work that begins now, at the speed of one without a limit.
    pub(crate) fn new(kind: BlockJobKind, work: u64, image: Option<&str>, now: Timestamp) -> Self {
        Self { kind, image: image.map(str::to_owned), began: now, total: Bytes::new(work.max(1)), speed: SPEED }
    }

    fn done(&self, now: Timestamp) -> Bytes {
        let done = elapsed(self.began, now).as_millis().saturating_mul(u128::from(self.speed.get())) / 1000;
        Bytes::new(u64::try_from(done).unwrap_or(u64::MAX)).min(self.total)
    }

    fn has_copied(&self, now: Timestamp) -> bool {
        self.done(now) == self.total
    }

    pub(crate) fn info(&self, now: Timestamp) -> BlockJob {
        let ready = self.kind != BlockJobKind::Pull && self.has_copied(now);
        BlockJob { kind: self.kind, done: self.done(now), total: self.total, ready }
    }
}

#[async_trait]
impl BlockJobs for Mock {
    async fn job(&self, vm: &VmId, disk: &DiskName) -> Result<Option<BlockJob>> {
        self.read(Method::BlockJob, vm, |world, now| {
            let machine = world.machine(vm)?;
            image_of(machine, vm, disk)?;
            Ok(machine.running()?.jobs.get(disk.as_str()).map(|job| job.info(now)))
        })
        .await
    }

    async fn commit(&self, vm: &VmId, disk: &DiskName, base: &DiskPath, speed: Bandwidth) -> Result<()> {
        self.change(Method::BlockCommit, vm, |world, now| {
            let active = world.without_job(vm, disk)?;
            world.is_below(&active, base)?;
            let written = world.files.get(&active).map_or(0, crate::file::SparseFile::allocated);
            world.begin(vm, disk, BlockJobKind::Commit, Some(base.as_str()), (written, speed), now)
        })
        .await
    }

    async fn pull(&self, vm: &VmId, disk: &DiskName, base: Option<&DiskPath>, speed: Bandwidth) -> Result<()> {
        self.change(Method::BlockPull, vm, |world, now| {
            let active = world.without_job(vm, disk)?;
            base.map_or(Ok(()), |base| world.is_below(&active, base))?;
            let below = world.chain(&active).into_iter().skip(1);
            let above = below.take_while(|path| base.is_none_or(|base| path != base.as_str()));
            let read = above.filter_map(|path| Some(world.files.get(&path)?.allocated())).sum();
            world.begin(vm, disk, BlockJobKind::Pull, base.map(DiskPath::as_str), (read, speed), now)
        })
        .await
    }

    async fn copy(&self, vm: &VmId, disk: &DiskName, to: &Disk, speed: Bandwidth) -> Result<()> {
        let source = to.source.as_ref();
        let to = source.and_then(|source| source.file.clone().or_else(|| source.dev.clone()));
        let to = to.ok_or_else(|| Error::invalid("source", "the copy's document names no file or device"))?;
        self.change(Method::BlockCopy, vm, |world, now| {
            let active = world.without_job(vm, disk)?;
            if !world.files.contains_key(&to) {
                return Err(
                    Error::new(ErrorKind::InvalidState, "there is no such image").on(Resource::File(to.clone()))
                );
            }
            let chain = world.chain(&active);
            let read = chain.iter().filter_map(|path| Some(world.files.get(path)?.allocated())).sum();
            world.begin(vm, disk, BlockJobKind::Copy, Some(&to), (read, speed), now)
        })
        .await
    }

    async fn pivot(&self, vm: &VmId, disk: &DiskName) -> Result<()> {
        self.change(Method::BlockPivot, vm, |world, now| {
            let (active, job) = world.job(vm, disk)?;
            if !job.info(now).ready {
                return Err(wrong_state(vm, "the block job is not ready"));
            }
            let Some(image) = job.image else { return Err(Error::internal("a job that is ready has an image")) };
            match job.kind {
                BlockJobKind::Commit => world.merge(&active, &image),
                _ => world.fill(&active, &image),
            }
            let format = world.files.get(&image).map(|file| image::probe(file).format);
            let machine = world.machine_mut(vm)?;
            machine.running_mut()?.jobs.remove(disk.as_str());
            go_on_in(machine.document_mut(Which::Live)?, disk, &active, &image, format)?;
            // The hypervisor remembers it for the next start, where that would have used the same image.
            match machine.document_mut(Which::Config) {
                Ok(config) => go_on_in(config, disk, &active, &image, format),
                Err(_) => Ok(()),
            }
        })
        .await
    }

    async fn abort(&self, vm: &VmId, disk: &DiskName) -> Result<()> {
        self.change(Method::BlockAbort, vm, |world, _| {
            world.job(vm, disk)?;
            let machine = world.machine_mut(vm)?;
            machine.running_mut()?.jobs.remove(disk.as_str());
            change(machine.document_mut(Which::Live)?, disk, |disk| disk.mirror = None)
        })
        .await
    }
}

impl World {
    /// Lets jobs have gone on until now. Whether anything happened.
    pub(crate) fn settle_jobs(&mut self, now: Timestamp) -> bool {
        let mut over = Vec::new();
        for (vm, machine) in &mut self.machines {
            let Some(live) = &mut machine.live else { continue };
            for (disk, job) in live.jobs.iter().filter(|(_, job)| job.has_copied(now)) {
                let Ok(name) = disk.parse::<DiskName>() else { continue };
                let is_new = match job.kind {
                    BlockJobKind::Pull => true,
                    _ => became_ready(&mut live.document, &name),
                };
                if is_new {
                    over.push((*vm, name, job.clone()));
                }
            }
        }
        for (vm, disk, job) in over.iter().filter(|(_, _, job)| job.kind == BlockJobKind::Pull) {
            let Some(machine) = self.machines.get_mut(vm) else { continue };
            let active = image_of(machine, vm, disk);
            if let Some(live) = &mut machine.live {
                live.jobs.remove(disk.as_str());
            }
            if let Some(file) = active.ok().and_then(|path| self.files.get_mut(&path)) {
                image::rebase(file, job.image.as_deref());
            }
        }
        !over.is_empty()
    }

    fn is_below(&self, active: &str, base: &DiskPath) -> Result<()> {
        match self.chain(active).iter().skip(1).any(|path| path == base.as_str()) {
            true => Ok(()),
            false => Err(Error::invalid("base", format!("{base} is not below the disk's image"))),
        }
    }

    /// The image of a running machine's disk that has no job.
    fn without_job(&self, vm: &VmId, disk: &DiskName) -> Result<String> {
        let machine = self.machine(vm)?;
        let active = image_of(machine, vm, disk)?;
        match machine.running()?.jobs.get(disk.as_str()) {
            Some(job) => {
                Err(Error::new(ErrorKind::Busy, format!("a {} of disk {disk} is under way", job.kind)).on(on(vm)))
            }
            None => Ok(active),
        }
    }

    fn job(&self, vm: &VmId, disk: &DiskName) -> Result<(String, Job)> {
        let machine = self.machine(vm)?;
        let active = image_of(machine, vm, disk)?;
        let job = machine.running()?.jobs.get(disk.as_str()).cloned();
        Ok((active, job.ok_or_else(|| wrong_state(vm, "there is no block job on the disk"))?))
    }

    fn begin(
        &mut self,
        vm: &VmId,
        disk: &DiskName,
        kind: BlockJobKind,
        image: Option<&str>,
        (work, speed): (u64, Bandwidth),
        now: Timestamp,
    ) -> Result<()> {
        let speed = speed.bytes_per_second().unwrap_or(SPEED);
        let job = Job { speed, ..Job::new(kind, work, image, now) };
        let machine = self.machine_mut(vm)?;
        machine.running_mut()?.jobs.insert(disk.as_str().to_owned(), job);
        let word = match kind {
            BlockJobKind::Commit => MirrorJob::ActiveCommit,
            BlockJobKind::Copy => MirrorJob::Copy,
            _ => return Ok(()),
        };
        change(machine.document_mut(Which::Live)?, disk, |disk| {
            disk.mirror = Some(Box::new(Mirror {
                job: Some(word),
                r#type: Some(DiskType::File),
                source: Some(DiskSource { file: image.map(str::to_owned), ..DiskSource::default() }),
                ..Mirror::default()
            }));
        })
    }

    /// What the images above a base hold, up to this one, is now in the base as well, which keeps what is below itself.
    pub(crate) fn merge(&mut self, top: &str, base: &str) {
        let above: Vec<_> = self.chain(top).into_iter().take_while(|path| path.as_str() != base).collect();
        for path in above.iter().rev() {
            let overlay = self.files.get(path).cloned();
            if let (Some(overlay), Some(base)) = (overlay, self.files.get_mut(base)) {
                image::commit(&overlay, base);
            }
        }
    }

    /// What the active image shows is now in the copy, which needs nothing below.
    ///
    /// Contents move between images of one format; another format has its own form of them.
    fn fill(&mut self, active: &str, copy: &str) {
        let format = |path| self.files.get(path).map(|file| image::probe(file).format);
        if format(active) == format(copy)
            && let Some(mut file) = self.files.get(active).cloned()
        {
            image::rebase(&mut file, None);
            self.files.insert(copy.to_owned(), file);
        }
    }
}

/// Marks a mirror as ready. Whether it was not before.
fn became_ready(live: &mut Domain, disk: &DiskName) -> bool {
    let mut is_new = false;
    // A disk that is not there any more has nothing to mark.
    let _gone = change(live, disk, |disk| {
        if let Some(mirror) = &mut disk.mirror {
            is_new = mirror.ready.replace(MirrorReady::Yes).is_none();
        }
    });
    is_new
}

/// The document of a machine whose disk now is another image.
fn go_on_in(document: &mut Domain, name: &DiskName, from: &str, to: &str, format: Option<&str>) -> Result<()> {
    change(document, name, |disk| {
        disk.mirror = None;
        let Some(source) = disk.source.as_mut().filter(|source| path(source) == Some(from)) else { return };
        source.dev = None;
        source.file = Some(to.to_owned());
        disk.r#type = Some(DiskType::File);
        disk.backing_store = None;
        let format: Option<DiskFormat> = format.and_then(|format| format.parse().ok());
        disk.driver.get_or_insert_default().r#type = format;
    })
}

fn change(document: &mut Domain, name: &DiskName, work: impl FnOnce(&mut Disk)) -> Result<()> {
    let Some(Device::Disk(mut disk)) = DeviceRef::Disk(name.clone()).find(document) else { return Ok(()) };
    work(&mut disk);
    Device::Disk(disk).put_into(document)
}

fn path(source: &DiskSource) -> Option<&str> {
    source.file.as_deref().or(source.dev.as_deref())
}

/// The image of a running machine's disk.
fn image_of(machine: &Machine, vm: &VmId, disk: &DiskName) -> Result<String> {
    let live = machine.document(Which::Live)?;
    let found = document::disks(live).into_iter().find(|found| found.target == disk.as_str());
    let found = found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("VM has no disk {disk}")).on(on(vm)))?;
    found.path.ok_or_else(|| wrong_state(vm, "the disk has no image"))
}

fn wrong_state(vm: &VmId, why: &str) -> Error {
    Error::new(ErrorKind::InvalidState, why).on(on(vm))
}

fn on(vm: &VmId) -> Resource {
    Resource::Vm(vm.to_string())
}
