//! Jobs on the images of running machines.

use std::ffi::CString;

use async_trait::async_trait;
use kvm_core::{Bandwidth, BlockJob, BlockJobKind, BlockJobs, Bytes, DiskPath, Error, ErrorKind, Result, VmId};
use kvm_xml::domain::{BackingStore, Disk, DiskDriver, DiskSource, MirrorReady};
use kvm_xml::value::DiskName;
use kvm_xml::{Document as _, Domain};
use virt::sys;

use crate::document::{self, looked_again};
use crate::error::LibvirtError;
use crate::ffi::block_job::{self as ffi, text};
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::task::{Failure, Task};

#[async_trait]
impl BlockJobs for Libvirt {
    async fn job(&self, vm: &VmId, disk: &DiskName) -> Result<Option<BlockJob>> {
        let (id, name) = (*vm, disk.clone());
        self.ask("look at a block job of", vm_resource(&id), move |task| {
            let machine = task.active_machine(&id)?;
            let disk = find(task, &machine, &name)?;
            Ok(job(&machine, &name, &disk)?)
        })
        .await
    }

    async fn commit(&self, vm: &VmId, disk: &DiskName, base: &DiskPath, speed: Bandwidth) -> Result<()> {
        let base = base.clone();
        self.begin(vm, disk, move |begin| {
            begin.check_below(&base)?;
            Ok(ffi::commit(&begin.machine.domain, &begin.name, &text(base.as_str()), rate(speed)))
        })
        .await
    }

    async fn pull(&self, vm: &VmId, disk: &DiskName, base: Option<&DiskPath>, speed: Bandwidth) -> Result<()> {
        let base = base.cloned();
        self.begin(vm, disk, move |begin| {
            base.as_ref().map_or(Ok(()), |base| begin.check_below(base))?;
            let base = base.as_ref().map(|base| text(base.as_str()));
            Ok(ffi::pull(&begin.machine.domain, &begin.name, base.as_deref(), rate(speed)))
        })
        .await
    }

    async fn copy(&self, vm: &VmId, disk: &DiskName, to: &Disk, speed: Bandwidth) -> Result<()> {
        let to = target(to)?.to_xml();
        self.begin(vm, disk, move |begin| Ok(ffi::copy(&begin.machine.domain, &begin.name, &text(&to), rate(speed))))
            .await
    }

    async fn pivot(&self, vm: &VmId, disk: &DiskName) -> Result<()> {
        self.end(vm, disk, true).await
    }

    async fn abort(&self, vm: &VmId, disk: &DiskName) -> Result<()> {
        self.end(vm, disk, false).await
    }
}

/// What a job begins with.
struct Begin<'a> {
    task: &'a Task<'a>,
    machine: &'a Machine,
    /// The disk as libvirt's calls name it, and as the live document has it.
    name: CString,
    disk: &'a Disk,
}

impl Begin<'_> {
    fn check_below(&self, base: &DiskPath) -> Result<(), Failure> {
        let below = std::iter::successors(self.disk.backing_store.as_deref(), |store| store.backing_store.as_deref());
        match below.filter_map(path).any(|path| path == base.as_str()) {
            true => Ok(()),
            false => {
                Err(self.task.error(ErrorKind::InvalidInput, format!("{base} is not below the disk's image")).into())
            }
        }
    }
}

