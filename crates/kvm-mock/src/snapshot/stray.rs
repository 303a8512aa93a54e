//! Machines that are in overlays of which their documents know nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kvm_core::{BlockJob, BlockJobKind, DiskPath, Error, ErrorKind, Overlay, Resource, Result, VmId};
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

impl World {
    pub(super) fn open_images(&self, vm: &VmId) -> Result<BTreeSet<DiskPath>> {
        let machine = self.machine(vm)?;
        let strays = machine.running()?.strays.values().map(|stray| stray.overlay.clone());
        let named = document::disks(machine.current()).into_iter().filter_map(|disk| disk.path);
        let all = strays.chain(named).flat_map(|top| self.chain(&top));
        all.map(|path| DiskPath::adopt(&path)).collect()
    }

    pub(super) fn leave_overlay(&mut self, vm: &VmId, overlay: &DiskPath, now: Timestamp) -> Result<Option<BlockJob>> {
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
}

fn refused(vm: &VmId, why: &str) -> Error {
    Error::new(ErrorKind::InvalidState, why).on(Resource::Vm(vm.to_string()))
}
