//! New volumes, with all that a format knows.

use kvm_core::op::{LockKey, Plan, PlanLine};
use kvm_core::{Bytes, Error, Host, Passphrase, Result, VolumeInfo};
use kvm_xml::value::Size;
use kvm_xml::volume::{VolumeBackingStore, VolumeFeatures, VolumeFormat as XmlFormat, VolumeTarget};
use kvm_xml::{Document as _, StorageVolume};

use super::{check_free, content};
use crate::place::{Image, Places};
use crate::policy::{PlanContext, Policy};
use crate::secret::{self, NewSecret, refuse_encrypted};
use crate::spec::{ImageRef, VolumeFormat, VolumeRef};
use crate::step::CreateVolume;
use crate::text::choices;

/// The sizes that a cluster of qcow2 may have.
const CLUSTER: (Bytes, Bytes) = (Bytes::new(512), Bytes::from_mib(2));

/// A volume that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSpec {
    /// The volume, which is new.
    pub volume: VolumeRef,
    /// The size that a guest sees; that of the image below if left out.
    pub size: Option<Bytes>,
    /// Its format; `qcow2`, or none in pools of devices, if left out.
    pub format: Option<VolumeFormat>,
    /// What is taken at once.
    pub preallocation: Preallocation,
    /// The image that this one holds only the differences to. Needs `qcow2`.
    pub backing: Option<ImageRef>,
    /// What only images of the format qcow2 have.
    pub qcow2: Qcow2Options,
    /// Whether its content is encrypted. Needs `qcow2`.
    pub encrypted: Encrypted,
}

impl VolumeSpec {
    /// A volume of this size, of the format that its pool prefers, which takes space as it is written.
    #[must_use]
    pub fn new(volume: VolumeRef, size: Bytes) -> Self {
        let (format, preallocation) = (None, Preallocation::Off);
        Self {
            volume,
            size: Some(size),
            format,
            preallocation,
            backing: None,
            qcow2: Qcow2Options::default(),
            encrypted: Encrypted::No,
        }
    }
}

/// What only images of the format qcow2 have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qcow2Options {
    /// In what pieces it grows: a power of two from 512 bytes to 2 MiB; 64 KiB if left out.
    pub cluster_size: Option<Bytes>,
    /// The version of the format; the newer one if left out.
    pub compat: Option<Compat>,
    /// Reference counts are written late: quicker, but a check is due after a crash.
    pub lazy_refcounts: Lazy,
    /// Clusters are allocated in parts: large clusters without their waste.
    pub extended_l2: Subclusters,
}

/// Whether a volume's content is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encrypted {
    /// It is as the guest writes it.
    #[default]
    No,
    /// By LUKS inside the image, with a passphrase that the host keeps as a private secret.
    Yes,
}

/// Whether reference counts are written late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lazy {
    /// At once.
    #[default]
    No,
    /// Late.
    Yes,
}

/// Whether clusters are allocated in parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subclusters {
    /// As a whole.
    #[default]
    No,
    /// In parts.
    Yes,
}

choices! {
    /// What a new volume takes at once.
    Preallocation: "preallocation" {
        /// Nothing: it grows as it is written.
        Off = "off",
        /// The tables of a qcow2 image, which grows without having to write them.
        Metadata = "metadata",
        /// All of it.
        Full = "full",
    }

    /// The version of a qcow2 image.
    Compat: "compat" {
        /// For QEMU before 1.1.
        V2 = "0.10",
        /// All newer features.
        V3 = "1.1",
    }
}

/// Makes a volume.
///
/// An image below it has to lie where images may lie, and its format has to be known. `InvalidInput` names what does not
/// fit together; `AlreadyExists`, `NotFound`, `NoSpace`, `InvalidState`, `Unsupported`.
pub async fn create_volume(host: &Host, spec: &VolumeSpec, policy: &Policy) -> Result<VolumeInfo> {
    if spec.encrypted == Encrypted::Yes {
        return Err(Error::invalid("encrypt", "an encrypted volume has a secret, and is made by an operation"));
    }
    let places = Places::read(host, &policy.allowed_paths).await?;
    let pool = places.pool(spec.volume.pool.as_str())?;
    check_free(host, &spec.volume, "create").await?;
    let is_block = Places::is_block(pool);
    let backing = match &spec.backing {
        Some(image) => Some(places.image(image).await?),
        None => None,
    };
    if let Some(below) = backing.as_ref().and_then(|image| image.volume.as_ref()) {
        refuse_encrypted(host, below, "lie upon", "what is written into the new image would not be encrypted").await?;
    }
    let document = document(spec, is_block, backing.as_ref())?;
    match spec.preallocation {
        Preallocation::Off => host.storage.create_volume(&pool.name, &document).await,
        _ if format(spec, is_block) != Some(VolumeFormat::Qcow2) => {
            host.storage.create_volume(&pool.name, &document).await
        }
        Preallocation::Metadata | Preallocation::Full => {
            content(host)?.create_preallocated(&pool.name, &document).await
        }
    }
}

