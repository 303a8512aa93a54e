//! Making and deleting volumes.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, PoolName, Progress, Resource, Result, VmId, VolumeInfo, VolumeName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{document, to_json, unless_gone};
use crate::chain::volume_key;
use crate::place::volume_name;
use crate::usage::users;

/// What a new volume may take on the host before anything is written to it; the keys of an encrypted one take two MiB.
const EMPTY: Bytes = Bytes::from_mib(4);

/// Makes an empty volume.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateVolume {
    pub(crate) pool: PoolName,
    pub(crate) volume: VolumeName,
    /// Where the machine's document says that it is.
    pub(crate) path: DiskPath,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    /// Whether it takes space only as it is written.
    pub(crate) grows: bool,
    pub(crate) document: String,
    /// Whether it takes a copy of what is somewhere else: then it is deleted again whatever was written to it.
    #[serde(default)]
    pub(crate) is_copy: bool,
}

impl CreateVolume {
    pub(crate) const NAME: &'static str = "create-volume";

    /// The same for a copy of what is somewhere else.
    pub(crate) fn for_a_copy(self) -> Self {
        Self { is_copy: true, ..self }
    }

    async fn find(&self, cx: &StepContext<'_>) -> Result<Option<VolumeInfo>> {
        find(cx, &self.pool, &self.volume).await
    }

    /// Why the volume that is there must stay; `None` when it is as this step left it.
    async fn claim(&self, cx: &StepContext<'_>, volume: &VolumeInfo) -> Result<Option<String>> {
        if volume.capacity != self.size {
            return Ok(Some("it is not the one that this operation made".into()));
        }
        // The operation may be undone long after it was interrupted, and the machine may have run meanwhile.
        if self.grows && !self.is_copy && volume.allocation > EMPTY.saturating_add(Bytes::new(self.size.get() >> 20)) {
            return Ok(Some(format!("{} were written to it since", volume.allocation)));
        }
        Ok(users(cx.host, &volume_key(volume), None).await?.describe())
    }
}

#[async_trait]
impl Step for CreateVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("create volume {}/{}, {}", self.pool, self.volume, self.size)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if self.find(cx).await?.is_some() { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let made = cx.host.storage.create_volume(&self.pool, &document(&self.document)?).await?;
        let path = made.host_path()?;
        if *path == self.path {
            return Ok(());
        }
        Err(Error::internal(format!("the host made the volume at {path}, not at {}", self.path))
            .on(Resource::Volume(volume_name(&made))))
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let Some(volume) = self.find(cx).await? else { return Ok(()) };
        if let Some(why) = self.claim(cx, &volume).await? {
            return Err(Error::new(
                ErrorKind::InvalidState,
                format!("volume {}/{} stays: {why}", self.pool, self.volume),
            )
            .on(Resource::Volume(volume_name(&volume))));
        }
        unless_gone(cx.host.storage.delete_volume(&self.pool, &self.volume).await)
    }
}

/// Deletes a volume with its data.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeleteVolume {
    pub(crate) pool: PoolName,
    pub(crate) volume: VolumeName,
    /// `None` of one that is reached over the network.
    pub(crate) path: Option<DiskPath>,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    /// The machine that it goes with; `None` when the machine stays, and may not use it any more either.
    pub(crate) vm: Option<VmId>,
}

impl DeleteVolume {
    pub(crate) const NAME: &'static str = "delete-volume";

    /// Why the volume must stay after all: between the plan and now somebody may have put it to use.
    async fn objection(&self, cx: &StepContext<'_>, volume: &VolumeInfo) -> Result<Option<String>> {
        if volume.capacity != self.size || volume.path != self.path {
            return Ok(Some("it is another one than in the plan".into()));
        }
        Ok(users(cx.host, &volume_key(volume), self.vm.as_ref()).await?.objection())
    }
}

#[async_trait]
impl Step for DeleteVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("delete volume {}/{}", self.pool, self.volume)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let found = find(cx, &self.pool, &self.volume).await?;
        Ok(if found.is_some() { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let Some(volume) = find(cx, &self.pool, &self.volume).await? else { return Ok(()) };
        if let Some(why) = self.objection(cx, &volume).await? {
            // The machine, or its disk, is gone, so the operation has to end; what is in use is worth more than the plan.
            let message = format!("volume {}/{} is kept: {why}", self.pool, self.volume);
            cx.reporter.report(&Progress::Warning { message });
            return Ok(());
        }
        unless_gone(cx.host.storage.delete_volume(&self.pool, &self.volume).await)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a deleted volume cannot be brought back"))
    }
}

pub(super) async fn find(cx: &StepContext<'_>, pool: &PoolName, volume: &VolumeName) -> Result<Option<VolumeInfo>> {
    match cx.host.storage.find_volume(pool, volume).await {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
