//! Machines that are in other images than their documents say.

use jiff::Timestamp;
use kvm_core::{BlockJob, BlockJobKind, DiskPath, Error, ErrorKind, OpenImages, Overlay, Resource, Result, VmId};
use serde::{Deserialize, Serialize};

use crate::block_job::Job;
use crate::document;
use crate::world::World;

/// An overlay that a process has open on top of the image that its document names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stray {
    overlay: String,
    /// The merge, once it was asked for.
    job: Option<Job>,
}

/// An overlay that was merged into the image below, in which the process goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Left {
    overlay: String,
    base: String,
    is_open: bool,
}

impl World {
    pub(super) fn open_images(&self, vm: &VmId) -> Result<OpenImages> {
        let machine = self.machine(vm)?;
        let running = machine.running()?;
        let top = |disk: document::Disk| {
            let stray = running.strays.get(&disk.target).map(|stray| &stray.overlay);
            stray.or_else(|| running.left.get(&disk.target).map(|left| &left.base)).cloned().or(disk.path)
        };
        let used: Vec<_> = document::disks(machine.current()).into_iter().filter_map(top).collect();
        let idle = running.left.values().filter(|left| left.is_open).map(|left| left.overlay.clone());
        let all = used.iter().cloned().chain(idle).flat_map(|top| self.chain(&top));
        let all = all.map(|path| DiskPath::adopt(&path)).collect::<Result<_>>()?;
        Ok(OpenImages { all, used: used.iter().map(|path| DiskPath::adopt(path)).collect::<Result<_>>()? })
    }

    pub(super) fn leave_overlay(&mut self, vm: &VmId, overlay: &DiskPath, now: Timestamp) -> Result<Option<BlockJob>> {
        let is_left = |left: &&mut Left| left.overlay == overlay.as_str();
        if let Some(left) = self.machine_mut(vm)?.running_mut()?.left.values_mut().find(is_left) {
            left.is_open = false;
            return Ok(None);
        }
        let machine = self.machine(vm)?;
        let strays = &machine.running()?.strays;
        let found = strays.iter().find(|(_, stray)| stray.overlay == overlay.as_str());
        let Some((target, job)) = found.map(|(target, stray)| (target.clone(), stray.job.clone())) else {
            let mut named = document::disks(machine.current()).into_iter().filter_map(|disk| disk.path);
            return match named.any(|top| self.chain(&top).iter().any(|path| path == overlay.as_str())) {
                true => Err(refused(vm, "the VM's document names the overlay")),
                false => Ok(None),
            };
        };
        let base = self.chain(overlay.as_str()).into_iter().nth(1);
        let base = base.ok_or_else(|| refused(vm, "there is no image below the overlay"))?;
        let job = match job {
            Some(job) if job.info(now).ready => {
                self.merge(overlay.as_str(), &base);
                self.machine_mut(vm)?.running_mut()?.strays.remove(&target);
                return Ok(None);
            }
            Some(job) => job,
            None => {
                let work = self.files.get(overlay.as_str()).map_or(0, crate::file::SparseFile::allocated);
                Job::new(BlockJobKind::Commit, work, Some(&base), now)
            }
        };
        let info = job.info(now);
        let stray = Stray { overlay: overlay.as_str().to_owned(), job: Some(job) };
        self.machine_mut(vm)?.running_mut()?.strays.insert(target, stray);
        Ok(Some(info))
    }

    /// Has a machine go on in a new overlay, and tells nobody.
    pub(crate) fn stray(&mut self, vm: &VmId, into: &Overlay) -> Result<()> {
        self.machine(vm)?.running()?;
        self.new_overlay(vm, into.disk.as_str(), into.path.as_str())?;
        let stray = Stray { overlay: into.path.as_str().to_owned(), job: None };
        self.machine_mut(vm)?.running_mut()?.strays.insert(into.disk.as_str().to_owned(), stray);
        Ok(())
    }

    /// Merges the overlay that a machine is in and has it go on in the image below, and tells nobody.
    pub(crate) fn leave_unnoticed(&mut self, vm: &VmId, overlay: &Overlay) -> Result<()> {
        self.machine(vm)?.running()?;
        let top = overlay.path.as_str();
        let base = self.chain(top).into_iter().nth(1).ok_or_else(|| refused(vm, "there is no image below it"))?;
        self.merge(top, &base);
        let left = Left { overlay: top.to_owned(), base, is_open: true };
        self.machine_mut(vm)?.running_mut()?.left.insert(overlay.disk.as_str().to_owned(), left);
        Ok(())
    }

    /// A hypervisor merges nothing that it believes to be elsewhere.
    pub(super) fn refuse_left(&self, vm: &VmId) -> Result<()> {
        match self.machine(vm)?.running() {
            Ok(running) if !running.left.is_empty() => Err(refused(vm, "the process is not where its document says")),
            _ => Ok(()),
        }
    }
}

fn refused(vm: &VmId, why: &str) -> Error {
    Error::new(ErrorKind::InvalidState, why).on(Resource::Vm(vm.to_string()))
}
