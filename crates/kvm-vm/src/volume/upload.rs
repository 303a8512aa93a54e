//! Files of this machine that become volumes.

use std::path::PathBuf;

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{Bytes, Error, ErrorKind, Existing, Holes, Host, PoolInfo, Resource, Result, VolumeInfo, VolumeName};
use kvm_image::Format;
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeFormat as XmlFormat, VolumeFormatType, VolumeTarget};
use kvm_xml::{Document as _, StorageVolume};

use super::{Uses, Verify, check_free, content, local, resource};
use crate::place::Places;
use crate::secret;
use crate::spec::VolumeRef;
use crate::step::{MakeRoom, ReserveVolume, UploadVolume};

/// A file that is to become a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The volume, which is new.
    pub volume: VolumeRef,
    /// The file, or block device, on this machine; absolute.
    pub file: PathBuf,
    /// Whether a volume of this name gives way.
    pub existing: Existing,
    /// What becomes of the file's holes.
    pub holes: Holes,
    /// Whether what has arrived is read back.
    pub verify: Verify,
    /// What the file may be.
    pub check: ImageCheck,
}

/// What an image that is brought to a host may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageCheck {
    /// Complete by itself: one that names other files or addresses would have the host read them.
    Complete,
    /// Anything.
    None,
}

/// Plans a new volume with what is in a file.
///
/// The file is looked at first: an image that names other files, has features that nobody knows, or is damaged is refused
/// (`InvalidInput`, `Corrupt`) unless told otherwise. `NoSpace` when what is stored of it does not fit into the pool;
/// `AlreadyExists` for a name that is taken, unless it gives way: then no active machine may use it, and no volume lie
/// upon it (`InvalidState`), the secret that was made for it goes with it unless the file is encrypted, and there is no way back. Else undoing deletes what the operation made. The format of the
/// volume is what its pool sees in it.
pub async fn plan_upload(host: &Host, wanted: &Upload) -> Result<Plan> {
    content(host)?;
    let source = local::look(&wanted.file, wanted.check).await?;
    let volume = &wanted.volume;
    let places = Places::read(host, &[]).await?;
    let pool = places.pool(volume.pool.as_str())?;
    let mut lines = Vec::new();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    let mut freed = Bytes::ZERO;
    match wanted.existing {
        Existing::Reject => check_free(host, volume, "upload").await?,
        Existing::Replace => {
            if let Some(old) = replaced(host, volume, pool).await? {
                freed = old.allocation;
                // What opens the old volume may open an encrypted file as well, which was that volume once.
                let forget = match source.is_encrypted {
                    true => None,
                    false => secret::forget(host, &old).await?,
                };
                lines.push(PlanLine::new("remove", "volume", volume.as_text()).note(format!("{freed} on disk")));
                steps.push(Box::new(MakeRoom { volume: volume.clone(), path: old.path, size: old.capacity }));
                if let Some((line, step)) = forget {
                    lines.push(line);
                    steps.push(Box::new(step));
                }
            }
        }
    }
    let reversible = if steps.is_empty() { 2 } else { 0 };
    check_room(pool, &volume.volume, source.stored, freed)?;

    let note = match source.format {
        Format::Raw => source.length.to_string(),
        format => format!("{}, {format}", source.length),
    };
    let document = stored_document(&volume.volume, source.length, pool);
    lines.push(PlanLine::new("create", "volume", volume.as_text()).note(note));
    let sent = match wanted.holes {
        Holes::Keep => format!("{} to send", source.stored),
        Holes::Fill => format!("{} to send", source.length),
    };
    lines.push(PlanLine::new("upload", "file", source.path.display().to_string()).note(sent));
    steps.push(Box::new(ReserveVolume { volume: volume.clone(), size: source.length, document: document.to_xml() }));
    steps.push(Box::new(UploadVolume {
        volume: volume.clone(),
        file: source.path,
        length: source.length,
        modified: source.modified,
        holes: wanted.holes,
        verify: wanted.verify,
    }));
    let info = host.hypervisor.capabilities().await?;
    Ok(Plan {
        kind: "vol.upload",
        title: format!("upload {volume} to {}", info.target),
        target: info.target.clone(),
        locks: vec![LockKey::volume(info.host_key(), &volume.pool, &volume.volume)],
        lines,
        steps,
        reversible,
    })
}

/// The volume that gives way, if there is one and it may.
async fn replaced(host: &Host, volume: &VolumeRef, pool: &PoolInfo) -> Result<Option<VolumeInfo>> {
    let old = match host.storage.find_volume(&volume.pool, &volume.volume).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if Places::is_block(pool) {
        let message = format!("volume {volume} is a device and is not replaced");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .on(resource(volume))
            .with_detail("delete it first, or choose another name"));
    }
    Uses::read(host, &old).await?.refuse_change(volume, "replace")?;
    Ok(Some(old))
}

/// The document of a volume that takes what another one holds as it is stored: plain bytes, whatever they mean in the end,
/// so that nothing is in the way of its holes.
#[must_use]
pub fn stored_document(name: &VolumeName, length: Bytes, pool: &PoolInfo) -> StorageVolume {
    let is_block = Places::is_block(pool);
    StorageVolume {
        name: Some(name.as_str().to_owned()),
        capacity: Some(Size::from_bytes(length.get())),
        allocation: (!is_block).then(|| Size::from_bytes(0)),
        target: (!is_block).then(|| VolumeTarget {
            format: Some(XmlFormat { r#type: Some(VolumeFormatType::Raw), ..XmlFormat::default() }),
            ..VolumeTarget::default()
        }),
        ..StorageVolume::default()
    }
}

pub(super) fn check_room(pool: &PoolInfo, name: &VolumeName, needed: Bytes, freed: Bytes) -> Result<()> {
    let Some(free) = pool.available.map(|free| free.saturating_add(freed)) else { return Ok(()) };
    if needed <= free {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NoSpace, format!("not enough space in pool {} for {name}", pool.name))
        .on(Resource::Pool(pool.name.as_str().to_owned()))
        .with_detail(format!("asked {needed}, free {free}")))
}
