//! All that is known of a volume, and of what it lies upon.

use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Host, Result, SecretId, VolumeInfo};
use kvm_xml::StorageVolume;
use serde::Serialize;

use super::{content, resource};
use crate::place::volume_name;
use crate::secret;
use crate::spec::VolumeRef;

/// A chain of images is not longer.
const CHAIN_MAX: usize = 256;

/// All that is known of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeDetails {
    /// What a listing says of it.
    #[serde(flatten)]
    pub volume: VolumeInfo,
    /// How long the file or device is; unlike the allocation holes count.
    #[serde(rename = "physical_bytes")]
    pub physical: Option<Bytes>,
    /// The version of a qcow2 image.
    pub compat: Option<String>,
    /// In what pieces a qcow2 image grows.
    #[serde(rename = "cluster_size_bytes")]
    pub cluster_size: Option<Bytes>,
    /// Features of a qcow2 image.
    pub features: Vec<&'static str>,
    /// How it is encrypted.
    pub encryption: Option<String>,
    /// The host's secret that opens it.
    pub secret: Option<SecretId>,
    /// The images that it lies upon, the nearest first.
    pub chain: Vec<Below>,
}

/// An image that another one lies upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Below {
    /// Where it is.
    pub path: DiskPath,
    /// The volume that it is, `pool/name`; `None` for a file that no active pool knows.
    pub volume: Option<String>,
    /// Its format, as far as its pool knows.
    pub format: Option<String>,
    /// The size that a guest would see.
    #[serde(rename = "capacity_bytes")]
    pub capacity: Option<Bytes>,
    /// Space that it takes.
    #[serde(rename = "allocation_bytes")]
    pub allocation: Option<Bytes>,
}

/// Looks at a volume and down its chain, as far as active pools know it. `NotFound`; `Corrupt` for a chain that returns to
/// itself.
pub async fn volume_details(host: &Host, volume: &VolumeRef) -> Result<VolumeDetails> {
    let about = host.storage.find_volume(&volume.pool, &volume.volume).await?;
    let document = match content(host) {
        Ok(content) => content.definition(&volume.pool, &volume.volume).await?,
        Err(_) => StorageVolume::default(),
    };
    let target = document.target.unwrap_or_default();
    let features = target.features.unwrap_or_default();
    let size = |size: &kvm_xml::value::Size| size.bytes().map(Bytes::new);
    let encryption = target.encryption.and_then(|encryption| encryption.format);
    Ok(VolumeDetails {
        chain: chain(host, volume, &about).await?,
        secret: match &encryption {
            Some(_) => secret::at(host, &about).await?.map(|secret| secret.id),
            None => None,
        },
        volume: about,
        physical: document.physical.as_ref().and_then(size),
        compat: target.compat.map(|compat| compat.to_string()),
        cluster_size: target.cluster_size.as_ref().and_then(size),
        features: [(features.lazy_refcounts, "lazy_refcounts"), (features.extended_l2, "extended_l2")]
            .into_iter()
            .filter_map(|(has, name)| has.then_some(name))
            .collect(),
        encryption: encryption.map(|format| format.to_string()),
    })
}

async fn chain(host: &Host, volume: &VolumeRef, top: &VolumeInfo) -> Result<Vec<Below>> {
    let (mut chain, mut next): (Vec<Below>, _) = (Vec::new(), top.backing.clone());
    while let Some(path) = next {
        if top.path.as_ref() == Some(&path) || chain.iter().any(|link| link.path == path) || chain.len() >= CHAIN_MAX {
            return Err(Error::new(ErrorKind::Corrupt, format!("the backing files of {volume} form a circle"))
                .on(resource(volume)));
        }
        let found = match host.storage.volume_at(&path).await {
            Ok(found) => Some(found),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        next = found.as_ref().and_then(|found| found.backing.clone());
        chain.push(Below {
            path,
            volume: found.as_ref().map(volume_name),
            capacity: found.as_ref().map(|found| found.capacity),
            allocation: found.as_ref().map(|found| found.allocation),
            format: found.and_then(|found| found.format),
        });
    }
    Ok(chain)
}
