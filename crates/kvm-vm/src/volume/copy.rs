//! Copies of volumes on one host, in another format if that is wanted.

use kvm_core::op::{LockKey, Plan, PlanLine};
use kvm_core::{Bytes, Error, ErrorKind, Host, PoolInfo, Result, VolumeInfo};
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeFormat as XmlFormat, VolumeTarget};
use kvm_xml::{Document as _, StorageVolume};
use serde::{Deserialize, Serialize};

use super::upload::check_room;
use super::{Uses, check_free, content, is_medium};
use crate::place::Places;
use crate::secret::refuse_encrypted;
use crate::spec::{ImageRef, VolumeFormat, VolumeRef};
use crate::step::CopyVolume;

/// A volume that is to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeCopy {
    /// The original.
    pub from: VolumeRef,
    /// The copy, which is new.
    pub to: VolumeRef,
    /// The copy's format; the original's if left out.
    pub format: Option<VolumeFormat>,
    /// How large the disk in it is, at least as large as the original's; the same if left out.
    pub size: Option<Bytes>,
    /// Whether blocks are shared.
    pub sharing: Sharing,
}

/// Whether a copy shares its blocks with the original until one of them changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Where the file system can; else it gets its own.
    Auto,
    /// In any case; else there is no copy.
    Always,
    /// Never.
    Never,
}

/// Plans a copy of a volume, in the same pool or in another.
///
/// The copy is complete by itself, whatever the original lies upon. No active machine may use the original, and what it
/// lies upon has to lie where images may lie. Undoing deletes the copy, unless somebody uses it by then.
///
/// `NotFound`, `AlreadyExists`, `InvalidState`, `NoSpace`; `Unsupported` out of a pool that is reached over the
/// network; `InvalidInput` for a size that is too small and for an original
/// whose format is not known.
pub async fn plan_volume_copy(host: &Host, wanted: &VolumeCopy) -> Result<Plan> {
    content(host)?;
    let (from, to) = (&wanted.from, &wanted.to);
    let places = Places::read(host, &[]).await?;
    let image = places.image(&ImageRef::Volume(from.clone())).await?;
    let Some(about) = image.volume else { return Err(Error::internal("a volume was asked for")) };
    // Its own pool may know how to copy it.
    if from.pool != to.pool {
        about.host_path()?;
    }
    let why = "the host has its passphrase for its own path alone; copy what the guest sees inside a guest";
    refuse_encrypted(host, &about, "copy", why).await?;
    if !is_medium(&about) {
        Uses::read(host, &about).await?.refuse_active(from, "copy")?;
    }
    let pool = places.pool(to.pool.as_str())?;
    check_free(host, to, "copy").await?;
    let size = match wanted.size {
        Some(size) if size < about.capacity => {
            return Err(Error::invalid("size", format!("the original has {}, and a copy has no less", about.capacity)));
        }
        size => size.unwrap_or(about.capacity),
    };
    let format = choose_format(&about, pool, wanted.format)?;
    check_room(pool, &to.volume, if format.is_some() { about.allocation } else { size }, Bytes::ZERO)?;
    let document = StorageVolume {
        name: Some(to.volume.as_str().to_owned()),
        capacity: Some(Size::from_bytes(size.get())),
        allocation: format.map(|_| Size::from_bytes(0)),
        target: format.map(|format| VolumeTarget {
            format: Some(XmlFormat { r#type: Some(format.into()), ..XmlFormat::default() }),
            ..VolumeTarget::default()
        }),
        ..StorageVolume::default()
    };

    let shape = format.map_or_else(|| size.to_string(), |format| format!("{size}, {format}"));
    let was = about.format.as_deref().map_or_else(String::new, |format| format!(", {format}"));
    let lines = vec![
        PlanLine::new("read", "volume", from.as_text()).note(format!("{} on disk{was}", about.allocation)),
        PlanLine::new("create", "volume", to.as_text()).note(shape),
    ];
    let info = host.hypervisor.capabilities().await?;
    Ok(Plan {
        kind: "vol.copy",
        title: format!("copy {from} to {to} on {}", info.target),
        target: info.target.clone(),
        locks: [from, to].map(|at| LockKey::volume(info.host_key(), &at.pool, &at.volume)).into(),
        lines,
        steps: vec![Box::new(CopyVolume {
            from: from.clone(),
            volume: to.clone(),
            size,
            document: document.to_xml(),
            sharing: wanted.sharing,
        })],
        reversible: 1,
    })
}

/// The format of the copy; `None` in pools whose volumes have none.
fn choose_format(from: &VolumeInfo, pool: &PoolInfo, asked: Option<VolumeFormat>) -> Result<Option<VolumeFormat>> {
    if Places::is_block(pool) {
        return match asked {
            Some(VolumeFormat::Qcow2) => {
                let message = format!("pool {} is of type {} and has volumes without a format", pool.name, pool.kind);
                Err(Error::invalid("format", message).with_detail("leave the format out, or say raw"))
            }
            _ => Ok(None),
        };
    }
    if asked.is_some() {
        return Ok(asked);
    }
    match from.format.as_deref() {
        Some("qcow2") => Ok(Some(VolumeFormat::Qcow2)),
        Some("raw" | "iso") | None => Ok(Some(VolumeFormat::Raw)),
        Some(other) => Err(Error::new(ErrorKind::InvalidInput, format!("copies are not made as {other}"))
            .on(kvm_core::Resource::Field("format".into()))
            .with_detail("say raw or qcow2 to have it converted")),
    }
}
