//! What is written to in place of a machine's images.

use kvm_core::{
    Bytes, DiskPath, Error, ErrorKind, Host, PoolInfo, PoolName, Resource, Result, VmName, VolumeInfo, VolumeName,
};
use kvm_vm::VolumeRef;
use kvm_xml::rewrite::Location;
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeBackingStore, VolumeFormat, VolumeFormatType, VolumeTarget};
use kvm_xml::{Document as _, Domain, StorageVolume};
use serde::{Deserialize, Serialize};

use crate::place;

/// What is written to in place of an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Overlay {
    pub(crate) volume: VolumeRef,
    pub(crate) document: String,
}

/// An image of the machine, and what is written to in its place.
pub(super) struct Image {
    pub(super) disk: String,
    pub(super) path: DiskPath,
    pub(super) size: Bytes,
    pub(super) overlay: Overlay,
    pub(super) at: DiskPath,
}

/// Those of the disks that the machine alone writes to. `Unsupported` for what can have none.
pub(super) async fn images(host: &Host, machine: &Domain, trial: &VmName, default: &PoolName) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for disk in place::own(machine) {
        let name = place::name(disk);
        let field = || Resource::Field(format!("disk[{name}]"));
        if disk.encryption.is_some() || disk.source.as_ref().is_some_and(|source| source.encryption.is_some()) {
            return Err(Error::new(ErrorKind::Unsupported, format!("disk {name} is encrypted, and is not tried"))
                .on(field())
                .with_detail("what the trial writes would not be; start the VM by hand"));
        }
        // What has no place at all is told by the document.
        let Some(location) = place::location(disk) else { continue };
        let volume = place::volume(host, &location).await.map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::new(
                ErrorKind::InvalidState,
                format!("disk {name}: no pool of the host knows {}", shown(&location)),
            )
            .on(field())
            .with_detail("refresh its pool, or make one: kvmctl pool create NAME --target DIR"),
            _ => e,
        })?;
        images.push(overlay(host, name, &volume, trial, default).await?);
    }
    Ok(images)
}

fn shown(location: &Location) -> String {
    kvm_core::text::printable(&location.to_string()).to_string()
}

async fn overlay(host: &Host, disk: String, image: &VolumeInfo, trial: &VmName, default: &PoolName) -> Result<Image> {
    let path = image.host_path()?.clone();
    let own = host.storage.find_pool(&image.pool).await?;
    let pool = if has_files(&own) { own } else { host.storage.find_pool(default).await? };
    let Some(directory) = pool.target.as_ref().filter(|_| has_files(&pool)) else {
        let message = format!("pool {} is of type {}, and an overlay of {path} is a file", pool.name, pool.kind);
        return Err(Error::new(ErrorKind::Unsupported, message)
            .on(Resource::Pool(pool.name.as_str().to_owned()))
            .with_detail("name a pool of type dir, fs or netfs in config.toml: policy.default_pool"));
    };
    let name = VolumeName::parse(&format!("{}-{disk}.qcow2", trial.as_str()))?;
    let at = DiskPath::adopt(&format!("{}/{}", directory.as_str().trim_end_matches('/'), name.as_str()))?;
    let format = match image.format.as_deref() {
        // What a device or a file of a pool without formats holds is what the guest sees.
        None | Some("raw" | "iso") => VolumeFormatType::Raw,
        Some("qcow2") => VolumeFormatType::Qcow2,
        Some(other) => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("disk {disk}: images of format {other} are not tried"),
            )
            .on(Resource::Field(format!("disk[{disk}]")))
            .with_detail("raw and qcow2 are"));
        }
    };
    let of = |format| VolumeFormat { r#type: Some(format), ..VolumeFormat::default() };
    let document = StorageVolume {
        name: Some(name.as_str().to_owned()),
        capacity: Some(Size::from_bytes(image.capacity.get())),
        allocation: Some(Size::from_bytes(0)),
        target: Some(VolumeTarget { format: Some(of(VolumeFormatType::Qcow2)), ..VolumeTarget::default() }),
        // Written down, never guessed from a header that a guest may have written.
        backing_store: Some(VolumeBackingStore {
            path: Some(path.as_str().to_owned()),
            format: Some(of(format)),
            ..VolumeBackingStore::default()
        }),
        ..StorageVolume::default()
    };
    let volume = VolumeRef { pool: pool.name, volume: name };
    let overlay = Overlay { volume, document: document.to_xml() };
    Ok(Image { disk, path, size: image.capacity, overlay, at })
}

fn has_files(pool: &PoolInfo) -> bool {
    pool.active && matches!(pool.kind.as_str(), "dir" | "fs" | "netfs") && pool.target.is_some()
}
