//! Taking snapshots, going back to them and deleting them as part of a plan.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Probe, Step, StepContext};
use kvm_core::{
    DiskPath, Error, ErrorKind, Host, OpenImages, PoolName, Progress, Remove, Resource, Result, Revert, SnapshotInfo,
    SnapshotName, SnapshotPlace, SnapshotSpec, View, VmId, VmName, VmRef, VmState,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::interrupted::{Merge, Merged, remove};
use super::stray::Stray;
use super::{to_json, unless_gone};
use crate::copying::{COPYING, is_copied};
use crate::snapshot::snapshots;

/// Takes a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateSnapshot {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) spec: SnapshotSpec,
    /// The pools that get files of it behind their back.
    pub(crate) pools: Vec<PoolName>,
}

impl CreateSnapshot {
    pub(crate) const NAME: &'static str = "take-snapshot";

    /// Whether the one that is there is as this step makes it.
    fn made(&self, found: &SnapshotInfo) -> bool {
        let is_described = found.description.as_deref().unwrap_or_default()
            == self.spec.description.as_ref().map(|text| text.as_str()).unwrap_or_default();
        let overlays = match &self.spec.place {
            SnapshotPlace::Internal => Vec::new(),
            SnapshotPlace::External { overlays, .. } => overlays.iter().map(|overlay| &overlay.path).collect(),
        };
        let theirs = found.disks.iter().filter_map(|disk| disk.overlay.as_ref());
        is_described && theirs.eq(overlays)
    }

    /// Looks for the snapshot where an attempt may have come to something; what files that left is cleared away when
    /// there is none.
    async fn find_or_clear(&self, cx: &StepContext<'_>) -> Result<Option<SnapshotInfo>> {
        if let Some(found) = find(cx, &self.id, &self.spec.name).await? {
            return Ok(Some(found));
        }
        let has_looked = look_again(cx, &self.pools).await && !self.pools.is_empty();
        let SnapshotPlace::External { overlays, memory } = &self.spec.place else { return Ok(None) };
        let stray = Stray { id: &self.id, name: &self.name, overlays, memory: memory.as_ref() };
        let mut opened = None;
        // Where nothing has come of it nobody needs to ask, which the hypervisor would mark the machine for.
        if !has_looked || stray.any_is_there(cx).await? {
            opened = stray.opened(cx).await?;
            // The hypervisor may have been at work on it still.
            if let Some(found) = find(cx, &self.id, &self.spec.name).await? {
                return Ok(Some(found));
            }
        }
        let left = stray.leave(cx, opened.as_ref()).await?;
        if !left.is_empty() {
            look_again(cx, &self.pools).await;
        }
        stray.remove(cx, &left).await.map(|()| None)
    }
}

#[async_trait]
impl Step for CreateSnapshot {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("take snapshot {} of {}", self.spec.name, self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        match find(cx, &self.id, &self.spec.name).await? {
            None => Ok(Probe::Pending),
            Some(held) if held.name.as_str() == COPYING && !self.made(&held) => Err(is_copied(&self.name, &held)),
            Some(_) => Ok(Probe::Done),
        }
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        // What came or went behind the back of a pool would else be in the way.
        look_again(cx, &self.pools).await;
        if cx.attempt == Attempt::Again && self.find_or_clear(cx).await?.is_some() {
            look_again(cx, &self.pools).await;
            return Ok(());
        }
        match snapshots(cx.host)?.create(&self.id, &self.spec).await {
            // Another program was faster since it was looked for.
            Err(e) if e.kind() == ErrorKind::AlreadyExists && self.spec.name.as_str() == COPYING => {
                let held = find(cx, &self.id, &self.spec.name).await?;
                return Err(held.map_or(e, |held| is_copied(&self.name, &held)));
            }
            created => created?,
        };
        look_again(cx, &self.pools).await;
        Ok(())
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let Some(found) = self.find_or_clear(cx).await? else { return Ok(()) };
        if !self.made(&found) {
            // Ours was given up by hand, and the next copy has begun.
            if found.name.as_str() == COPYING {
                return Ok(());
            }
            let message = format!(
                "snapshot {} of {} stays: it is not the one that this operation made",
                self.spec.name, self.name
            );
            return Err(Error::new(ErrorKind::InvalidState, message).on(resource(&self.name, &self.spec.name)));
        }
        unless_gone(snapshots(cx.host)?.delete(&self.id, &self.spec.name, Remove::Everything).await)?;
        look_again(cx, &self.pools).await;
        Ok(())
    }
}

/// What a machine was before it went back, as far as that shows: afterwards it is another process, in other overlays, or
/// at another snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    snapshot: Option<SnapshotName>,
    state: VmState,
    process: Option<u32>,
    images: Vec<String>,
}

impl Fingerprint {
    pub(crate) async fn read(host: &Host, id: &VmId) -> Result<Self> {
        let all = snapshots(host)?.list(id).await?;
        let document = host.hypervisor.definition(id, View::LIVE).await?;
        let images = kvm_core::disks_to_keep(&document).filter_map(|(_, disk)| crate::device::source(disk));
        Ok(Self {
            snapshot: all.into_iter().find(|snapshot| snapshot.current).map(|snapshot| snapshot.name),
            state: host.hypervisor.find(&VmRef::Id(*id)).await?.state,
            process: document.id,
            images: images.collect(),
        })
    }
}

/// Puts a machine back to a snapshot.
///
/// An internal snapshot of a machine that is off and was at it already leaves no trace of the revert: after a crash it
/// counts as not happened, and doing it once more gives the same.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RevertSnapshot {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) snapshot: SnapshotName,
    pub(crate) how: Revert,
    pub(crate) before: Fingerprint,
    pub(crate) pools: Vec<PoolName>,
}