impl Libvirt {
    /// Begins a job on a disk that has none.
    async fn begin(
        &self,
        vm: &VmId,
        disk: &DiskName,
        call: impl FnOnce(&Begin<'_>) -> Result<Result<(), LibvirtError>, Failure> + Send + 'static,
    ) -> Result<()> {
        let (id, name) = (*vm, disk.clone());
        self.work("begin a block job of", vm_resource(&id), move |task| {
            let machine = task.active_machine(&id)?;
            let check = || {
                let disk = find(task, &machine, &name)?;
                match job(&machine, &name, &disk)? {
                    Some(job) => {
                        let message = format!("a {} of disk {name} of {} is under way", job.kind, task.resource());
                        Err(task.error(ErrorKind::Busy, message).into())
                    }
                    None => Ok(disk),
                }
            };
            let disk = check()?;
            let begin = Begin { task, machine: &machine, name: text(name.as_str()), disk: &disk };
            call(&begin)?.map_err(|e| looked_again(e, || check().map(drop), |e| refused(task, &machine, e)))
        })
        .await
    }

    /// Ends the job of a disk.
    async fn end(&self, vm: &VmId, disk: &DiskName, pivot: bool) -> Result<()> {
        let (id, name) = (*vm, disk.clone());
        self.work("end a block job of", vm_resource(&id), move |task| {
            let machine = task.active_machine(&id)?;
            let check = || match job(&machine, &name, &find(task, &machine, &name)?)? {
                None => Err(task.invalid_state(format!("has no block job on disk {name}")).into()),
                Some(job) if pivot && !job.ready => {
                    Err(task.invalid_state(format!("has a {} of disk {name} that is not ready", job.kind)).into())
                }
                Some(_) => Ok(()),
            };
            check()?;
            let ended = ffi::end(&machine.domain, &text(name.as_str()), pivot);
            ended.map_err(|e| looked_again(e, check, |e| refused(task, &machine, e)))
        })
        .await
    }
}

/// The disk in the live document.
fn find(task: &Task<'_>, machine: &Machine, name: &DiskName) -> Result<Disk, Failure> {
    let live: Domain = document::read(task, &machine.domain.xml_desc(0)?)?;
    let mut disks = live.devices.into_iter().flat_map(|devices| devices.disk);
    let found = disks.find(|disk| disk.target.as_ref().and_then(|target| target.dev.as_ref()) == Some(name));
    found.ok_or_else(|| task.error(ErrorKind::NotFound, format!("{} has no disk {name}", task.resource())).into())
}

fn job(machine: &Machine, name: &DiskName, disk: &Disk) -> Result<Option<BlockJob>, LibvirtError> {
    let Some(info) = ffi::info(&machine.domain, &text(name.as_str()))? else { return Ok(None) };
    let kind = match info.kind {
        sys::VIR_DOMAIN_BLOCK_JOB_TYPE_PULL => BlockJobKind::Pull,
        sys::VIR_DOMAIN_BLOCK_JOB_TYPE_COPY => BlockJobKind::Copy,
        sys::VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT | sys::VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT => BlockJobKind::Commit,
        _ => BlockJobKind::Other,
    };
    // Figures that are equal mean nothing: they are so before the first block has moved, too.
    let ready = disk.mirror.as_ref().is_some_and(|mirror| mirror.ready == Some(MirrorReady::Yes));
    Ok(Some(BlockJob { kind, done: Bytes::new(info.done), total: Bytes::new(info.total), ready }))
}

fn path(store: &BackingStore) -> Option<&str> {
    let source = store.source.as_ref()?;
    source.file.as_deref().or(source.dev.as_deref())
}

/// The document of the image that is copied into.
fn target(to: &Disk) -> Result<Disk> {
    let source = to.source.as_ref().filter(|source| source.file.is_some() || source.dev.is_some());
    let source = source.ok_or_else(|| Error::invalid("source", "the copy's document names no file or device"))?;
    let format = to.driver.as_ref().and_then(|driver| driver.r#type);
    Ok(Disk {
        r#type: to.r#type,
        driver: Some(DiskDriver { r#type: format, ..DiskDriver::default() }),
        source: Some(DiskSource { file: source.file.clone(), dev: source.dev.clone(), ..DiskSource::default() }),
        ..Disk::default()
    })
}

fn rate(speed: Bandwidth) -> u64 {
    speed.bytes_per_second().map_or(0, Bytes::get)
}

/// What it means that libvirt did not do it, after looking again found no other reason.
fn refused(task: &Task<'_>, machine: &Machine, e: LibvirtError) -> Failure {
    match (e.os_error(), e.kind()) {
        _ if task.session().is_lost() => e.into(),
        (Some(libc::ENOENT | libc::ENOTDIR | libc::EISDIR), _) => {
            task.invalid_state("cannot reach the image").with_source(e).into()
        }
        (_, None | Some(ErrorKind::InvalidInput)) => match machine.domain.is_active() {
            Ok(false) => task.not_running().with_source(e).into(),
            _ => task.invalid_state("cannot do that as it is").with_source(e).into(),
        },
        (_, Some(_)) => e.into(),
    }
}
