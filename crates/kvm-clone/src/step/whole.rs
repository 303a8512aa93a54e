//! An overlay that is made whole on its own host before it goes to another.

use kvm_core::{Blocks, Bytes, Error, ErrorKind, Host, Resource, Result, VolumeInfo, VolumeName};
use kvm_vm::VolumeRef;
use kvm_xml::StorageVolume;
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeFormat, VolumeFormatType, VolumeTarget};
use serde::{Deserialize, Serialize};

use super::unless_gone;

/// A volume with all that an overlay and what lies below it hold, for as long as it takes to copy it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Whole {
    pub(crate) of: VolumeRef,
    /// Its name is one that nobody else gives.
    pub(crate) volume: VolumeName,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    pub(crate) format: String,
}

impl Whole {
    /// For the copy of this name.
    pub(crate) fn new(of: VolumeRef, copy: &VolumeName, size: Bytes, format: &str) -> Result<Self> {
        let volume = VolumeName::parse(&format!("{}.kvm-manager-whole", copy.as_str()))?;
        Ok(Self { of, volume, size, format: format.to_owned() })
    }

    pub(crate) fn reference(&self) -> VolumeRef {
        VolumeRef { pool: self.of.pool.clone(), volume: self.volume.clone() }
    }

    /// Makes it, anew if there is one of an earlier attempt.
    pub(crate) async fn make(&self, source: &Host) -> Result<VolumeInfo> {
        self.forget(source).await?;
        let missing = || Error::new(ErrorKind::Unsupported, "this host cannot reach into its volumes");
        let content = source.storage.content().ok_or_else(missing)?;
        let document = document(&self.volume, self.size, &self.format)?;
        content.copy((&self.of.pool, &self.of.volume), &self.of.pool, &document, Blocks::Own).await
    }

    /// Whether it is there: its copy may have been done when somebody died, and this is still to go.
    pub(crate) async fn is_there(&self, source: &Host) -> Result<bool> {
        has_volume(source, &self.reference()).await
    }

    pub(crate) async fn forget(&self, source: &Host) -> Result<()> {
        unless_gone(source.storage.delete_volume(&self.of.pool, &self.volume).await)
    }
}

pub(crate) async fn has_volume(host: &Host, volume: &VolumeRef) -> Result<bool> {
    match host.storage.find_volume(&volume.pool, &volume.volume).await {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The document of a complete image of its own. `Unsupported` for formats that hosts do not write.
pub(crate) fn document(name: &VolumeName, size: Bytes, format: &str) -> Result<StorageVolume> {
    let format = match format {
        "raw" | "iso" => VolumeFormatType::Raw,
        "qcow2" => VolumeFormatType::Qcow2,
        other => {
            return Err(Error::new(ErrorKind::Unsupported, format!("images of format {other} are not made anew"))
                .on(Resource::Field("format".into())));
        }
    };
    Ok(StorageVolume {
        name: Some(name.as_str().to_owned()),
        capacity: Some(Size::from_bytes(size.get())),
        allocation: Some(Size::from_bytes(0)),
        target: Some(VolumeTarget {
            format: Some(VolumeFormat { r#type: Some(format), ..VolumeFormat::default() }),
            ..VolumeTarget::default()
        }),
        ..StorageVolume::default()
    })
}