impl RevertSnapshot {
    pub(crate) const NAME: &'static str = "revert-snapshot";
}

#[async_trait]
impl Step for RevertSnapshot {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("revert {} to snapshot {}", self.name, self.snapshot)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let now = Fingerprint::read(cx.host, &self.id).await?;
        let is_done = now.snapshot.as_ref() == Some(&self.snapshot) && now != self.before;
        Ok(if is_done { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        snapshots(cx.host)?.revert(&self.id, &self.snapshot, self.how).await?;
        look_again(cx, &self.pools).await;
        Ok(())
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("what a machine was before it went back cannot be brought back"))
    }
}

/// Deletes a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeleteSnapshot {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) snapshot: SnapshotName,
    pub(crate) what: Remove,
    pub(crate) pools: Vec<PoolName>,
    /// What goes into which image.
    #[serde(default)]
    pub(crate) merges: Vec<Merge>,
    /// Its file with the memory.
    #[serde(default)]
    pub(crate) memory: Option<DiskPath>,
}

impl DeleteSnapshot {
    pub(crate) const NAME: &'static str = "delete-snapshot";

    async fn is_active(&self, cx: &StepContext<'_>) -> Result<bool> {
        Ok(cx.host.hypervisor.find(&VmRef::Id(self.id)).await?.state.is_active())
    }

    /// Does disk by disk what an attempt began that its hypervisor did not survive: libvirt merges one disk after the other,
    /// and refuses to go on where the first one was merged. Gives the refusal back when none was.
    async fn complete(&self, cx: &StepContext<'_>, refusal: Error) -> Result<()> {
        let is_active = self.is_active(cx).await?;
        let machine = Stray { id: &self.id, name: &self.name, overlays: &[], memory: None };
        let opened = machine.opened(cx).await?;
        look_again(cx, &self.pools).await;
        let mut merges = Vec::with_capacity(self.merges.len());
        for merge in &self.merges {
            merges.push((merge, merge.look(cx, opened.as_ref()).await?));
        }
        if merges.iter().all(|(_, how_far)| *how_far == Merged::No) {
            return Err(refusal);
        }
        // What is merged only has to be written down, for which a machine need not run. It could not even start where its
        // overlay is gone.
        let is_merged = |how_far: Merged| matches!(how_far, Merged::Yes | Merged::Unnoticed);
        if !is_active && !merges.iter().all(|(_, how_far)| is_merged(*how_far)) {
            let message =
                format!("some disks of {} are merged and some are not, which goes on when it runs", self.name);
            let on = Resource::Vm(self.name.as_str().to_owned());
            return Err(Error::new(ErrorKind::InvalidState, message)
                .on(on)
                .with_detail("start the VM, then delete the snapshot again"));
        }
        for (merge, how_far) in merges {
            merge.finish(cx, how_far).await?;
            if how_far == Merged::Unnoticed {
                let is_idle =
                    |opened: &OpenImages| opened.all.difference(&opened.used).any(|image| *image == merge.overlay);
                if opened.as_ref().is_some_and(is_idle) {
                    machine.leave_one(cx, &merge.overlay).await?;
                }
                if is_active {
                    let message = format!(
                        "{} of {} is shown in {} until the VM is power-cycled: the hypervisor did not notice the end of the merge",
                        merge.disk.device, self.name, merge.overlay
                    );
                    cx.reporter.report(&Progress::Warning { message });
                }
            }
        }
        // The record last: it says what is left to do.
        for path in self.merges.iter().map(|merge| &merge.overlay).chain(&self.memory) {
            // Whatever a record says: what holds a state stays.
            if self.merges.iter().all(|merge| merge.base != *path) {
                remove(cx, path).await?;
            }
        }
        snapshots(cx.host)?.delete(&self.id, &self.snapshot, Remove::Record).await
    }
}

#[async_trait]
impl Step for DeleteSnapshot {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("delete snapshot {} of {}", self.snapshot, self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if find(cx, &self.id, &self.snapshot).await?.is_some() { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if !self.merges.is_empty() && !self.is_active(cx).await? {
            look_again(cx, &self.pools).await;
            for merge in &self.merges {
                merge.check_age(cx).await?;
            }
        }
        let deleted = match snapshots(cx.host)?.delete(&self.id, &self.snapshot, self.what).await {
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Unavailable | ErrorKind::Timeout) => {
                self.complete(cx, e).await
            }
            deleted => deleted,
        };
        unless_gone(deleted)?;
        look_again(cx, &self.pools).await;
        Ok(())
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a deleted snapshot cannot be brought back"))
    }
}

async fn find(cx: &StepContext<'_>, id: &VmId, name: &SnapshotName) -> Result<Option<SnapshotInfo>> {
    match snapshots(cx.host)?.list(id).await {
        Ok(all) => Ok(all.into_iter().find(|snapshot| snapshot.name == *name)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Has pools see the files that came and went. Not worth failing for: the snapshot is what it is. Whether all did.
async fn look_again(cx: &StepContext<'_>, pools: &[PoolName]) -> bool {
    let mut all = true;
    for pool in pools {
        if let Err(e) = cx.host.storage.refresh_pool(pool).await {
            let message = format!("pool {pool} could not look again: {e}");
            cx.reporter.report(&Progress::Warning { message });
            all = false;
        }
    }
    all
}

fn resource(vm: &VmName, name: &SnapshotName) -> Resource {
    Resource::Snapshot(format!("{}/{}", vm.as_str(), name.as_str()))
}