/// Plans an encrypted volume: a private secret of the host with the passphrase, a new one if none is given, then the volume.
///
/// The passphrase is in no journal, no plan and no error. An operation that was interrupted is taken back, not finished.
/// `InvalidInput` for what is not qcow2, and for images below and preallocation; `AlreadyExists`, `NotFound`, `NoSpace`,
/// `Unsupported`.
pub async fn plan_encrypted_volume(
    host: &Host,
    spec: &VolumeSpec,
    passphrase: Option<Passphrase>,
    cx: &PlanContext<'_>,
) -> Result<Plan> {
    secret::facet(host)?;
    let spec = VolumeSpec { encrypted: Encrypted::Yes, ..spec.clone() };
    let places = Places::read(host, &cx.policy.allowed_paths).await?;
    let pool = places.pool(spec.volume.pool.as_str())?;
    check_free(host, &spec.volume, "create").await?;
    let mut document = document(&spec, Places::is_block(pool), None)?;
    let size = spec.size.ok_or_else(|| Error::invalid("size", "a volume has a size; say how large it is to be"))?;
    let path = Places::path_in(pool, &spec.volume.volume)?;
    let new = NewSecret::new(host, &spec.volume, &path, passphrase, cx.entropy).await?;
    if let Some(target) = &mut document.target {
        target.encryption = Some(secret::encryption(Some(new.id)));
    }
    let create = CreateVolume {
        pool: spec.volume.pool.clone(),
        volume: spec.volume.volume.clone(),
        path,
        size,
        grows: true,
        document: document.to_xml(),
        is_copy: false,
    };
    let lines = vec![
        new.line(),
        PlanLine::new("create", "volume", spec.volume.as_text()).note(format!("{size}, qcow2, encrypted")),
    ];
    let mut steps = Vec::from(new.steps());
    steps.push(Box::new(create));
    let info = host.hypervisor.capabilities().await?;
    Ok(Plan {
        kind: "vol.create",
        title: format!("create {} on {}", spec.volume, info.target),
        target: info.target.clone(),
        locks: vec![LockKey::volume(info.host_key(), &spec.volume.pool, &spec.volume.volume)],
        lines,
        reversible: steps.len(),
        steps,
    })
}

/// The document that asks for a volume; what [`create_volume`] would make, as far as that is known without the host.
pub fn volume_document(spec: &VolumeSpec) -> Result<String> {
    let below = match &spec.backing {
        None => None,
        Some(_) => return Err(Error::invalid("backing", "only the host knows the image below")),
    };
    document(spec, false, below).map(|document| document.to_xml())
}

fn format(spec: &VolumeSpec, is_block: bool) -> Option<VolumeFormat> {
    match (is_block, spec.format) {
        (true, Some(VolumeFormat::Raw) | None) => None,
        (_, asked) => Some(asked.unwrap_or(VolumeFormat::Qcow2)),
    }
}

