//! The images of a machine that is to be deleted.

use std::collections::BTreeMap;

use kvm_core::op::PlanLine;
use kvm_core::{DiskPath, ErrorKind, Host, PoolName, Result, VolumeInfo, VolumeName};
use kvm_xml::Domain;
use kvm_xml::domain::{Disk, DiskDevice, DiskSource};

use crate::place::volume_name;
use crate::usage::normal;

/// An image that a machine uses.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) path: DiskPath,
    /// What the host knows of it, when it is a volume of an active pool.
    pub(super) volume: Option<VolumeInfo>,
    /// Why it stays in any case.
    pub(super) kept: Option<Kept>,
}

/// Why an image stays, whoever else uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The machine cannot write to it, so it was not made for the machine.
    Fixed(&'static str),
    /// Another image is an overlay of it.
    Below,
}

impl Image {
    pub(super) fn line(&self, action: &str, note: &str) -> PlanLine {
        match &self.volume {
            Some(volume) => PlanLine::new(action, "volume", volume_name(volume)),
            None => PlanLine::new(action, "file", self.path.as_str()),
        }
        .note(note)
    }
}

/// All images of a machine, each once: those of its disks first, then what is below them.
pub(super) async fn images(host: &Host, documents: &[Domain]) -> Result<Vec<Image>> {
    let mut images: Vec<Image> = Vec::new();
    let mut positions = BTreeMap::new();
    let devices = documents.iter().filter_map(|d| d.devices.as_ref());
    let disks: Vec<_> = devices.flat_map(|devices| &devices.disk).collect();
    for disk in disks {
        let Some((path, volume)) = find(host, disk.source.as_ref()).await? else { continue };
        let kept = kept(disk);
        match positions.get(&normal(path.as_str())) {
            // One view of the machine says what the other does not: whatever keeps it counts.
            Some(&at) => {
                if let Some(image) = images.get_mut::<usize>(at) {
                    image.kept = image.kept.or(kept);
                }
            }
            None => {
                positions.insert(normal(path.as_str()), images.len());
                images.push(Image { path, volume, kept });
            }
        }
    }
    let mut below = Vec::new();
    for image in &images {
        let mut next = image.volume.as_ref().and_then(|v| v.backing.clone());
        while let Some(path) = next {
            if positions.insert(normal(path.as_str()), usize::MAX).is_some() {
                break;
            }
            let volume = at(host, &path).await?;
            next = volume.as_ref().and_then(|v| v.backing.clone());
            below.push(Image { path, volume, kept: Some(Kept::Below) });
        }
    }
    images.extend(below);
    Ok(images)
}

/// Why a disk's image stays in any case.
fn kept(disk: &Disk) -> Option<Kept> {
    match disk.device {
        Some(DiskDevice::Floppy) => Some(Kept::Fixed("removable")),
        Some(DiskDevice::Lun) => Some(Kept::Fixed("a device of the host")),
        Some(DiskDevice::Cdrom) => Some(Kept::Fixed("read-only")),
        _ => disk.readonly.then_some(Kept::Fixed("read-only")),
    }
}

/// Where a disk's data is; `None` for empty drives and for what is on the network.
async fn find(host: &Host, source: Option<&DiskSource>) -> Result<Option<(DiskPath, Option<VolumeInfo>)>> {
    let Some(source) = source else { return Ok(None) };
    if let (Some(pool), Some(volume)) = (&source.pool, &source.volume) {
        let (Ok(pool), Ok(volume)) = (PoolName::adopt(pool), VolumeName::adopt(volume)) else { return Ok(None) };
        return match host.storage.find_volume(&pool, &volume).await {
            Ok(info) => Ok(Some((info.path.clone(), Some(info)))),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidState) => Ok(None),
            Err(e) => Err(e),
        };
    }
    let path = source.file.as_ref().or(source.dev.as_ref()).filter(|path| path.starts_with('/'));
    let Some(path) = path else { return Ok(None) };
    // Backends look paths up as they are spelt.
    let Ok(path) = DiskPath::adopt(&normal(path)) else { return Ok(None) };
    let volume = at(host, &path).await?;
    Ok(Some((path, volume)))
}

async fn at(host: &Host, path: &DiskPath) -> Result<Option<VolumeInfo>> {
    match host.storage.volume_at(path).await {
        Ok(info) => Ok(Some(info)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
