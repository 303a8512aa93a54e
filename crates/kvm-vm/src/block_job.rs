//! Images of running machines that are merged, completed and moved while their guests go on.

use std::collections::BTreeSet;

use kvm_core::op::{PlanLine, Step};
use kvm_core::{
    BlockJobs, Device, DeviceRef, DiskPath, Error, ErrorKind, Host, Impact, Resource, Result, VmName, VmSummary,
};
use kvm_image::graph::{Name, Operation, User, Verdict};
use kvm_xml::domain::Disk as XmlDisk;
use kvm_xml::value::DiskName;

use crate::chain::{DiskGraph, disk_graph, normal};
use crate::copying::check_not_copied;
use crate::device::{Subject, source};
use crate::place::volume_name;
use crate::secret::is_encrypted_disk;
use crate::step::{DeleteVolume, Pivot, Place, StepSubject};

mod commit;
mod pull;
mod relocate;

pub use commit::{DiskCommit, plan_disk_commit};
pub use pull::{DiskPull, plan_disk_pull};
pub use relocate::{DiskMove, plan_disk_move};

/// What becomes of images that a machine does not use any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldImages {
    /// Those that are volumes and that nobody else uses are deleted.
    #[default]
    Delete,
    /// They stay.
    Keep,
}

/// What was under way when an image could not be changed, so that a surface can say where to look.
pub(crate) const CHECK_IMAGES: &str = "check-images";

/// The host's block jobs. `Unsupported` when it has none.
pub(crate) fn facet(host: &Host) -> Result<&dyn BlockJobs> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host has no jobs on disks of running VMs");
    host.hypervisor.block_jobs().ok_or_else(missing)
}

/// Refuses a commit that changes an image for somebody else.
pub(crate) fn check_commit(
    graph: &DiskGraph,
    vm: &VmName,
    disk: &DiskName,
    active: &DiskPath,
    base: &DiskPath,
) -> Result<()> {
    let operation = Operation::Commit { active: name(active), base: name(base) };
    allowed(graph, vm, disk, &operation, || format!("disk {disk} of {vm} cannot be committed into {base}"))
}

fn allowed(
    graph: &DiskGraph,
    vm: &VmName,
    disk: &DiskName,
    operation: &Operation,
    message: impl FnOnce() -> String,
) -> Result<()> {
    match graph.graph().may(operation, &BTreeSet::from([User::vm(vm.as_str(), disk.as_str())])) {
        Verdict::Allowed => Ok(()),
        Verdict::Refused { reasons } => {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            Err(Error::new(ErrorKind::InvalidState, message())
                .on(Resource::Vm(vm.as_str().to_owned()))
                .during(CHECK_IMAGES)
                .with_detail(reasons.join("\n")))
        }
    }
}

fn name(path: &DiskPath) -> Name {
    Name::path(normal(path.as_str()))
}

/// Has the pool that an image lies in look again, when it does not know the image: snapshots make files behind its back.
async fn look_again(host: &Host, image: &DiskPath) -> Result<()> {
    match host.storage.volume_at(image).await {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        found => return found.map(drop),
    }
    for pool in host.storage.pools().await?.into_iter().filter(|pool| pool.active) {
        let directory = image.as_path().parent();
        if pool.target.as_ref().is_some_and(|target| Some(target.as_path()) == directory) {
            host.storage.refresh_pool(&pool.name).await?;
        }
    }
    Ok(())
}

/// A disk of a machine with its image, and who else there is.
struct Target<'a> {
    host: &'a Host,
    vm: &'a VmSummary,
    subject: Subject<'a>,
    disk: DiskName,
    document: XmlDisk,
    image: Place,
    graph: DiskGraph,
}

impl<'a> Target<'a> {
    /// Reads what is known. `NotFound` without such a disk, `InvalidInput` when its image is no file or device, `Busy` while
    /// a job of the disk is under way.
    async fn read(host: &'a Host, vm: &'a VmSummary, disk: &DiskName) -> Result<Self> {
        // A machine that runs goes on in what runs; what is configured follows.
        let impact = if vm.state.is_active() { Impact::Live } else { Impact::Config };
        check_not_copied(host, vm).await?;
        let subject = Subject::read(host, vm, Some(impact)).await?;
        let key = DeviceRef::Disk(disk.clone());
        let Device::Disk(document) = subject.present(&key)? else {
            return Err(Error::internal("a disk was asked for"));
        };
        let path = source(&document).ok_or_else(|| {
            Error::invalid("target", format!("disk {disk} of {} has no image in a file or device", vm.name))
        })?;
        let on = Resource::Vm(vm.name.as_str().to_owned());
        if vm.state.is_active()
            && let Some(job) = facet(host)?.job(&vm.id, disk).await?
        {
            let message = format!("a {} of disk {disk} of {} is under way", job.kind, vm.name);
            return Err(Error::new(ErrorKind::Busy, message).on(on).with_detail("wait for its end, or abort it"));
        }
        if is_encrypted_disk(&document) {
            let message =
                format!("disk {disk} of {} is encrypted, and another image would hold it in the clear", vm.name);
            return Err(Error::new(ErrorKind::Unsupported, message).on(on));
        }
        let is_block = document.source.as_ref().is_some_and(|source| source.file.is_none());
        let format = document.driver.as_ref().and_then(|driver| driver.r#type);
        let format = format.map_or_else(|| "raw".to_owned(), |format| format.to_string());
        let image = Place { path: DiskPath::adopt(&normal(&path))?, format, is_block };
        look_again(host, &image.path).await?;
        let graph = disk_graph(host).await?;
        Ok(Self { host, vm, subject, disk: disk.clone(), document: *document, image, graph })
    }

    /// `InvalidState` when the machine is off.
    fn check_active(&self) -> Result<()> {
        if self.vm.state.is_active() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {}", self.vm.name, self.vm.state))
            .on(Resource::Vm(self.vm.name.as_str().to_owned()))
            .with_detail("start it first: its hypervisor does the work"))
    }