fn document(spec: &VolumeSpec, is_block: bool, backing: Option<&Image>) -> Result<StorageVolume> {
    let format = format(spec, is_block);
    check(spec, format, is_block)?;
    let below = backing.and_then(|image| image.volume.as_ref());
    let size = spec.size.or_else(|| below.map(|below| below.capacity));
    let size = size.ok_or_else(|| Error::invalid("size", "a volume has a size; say how large it is to be"))?;
    let Qcow2Options { cluster_size, compat, lazy_refcounts, extended_l2 } = spec.qcow2;
    let features = VolumeFeatures {
        lazy_refcounts: lazy_refcounts == Lazy::Yes,
        extended_l2: extended_l2 == Subclusters::Yes,
        ..VolumeFeatures::default()
    };
    let compat = compat.or((features.lazy_refcounts || features.extended_l2).then_some(Compat::V3));
    let read = |e: kvm_xml::XmlError| Error::internal("a version that is none").with_source(e);
    Ok(StorageVolume {
        name: Some(spec.volume.volume.as_str().to_owned()),
        capacity: Some(Size::from_bytes(size.get())),
        allocation: match spec.preallocation {
            Preallocation::Full => Some(Size::from_bytes(size.get())),
            // Devices take all their space at once, files none.
            _ => (!is_block).then(|| Size::from_bytes(0)),
        },
        target: match format {
            Some(format) => Some(VolumeTarget {
                format: Some(XmlFormat { r#type: Some(format.into()), ..XmlFormat::default() }),
                compat: compat.map(|compat| compat.as_str().parse()).transpose().map_err(read)?,
                cluster_size: cluster_size.map(|size| Size::from_bytes(size.get())),
                features: (features.lazy_refcounts || features.extended_l2).then_some(features),
                encryption: (spec.encrypted == Encrypted::Yes).then(|| secret::encryption(None)),
                ..VolumeTarget::default()
            }),
            None => None,
        },
        backing_store: backing.map(below_it).transpose()?,
        ..StorageVolume::default()
    })
}

/// Refuses what does not fit together.
fn check(spec: &VolumeSpec, format: Option<VolumeFormat>, is_block: bool) -> Result<()> {
    let refuse = |field: &str, why: &str| Err(Error::invalid(field, why.to_owned()));
    let is_qcow2 = format == Some(VolumeFormat::Qcow2);
    if is_qcow2 && is_block {
        return refuse("format", "volumes of this kind of pool are devices without a format; say raw, or leave it out");
    }
    if !is_qcow2 && spec.qcow2 != Qcow2Options::default() {
        return refuse("format", "cluster size, version and features are those of qcow2; say format qcow2");
    }
    if !is_qcow2 && spec.backing.is_some() {
        return refuse("backing", "only a qcow2 image lies upon another one; say format qcow2");
    }
    if !is_qcow2 && spec.preallocation == Preallocation::Metadata {
        return refuse("preallocation", "only a qcow2 image has tables; say off or full");
    }
    if spec.encrypted == Encrypted::Yes {
        let fits = [
            (is_qcow2, "format", "only qcow2 images are encrypted; say format qcow2"),
            (spec.backing.is_none(), "backing", "an encrypted image lies upon no other one here"),
            (
                spec.preallocation == Preallocation::Off,
                "preallocation",
                "an encrypted image takes space as it is written; say off",
            ),
        ];
        if let Some((_, field, why)) = fits.into_iter().find(|(fits, ..)| !fits) {
            return refuse(field, why);
        }
    }
    if spec.backing.is_some() && spec.preallocation != Preallocation::Off {
        return refuse("preallocation", "an image that lies upon another one takes space as it is written; say off");
    }
    if let Some(size) = spec.qcow2.cluster_size
        && !(size.get().is_power_of_two() && (CLUSTER.0..=CLUSTER.1).contains(&size))
    {
        return refuse("cluster_size", "a cluster has a power of two from 512 bytes to 2 MiB");
    }
    let newer = spec.qcow2.lazy_refcounts == Lazy::Yes || spec.qcow2.extended_l2 == Subclusters::Yes;
    if newer && spec.qcow2.compat == Some(Compat::V2) {
        return refuse("compat", "this feature needs version 1.1");
    }
    Ok(())
}

/// The image below, with the format that is on record: it is never left to be guessed from its header.
fn below_it(image: &Image) -> Result<VolumeBackingStore> {
    let said = image.volume.as_ref().and_then(|volume| volume.format.as_deref());
    let said = match said {
        Some("iso") => Some("raw"),
        None if image.at.is_device() => Some("raw"),
        said => said,
    };
    let format = said.and_then(|format| format.parse().ok());
    let format = format.ok_or_else(|| {
        Error::invalid("backing", format!("the format of {} is not known; make it a volume of a pool", image.at))
    })?;
    Ok(VolumeBackingStore {
        path: Some(image.at.host_path()?.as_str().to_owned()),
        format: Some(XmlFormat { r#type: Some(format), ..XmlFormat::default() }),
        ..VolumeBackingStore::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> VolumeSpec {
        VolumeSpec::new("default/a.qcow2".parse().unwrap(), Bytes::GIB)
    }

    #[test]
    fn what_a_format_knows_stands_in_the_document() {
        let qcow2 = Qcow2Options {
            cluster_size: Some(Bytes::from_kib(128)),
            compat: None,
            lazy_refcounts: Lazy::Yes,
            extended_l2: Subclusters::Yes,
        };
        let xml = volume_document(&VolumeSpec { qcow2, preallocation: Preallocation::Full, ..spec() }).unwrap();
        for part in ["<compat>1.1</compat>", "<lazy_refcounts/>", "<extended_l2/>", "<format type='qcow2'/>", "131072"]
        {
            assert!(xml.contains(part), "{part} in {xml}");
        }
        let plain = volume_document(&spec()).unwrap();
        assert!(!plain.contains("compat") && !plain.contains("features"), "{plain}");
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let field = |spec: VolumeSpec| volume_document(&spec).unwrap_err().resource().unwrap().to_string();
        let cluster = |size| Qcow2Options { cluster_size: Some(Bytes::new(size)), ..Qcow2Options::default() };
        let raw = VolumeSpec { format: Some(VolumeFormat::Raw), ..spec() };
        assert_eq!(field(VolumeSpec { qcow2: cluster(65_536), ..raw.clone() }), "field format");
        assert_eq!(field(VolumeSpec { preallocation: Preallocation::Metadata, ..raw }), "field preallocation");
        for size in [0, 256, 1000, 4 << 20] {
            assert_eq!(field(VolumeSpec { qcow2: cluster(size), ..spec() }), "field cluster_size");
        }
        let old = Qcow2Options { compat: Some(Compat::V2), lazy_refcounts: Lazy::Yes, ..Qcow2Options::default() };
        assert_eq!(field(VolumeSpec { qcow2: old, ..spec() }), "field compat");
        assert_eq!(field(VolumeSpec { size: None, ..spec() }), "field size");
    }
}
