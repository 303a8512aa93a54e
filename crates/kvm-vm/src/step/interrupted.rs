//! What a snapshot leaves whose host or daemon died on it: files that no record knows, and disks of which some were merged.

use std::collections::BTreeSet;

use kvm_core::op::{Step as _, StepContext};
use kvm_core::{Bandwidth, Device, DiskPath, Error, ErrorKind, Resource, Result, View, VolumeInfo};
use serde::{Deserialize, Serialize};

use super::block_job::{Pivot, Place, Subject};
use super::unless_gone;
use crate::block_job::facet;
use crate::chain::normal;

/// The volume at a path, as the pools saw it last.
pub(super) async fn volume(cx: &StepContext<'_>, path: &DiskPath) -> Result<Option<VolumeInfo>> {
    match cx.host.storage.volume_at(path).await {
        Ok(volume) => Ok(Some(volume)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes a file that is a volume of a pool.
pub(super) async fn remove(cx: &StepContext<'_>, path: &DiskPath) -> Result<()> {
    match volume(cx, path).await? {
        Some(volume) => unless_gone(cx.host.storage.delete_volume(&volume.pool, &volume.name).await),
        None => Ok(()),
    }
}

/// A disk whose overlay goes into the image below when a snapshot is deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Merge {
    #[serde(flatten)]
    pub(crate) disk: Subject,
    pub(crate) overlay: DiskPath,
    pub(crate) base: DiskPath,
}

/// How far a merge has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// Nothing has changed.
    No,
    /// The machine is in the image below.
    Yes,
    /// So it is, and the hypervisor died before it wrote that down: its documents name an overlay that is gone.
    Unnoticed,
}

impl Merge {
    /// Where the machine is, which has these images open. The pools have looked before.
    pub(super) async fn look(&self, cx: &StepContext<'_>, opened: Option<&BTreeSet<DiskPath>>) -> Result<Merged> {
        if !self.images(cx).await?.contains(&normal(self.overlay.as_str())) {
            return Ok(Merged::Yes);
        }
        let is_beside = self.overlay.as_path().parent() == self.base.as_path().parent();
        // The pool that has the one would know the other.
        let is_gone =
            is_beside && volume(cx, &self.base).await?.is_some() && volume(cx, &self.overlay).await?.is_none();
        // The hypervisor may have died between the end of the merge and the overlay's.
        let is_left = opened.is_some_and(|opened| opened.contains(&self.base) && !opened.contains(&self.overlay));
        Ok(if is_gone || is_left { Merged::Unnoticed } else { Merged::No })
    }

    /// Does the rest for this disk. `InvalidState` when that cannot be done for one disk alone.
    pub(super) async fn finish(&self, cx: &StepContext<'_>, how_far: Merged) -> Result<()> {
        let stuck = |why: &str| {
            let message = format!("{} of {} was not merged, {why}", self.disk.device, self.disk.name);
            Error::new(ErrorKind::InvalidState, message).on(Resource::Vm(self.disk.name.as_str().to_owned()))
        };
        let base = volume(cx, &self.base).await?.ok_or_else(|| stuck("and no pool knows the image below"))?;
        let to = Place { path: self.base.clone(), format: base.format.unwrap_or("raw".into()), is_block: false };
        let pivot = Pivot { disk: self.disk.clone(), from: self.overlay.clone(), to };
        if how_far != Merged::No {
            return pivot.configure(cx).await;
        }
        if self.images(cx).await?.first() != Some(&normal(self.overlay.as_str())) {
            return Err(stuck("and the VM writes to another image by now"));
        }
        let (id, disk) = (&self.disk.id, self.disk.disk()?);
        facet(cx.host)?.commit(id, disk, &self.base, Bandwidth::UNLIMITED).await?;
        self.disk.wait(cx, &format!("merge {} of {}", self.disk.device, self.disk.name)).await?;
        pivot.apply(cx).await
    }

    /// The files of the disk, the one that is written to first.
    async fn images(&self, cx: &StepContext<'_>) -> Result<Vec<String>> {
        let document = cx.host.hypervisor.definition(&self.disk.id, View::LIVE).await?;
        let Some(Device::Disk(disk)) = self.disk.device.find(&document) else { return Ok(Vec::new()) };
        let below = std::iter::successors(disk.backing_store.as_deref(), |store| store.backing_store.as_deref());
        let sources = std::iter::once(disk.source.as_ref()).chain(below.map(|store| store.source.as_ref()));
        Ok(sources.flatten().filter_map(|source| source.file.as_deref()).map(normal).collect())
    }
}