    fn step_subject(&self) -> StepSubject {
        StepSubject { id: self.vm.id, name: self.vm.name.clone(), device: DeviceRef::Disk(self.disk.clone()) }
    }

    /// The images below, the nearest first. `InvalidState` when they cannot be told for certain.
    fn below(&self) -> Result<Vec<DiskPath>> {
        let graph = self.graph.graph();
        let mut chain = Vec::new();
        let mut at = graph.find(&name(&self.image.path));
        while let Some(image) = at.map(|at| &graph.images()[at]) {
            let unclear = |why: &str| {
                Error::new(ErrorKind::InvalidState, format!("what {} lies upon {why}", image.name()))
                    .on(Resource::Vm(self.vm.name.as_str().to_owned()))
                    .during(CHECK_IMAGES)
            };
            at = match image.backing.len() {
                0 => None,
                1 => image.backing.first().copied(),
                _ => return Err(unclear("is not certain")),
            };
            if let Some(at) = at {
                let path = graph.images()[at].names.iter().find_map(|name| match name {
                    Name::Path { path } => DiskPath::adopt(path).ok(),
                    _ => None,
                });
                let path = path.ok_or_else(|| unclear("is no file"))?;
                if chain.contains(&path) {
                    return Err(unclear("leads back to itself"));
                }
                chain.push(path);
            }
        }
        Ok(chain)
    }

    /// How an image is opened, by the pool that it is in or the image above it.
    fn place(&self, path: &DiskPath) -> Result<Place> {
        let volume = self.graph.volume_at(&normal(path.as_str()));
        let stores = std::iter::successors(self.document.backing_store.as_deref(), |s| s.backing_store.as_deref());
        let told = stores.into_iter().find_map(|store| {
            let is_it = store.source.as_ref().and_then(|s| s.file.as_ref().or(s.dev.as_ref())).map(|p| normal(p));
            let format = store.format.as_ref()?.r#type?;
            (is_it.as_deref() == Some(path.as_str())).then(|| format.to_string())
        });
        // What runs knows better than what the pool saw last.
        let format = told.or_else(|| volume.and_then(|volume| volume.format.clone()));
        let format = format.ok_or_else(|| Error::invalid("base", format!("the format of {path} is not known")))?;
        Ok(Place { path: path.clone(), format, is_block: false })
    }

    /// What becomes of images that the machine does not use any more.
    fn leave(&self, old: &[DiskPath], wanted: OldImages, (lines, steps): &mut (Vec<PlanLine>, Vec<Box<dyn Step>>)) {
        let partners = BTreeSet::from([User::vm(self.vm.name.as_str(), self.disk.as_str())]);
        for path in old {
            let Some(volume) = self.graph.volume_at(&normal(path.as_str())) else {
                lines.push(PlanLine::new("keep", "file", path.as_str()).note("in no active pool"));
                continue;
            };
            let shown = volume_name(volume);
            // All of them lose their user together.
            let may = self.graph.graph().may(&Operation::delete(old.iter().map(name)), &partners);
            let why = match (wanted, may) {
                (OldImages::Keep, _) => Some(format!("{} on disk", volume.allocation)),
                (OldImages::Delete, Verdict::Refused { reasons }) => reasons.first().map(ToString::to_string),
                (OldImages::Delete, Verdict::Allowed) => None,
            };
            match why {
                Some(why) => lines.push(PlanLine::new("keep", "volume", shown).note(why)),
                None => {
                    lines.push(PlanLine::new("remove", "volume", shown).note(format!("{} on disk", volume.allocation)));
                    let (pool, path, size) = (volume.pool.clone(), volume.path.clone(), volume.capacity);
                    steps.push(Box::new(DeleteVolume { pool, volume: volume.name.clone(), path, size, vm: None }));
                }
            }
        }
    }

    /// The step after which the machine is in the other image.
    fn pivot(&self, to: Place) -> Pivot {
        Pivot { disk: self.step_subject(), from: self.image.path.clone(), to }
    }

    /// How a plan calls an image.
    fn shown(&self, path: &DiskPath) -> (&'static str, String) {
        match self.graph.volume_at(&normal(path.as_str())) {
            Some(volume) => ("volume", volume_name(volume)),
            None => ("file", path.as_str().to_owned()),
        }
    }
}
