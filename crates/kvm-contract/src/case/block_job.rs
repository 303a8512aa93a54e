//! Jobs on the images of running machines.

use std::time::Duration;

use kvm_core::{
    Bandwidth, BlockJob, BlockJobKind, BlockJobs, DiskPath, Error, ErrorKind, Existing, PoolName, PowerAction, View,
    VmId, VolumeInfo,
};
use kvm_xml::domain::Devices;
use kvm_xml::value::DiskName;
use kvm_xml::volume::{VolumeBackingStore, VolumeFormat, VolumeFormatType};

use crate::case::{Failure, cases, holds, refused, same};
use crate::cx::{Cx, qcow2_disk, volume};

const DISK_BYTES: u64 = 8 << 20;
const ANY: Bandwidth = Bandwidth::UNLIMITED;
/// How often a case looks what has become of a job.
const LOOK: Duration = Duration::from_millis(100);

cases! { CASES in "block_jobs" on Cx;
    /// A disk on which nothing is under way has no job, and none to end.
    async fn a_quiet_disk_has_no_job(cx) {
        let (id, vda, _) = running(cx).await?;
        same("job", facet(cx)?.job(&id, &vda).await?, None)?;
        refused(facet(cx)?.pivot(&id, &vda).await, ErrorKind::InvalidState)?;
        refused(facet(cx)?.abort(&id, &vda).await, ErrorKind::InvalidState)
    }

    /// A copy becomes ready; until then, and until it is pivoted to, the machine stays in its image. Afterwards both
    /// documents have the copy.
    async fn a_copy_is_gone_over_to(cx) {
        let (id, vda, images) = running(cx).await?;
        let copy = spare(cx, &images).await?;
        facet(cx)?.copy(&id, &vda, &qcow2_disk(copy.host_path()?.as_str(), "vda")?, ANY).await?;
        let job = ready(cx, &id, &vda).await?;
        same("kind", job.kind, BlockJobKind::Copy)?;
        same("image while it is copied", image(cx, &id, View::LIVE).await?, images.overlay.host_path()?.to_string())?;
        facet(cx)?.pivot(&id, &vda).await?;
        same("job afterwards", facet(cx)?.job(&id, &vda).await?, None)?;
        same("image that runs", image(cx, &id, View::LIVE).await?, copy.host_path()?.to_string())?;
        same("image of the next start", image(cx, &id, View::CONFIG).await?, copy.host_path()?.to_string())?;
        cx.storage().refresh_pool(&copy.pool).await?;
        same("what the copy lies upon", cx.storage().find_volume(&copy.pool, &copy.name).await?.backing, None)
    }

    /// A copy that is given up changes nothing, and another can begin.
    async fn a_copy_that_is_given_up_changes_nothing(cx) {
        let (id, vda, images) = running(cx).await?;
        let copy = spare(cx, &images).await?;
        let to = qcow2_disk(copy.host_path()?.as_str(), "vda")?;
        facet(cx)?.copy(&id, &vda, &to, ANY).await?;
        facet(cx)?.abort(&id, &vda).await?;
        same("job afterwards", facet(cx)?.job(&id, &vda).await?, None)?;
        same("image that runs", image(cx, &id, View::LIVE).await?, images.overlay.host_path()?.to_string())?;
        same("image of the next start", image(cx, &id, View::CONFIG).await?, images.overlay.host_path()?.to_string())?;
        facet(cx)?.copy(&id, &vda, &to, ANY).await?;
        ready(cx, &id, &vda).await.map(drop)
    }

    /// A commit becomes ready, and the machine goes on in the base.
    async fn a_commit_ends_in_its_base(cx) {
        let (id, vda, images) = running(cx).await?;
        facet(cx)?.commit(&id, &vda, images.base.host_path()?, ANY).await?;
        let job = ready(cx, &id, &vda).await?;
        same("kind", job.kind, BlockJobKind::Commit)?;
        facet(cx)?.pivot(&id, &vda).await?;
        same("image that runs", image(cx, &id, View::LIVE).await?, images.base.host_path()?.to_string())?;
        same("image of the next start", image(cx, &id, View::CONFIG).await?, images.base.host_path()?.to_string())
    }

    /// A pull ends by itself; the image then lies upon nothing.
    async fn a_pull_ends_by_itself(cx) {
        let (id, vda, images) = running(cx).await?;
        facet(cx)?.pull(&id, &vda, None, ANY).await?;
        until(cx, "the end of the pull", async || Ok(facet(cx)?.job(&id, &vda).await?.is_none())).await?;
        same("image that runs", image(cx, &id, View::LIVE).await?, images.overlay.host_path()?.to_string())?;
        cx.storage().refresh_pool(&images.overlay.pool).await?;
        let overlay = cx.storage().find_volume(&images.overlay.pool, &images.overlay.name).await?;
        same("what the image lies upon", overlay.backing, None)
    }

    /// A disk has one job at a time.
    async fn a_second_job_is_busy(cx) {
        let (id, vda, images) = running(cx).await?;
        let (copy, facet) = (spare(cx, &images).await?, facet(cx)?);
        let to = qcow2_disk(copy.host_path()?.as_str(), "vda")?;
        facet.copy(&id, &vda, &to, ANY).await?;
        refused(facet.copy(&id, &vda, &to, ANY).await, ErrorKind::Busy)?;
        refused(facet.commit(&id, &vda, images.base.host_path()?, ANY).await, ErrorKind::Busy)?;
        refused(facet.pull(&id, &vda, None, ANY).await, ErrorKind::Busy)?;
        holds("the first goes on", facet.job(&id, &vda).await?.is_some_and(|job| job.kind == BlockJobKind::Copy))
    }

    /// What is not below a disk's image is no base.
    async fn what_is_not_below_is_no_base(cx) {
        let (id, vda, images) = running(cx).await?;
        let copy = spare(cx, &images).await?;
        for no_base in [copy.host_path()?, images.overlay.host_path()?] {
            refused(facet(cx)?.commit(&id, &vda, no_base, ANY).await, ErrorKind::InvalidInput)?;
            refused(facet(cx)?.pull(&id, &vda, Some(no_base), ANY).await, ErrorKind::InvalidInput)?;
        }
        same("job", facet(cx)?.job(&id, &vda).await?, None)
    }

    /// A copy needs an image that is there.
    async fn a_copy_needs_an_image(cx) {
        let (id, vda, images) = running(cx).await?;
        let absent = qcow2_disk(&format!("{}.absent", images.base.host_path()?), "vda")?;
        refused(facet(cx)?.copy(&id, &vda, &absent, ANY).await, ErrorKind::InvalidState)?;
        let nothing = kvm_xml::domain::Disk::default();
        refused(facet(cx)?.copy(&id, &vda, &nothing, ANY).await, ErrorKind::InvalidInput)?;
        same("job", facet(cx)?.job(&id, &vda).await?, None)
    }

    /// Only disks of running machines have jobs.
    async fn only_disks_of_running_machines_have_jobs(cx) {
        let (id, vda, images) = defined(cx).await?;
        let (facet, vdx, absent) = (facet(cx)?, name("vdx")?, cx.id("absent"));
        refused(facet.job(&id, &vda).await, ErrorKind::InvalidState)?;
        refused(facet.commit(&id, &vda, images.base.host_path()?, ANY).await, ErrorKind::InvalidState)?;
        refused(facet.pull(&id, &vda, None, ANY).await, ErrorKind::InvalidState)?;
        refused(facet.abort(&id, &vda).await, ErrorKind::InvalidState)?;
        refused(facet.job(&absent, &vda).await, ErrorKind::NotFound)?;
        refused(facet.pull(&absent, &vda, None, ANY).await, ErrorKind::NotFound)?;
        cx.power(&id, PowerAction::Start).await?;
        refused(facet.job(&id, &vdx).await, ErrorKind::NotFound)?;
        refused(facet.pull(&id, &vdx, None, ANY).await, ErrorKind::NotFound)?;
        refused(facet.pivot(&id, &vdx).await, ErrorKind::NotFound)
    }
}

