//! What a snapshot leaves whose host or daemon died on it: files that no record knows, and disks of which some were merged.

use kvm_core::op::{Step as _, StepContext};
use kvm_core::{
    Bandwidth, Bytes, Device, DiskPath, Error, ErrorKind, Host, OpenImages, Resource, Result, View, VolumeInfo,
};
use serde::{Deserialize, Serialize};

use super::block_job::{Pivot, Place, Subject};
use super::relocate::is_older;
use super::unless_gone;
use crate::block_job::facet;
use crate::chain::normal;
use crate::volume::content;

/// An overlay of this size holds nothing: it is made of clusters of 64 KiB, of which four describe it.
const EMPTY: Bytes = Bytes::from_kib(256);

/// Whether an overlay went when it was merged, by an attempt that came no further.
pub(crate) async fn is_gone(host: &Host, overlay: &DiskPath, base: &DiskPath) -> Result<bool> {
    // The pool that has the one would know the other.
    let is_beside = overlay.as_path().parent() == base.as_path().parent();
    Ok(is_beside && volume_at(host, base).await?.is_some() && volume_at(host, overlay).await?.is_none())
}

/// The volume at a path, as the pools saw it last.
pub(super) async fn volume(cx: &StepContext<'_>, path: &DiskPath) -> Result<Option<VolumeInfo>> {
    volume_at(cx.host, path).await
}

async fn volume_at(host: &Host, path: &DiskPath) -> Result<Option<VolumeInfo>> {
    match host.storage.volume_at(path).await {
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
    /// The hypervisor is at it.
    Underway,
    /// The machine is in the image below.
    Yes,
    /// So it is, and the hypervisor died before it wrote that down: its documents name an overlay that is used no more.
    Unnoticed,
}

impl Merge {
    /// Where the machine is, which has these images open. The pools have looked before.
    pub(super) async fn look(&self, cx: &StepContext<'_>, opened: Option<&OpenImages>) -> Result<Merged> {
        if !self.images(cx).await?.contains(&normal(self.overlay.as_str())) {
            return Ok(Merged::Yes);
        }
        // The hypervisor may have died between the end of the merge and the overlay's.
        let is_left =
            opened.is_some_and(|opened| opened.used.contains(&self.base) && !opened.used.contains(&self.overlay));
        match is_left || is_gone(cx.host, &self.overlay, &self.base).await? {
            true => Ok(Merged::Unnoticed),
            false if self.disk.is_filling(cx, &self.base).await? => Ok(Merged::Underway),
            false => Ok(Merged::No),
        }
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
        if matches!(how_far, Merged::Yes | Merged::Unnoticed) {
            return pivot.configure(cx).await;
        }
        if self.images(cx).await?.first() != Some(&normal(self.overlay.as_str())) {
            return Err(stuck("and the VM writes to another image by now"));
        }
        let (id, disk) = (&self.disk.id, self.disk.disk()?);
        if how_far == Merged::No {
            facet(cx.host)?.commit(id, disk, &self.base, Bandwidth::UNLIMITED).await?;
        }
        self.disk.wait(cx, &format!("merge {} of {}", self.disk.device, self.disk.name)).await?;
        pivot.apply(cx).await
    }

    /// A merge that was cut short and a guest that wrote after its end look the same once the machine is off: the image
    /// below was written to after the overlay. What is right then is for a person to say.
    pub(super) async fn check_age(&self, cx: &StepContext<'_>) -> Result<()> {
        if !self.images(cx).await?.contains(&normal(self.overlay.as_str())) {
            return Ok(());
        }
        let (Some(overlay), Some(base)) = (volume(cx, &self.overlay).await?, volume(cx, &self.base).await?) else {
            return Ok(());
        };
        if overlay.allocation <= EMPTY {
            return Ok(());
        }
        let document = async |volume: &VolumeInfo| content(cx.host)?.definition(&volume.pool, &volume.name).await;
        if !is_older(&document(&overlay).await?, &document(&base).await?) {
            return Ok(());
        }
        let (vm, disk, overlay, base) = (&self.disk.name, &self.disk.device, &self.overlay, &self.base);
        let message = format!("{base} was written to after {overlay}, which was about to be merged into it");
        Err(Error::new(ErrorKind::InvalidState, message).on(self.disk.vm()).with_detail(format!(
            "either the merge was complete and the guest went on in {base}, or it was cut short and {overlay} is needed\n\
             look at what both show; nothing was changed\n\
             if it was complete, edit the definition of {vm} so that {disk} is {base}\n\
             if it was cut short, `touch` {overlay}\n\
             then delete the snapshot again"
        )))
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