/// A machine's image, and the one that it lies upon.
struct Images {
    base: VolumeInfo,
    overlay: VolumeInfo,
}

fn facet(cx: &Cx) -> Result<&dyn BlockJobs, Failure> {
    cx.hypervisor().block_jobs().ok_or_else(|| Failure::new("there are no block jobs"))
}

/// A machine that is off, with a disk whose image lies upon another.
async fn defined(cx: &Cx) -> Result<(VmId, DiskName, Images), Failure> {
    let pool = cx.active_pool("jobs").await?;
    let base = cx.thin_volume(&pool, "base.qcow2", DISK_BYTES).await?;
    let overlay = overlay(cx, &pool, base.host_path()?).await?;
    let mut document = cx.document("jobs")?;
    document.devices.get_or_insert_with(Devices::default).disk.push(qcow2_disk(overlay.host_path()?.as_str(), "vda")?);
    let id = cx.hypervisor().define(&document, Existing::Reject).await?;
    Ok((id, name("vda")?, Images { base, overlay }))
}

async fn running(cx: &Cx) -> Result<(VmId, DiskName, Images), Failure> {
    let (id, vda, images) = defined(cx).await?;
    cx.power(&id, PowerAction::Start).await?;
    Ok((id, vda, images))
}

async fn overlay(cx: &Cx, pool: &PoolName, base: &DiskPath) -> Result<VolumeInfo, Failure> {
    let mut document = volume("overlay.qcow2", VolumeFormatType::Qcow2, DISK_BYTES, Some(0));
    document.backing_store = Some(VolumeBackingStore {
        path: Some(base.as_str().to_owned()),
        format: Some(VolumeFormat { r#type: Some(VolumeFormatType::Qcow2), ..VolumeFormat::default() }),
        ..VolumeBackingStore::default()
    });
    Ok(cx.storage().create_volume(pool, &document).await?)
}

/// An empty image beside the others.
async fn spare(cx: &Cx, images: &Images) -> Result<VolumeInfo, Failure> {
    Ok(cx.thin_volume(&images.base.pool, "copy.qcow2", DISK_BYTES).await?)
}

fn name(text: &str) -> Result<DiskName, Failure> {
    text.parse().map_err(|e: kvm_xml::XmlError| Failure::from(Error::internal("no disk name").with_source(e)))
}

/// The image of the machine's only disk.
async fn image(cx: &Cx, id: &VmId, view: View) -> Result<String, Failure> {
    let document = cx.hypervisor().definition(id, view).await?;
    let disk = document.devices.iter().flat_map(|devices| &devices.disk).next().cloned();
    let path = disk.and_then(|disk| disk.source).and_then(|source| source.file);
    path.ok_or_else(|| Failure::new("the disk has no file"))
}

async fn ready(cx: &Cx, id: &VmId, disk: &DiskName) -> Result<BlockJob, Failure> {
    until(cx, "a job that is ready", async || {
        let job = facet(cx)?.job(id, disk).await?;
        job.map(|job| job.ready).ok_or_else(|| Failure::new("the job has ended before it was ready"))
    })
    .await?;
    facet(cx)?.job(id, disk).await?.ok_or_else(|| Failure::new("the job has ended although nobody said so"))
}

async fn until(cx: &Cx, what: &str, is_so: impl AsyncFn() -> Result<bool, Failure>) -> Result<(), Failure> {
    let wait = async {
        while !is_so().await? {
            cx.clock().sleep(LOOK).await;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        done = wait => done,
        () = cx.clock().sleep(cx.patience()) => Err(Failure::new(format_args!("no {what} in time"))),
    }
}
