//! What a point says of itself: `manifest.json`.

use std::fmt;

use kvm_core::{Bytes, Consistency, Error, ErrorKind, Resource, Result, VmId, VmName};
use kvm_wire::Digest;
use serde::{Deserialize, Serialize};

use super::place::PointId;
use crate::step::TPM_MOST;
use crate::transfer::digest_of;

mod fields;

use fields::Fields;

/// The manifest's name in a point.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The file that `sha256sum --check` reads, where one was asked for.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// The document's.
pub(crate) const DOCUMENT: &str = "domain.xml";
/// The firmware variables'.
pub(crate) const VARIABLES: &str = "nvram.fd";
/// That of the state of an emulated TPM, for either version of it.
pub(crate) const TPM: &str = "tpm.permall";
/// No manifest is longer.
pub(crate) const MOST: Bytes = Bytes::from_mib(1);

/// The version of manifests that this writes, and the only one that it reads.
const VERSION: u64 = 1;
/// What the digests are: `docs/wire.md` says how they are computed.
const DIGEST: &str = "blake3-tree-64k";
const FORMAT: &str = "kvm-manager-backup";
/// No machine has more disks.
const DISKS_MOST: usize = 256;
/// No image is longer, and no disk larger.
const LENGTH_MOST: u64 = 16 << 40;

/// A point in time of a machine. `Serialize` is the form of [`to_json`](Self::to_json) less its head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// When it was made.
    #[serde(rename = "point")]
    pub point: PointId,
    /// The machine's name.
    pub vm: VmName,
    /// Its uuid.
    pub uuid: VmId,
    /// The host that it was on, as a target.
    pub host: String,
    /// How the images stand to each other.
    pub consistency: Consistency,
    /// The point that it was made upon: what both share was not sent. It is not needed any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub based_on: Option<PointId>,
    /// What made it.
    pub tool: String,
    /// The machine's document.
    pub document: StoredFile,
    /// The firmware's variables, where the machine has some.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nvram: Option<StoredFile>,
    /// The state of its emulated TPM, where the machine has one and its state was in reach.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tpm: Option<StoredFile>,
    /// Its disks, in the order of the document.
    pub disks: Vec<StoredDisk>,
}

/// A file of a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name in the point's directory.
    pub file: String,
    /// How long it is.
    #[serde(rename = "size_bytes")]
    pub size: Bytes,
    /// The digest of all of it.
    pub digest: Digest,
}

/// The image of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDisk {
    /// What the machine calls it: `vda`.
    pub target: String,
    /// How the image is to be opened.
    pub format: StoredFormat,
    /// What the guest sees.
    #[serde(rename = "virtual_size_bytes")]
    pub virtual_size: Bytes,
    /// What the image takes in the store.
    #[serde(rename = "allocated_bytes")]
    pub allocated: Bytes,
    /// The image.
    #[serde(flatten)]
    pub stored: StoredFile,
}

/// How an image is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredFormat {
    /// The bytes of the disk.
    Raw,
    /// A qcow2 image that needs no other one.
    Qcow2,
}

impl StoredFormat {
    /// The word in manifests, as `qemu-img` knows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl fmt::Display for StoredFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    format: &'static str,
    version: u64,
    digest: &'static str,
    #[serde(flatten)]
    manifest: &'a Manifest,
    #[serde(skip_serializing_if = "Option::is_none")]
    seal: Option<Digest>,
}

impl Manifest {
    /// Every file that it speaks of.
    pub fn files(&self) -> impl Iterator<Item = &StoredFile> {
        let disks = self.disks.iter().map(|disk| &disk.stored);
        [&self.document].into_iter().chain(&self.nvram).chain(&self.tpm).chain(disks)
    }

    /// The manifest as a file. Its last member, `seal`, is the digest of the same file without that member, so that a disk
    /// that forgets a bit of it is noticed.
    pub fn to_json(&self) -> Result<String> {
        self.written(Some(self.seal()?))
    }

    fn seal(&self) -> Result<Digest> {
        Ok(digest_of(self.written(None)?.as_bytes()))
    }

    fn written(&self, seal: Option<Digest>) -> Result<String> {
        let whole = Whole { format: FORMAT, version: VERSION, digest: DIGEST, manifest: self, seal };
        let json = serde_json::to_string_pretty(&whole);
        json.map(|json| json + "\n").map_err(|e| Error::internal("the manifest has no JSON form").with_source(e))
    }

    /// Reads the manifest of a point, as a stranger may have written it. `Unsupported` for another version or another
    /// kind of digests, `InvalidInput` names the field that is wrong, unknown or missing; `Corrupt` when all of that is
    /// in order and it is not what was written.
    pub fn parse(text: &str) -> Result<Self> {
        let value = serde_json::from_str(text)
            .map_err(|e| Error::invalid("manifest", "is no JSON text").with_detail(e.to_string()))?;
        let mut all = Fields::of("", &value)?;
        known(&mut all, "format", FORMAT)?;
        let version = all.number("version", u64::MAX)?;
        if version != VERSION {
            return Err(unsupported("version", &format!("the manifest is of version {version}, this reads {VERSION}")));
        }
        known(&mut all, "digest", DIGEST)?;
        let read = Self {
            point: all.parsed("point")?,
            vm: VmName::adopt(&all.text("vm")?).map_err(|e| all.wrong("vm", e.message()))?,
            uuid: all.parsed("uuid")?,
            host: all.text("host")?,
            consistency: all.word(
                "consistency",
                &[Consistency::Off, Consistency::Application, Consistency::Crash].map(|it| (it.as_str(), it)),
            )?,
            based_on: all.has("based_on").then(|| all.parsed("based_on")).transpose()?,
            tool: all.text("tool")?,
            document: file(all.object("document")?, DOCUMENT, LENGTH_MOST)?,
            nvram: match all.has("nvram") {
                true => Some(file(all.object("nvram")?, VARIABLES, LENGTH_MOST)?),
                false => None,
            },
            tpm: match all.has("tpm") {
                true => Some(file(all.object("tpm")?, TPM, TPM_MOST.get())?),
                false => None,
            },
            disks: all.objects("disks", DISKS_MOST)?.into_iter().map(disk).collect::<Result<_>>()?,
        };
        let seal: Digest = all.parsed("seal")?;
        all.finish()?;
        for (index, disk) in read.disks.iter().enumerate() {
            if read.disks[..index].iter().any(|other| other.target == disk.target) {
                return Err(Error::invalid(format!("disks[{index}].target"), "two disks have the same"));
            }
        }
        // Every byte counts: another way to write the same is damage as well.
        match seal == read.seal()? && text.trim_end_matches('\n') == read.to_json()?.trim_end_matches('\n') {
            true => Ok(read),
            false => Err(Error::new(ErrorKind::Corrupt, "the manifest is not what was written")
                .on(Resource::Field("seal".to_owned()))
                .with_detail("it was damaged or edited; what its files are worth is not known by it")),
        }
    }
}

/// The name of a disk's image in a point.
pub(crate) fn image_name(target: &str, format: StoredFormat) -> Result<String> {
    let is_plain = (1..=16).contains(&target.len())
        && target.starts_with(|c: char| c.is_ascii_lowercase())
        && target.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    match is_plain {
        true => Ok(format!("{target}.{format}")),
        false => Err(Error::invalid("target", "is no name of a disk such as vda")),
    }
}

fn known(all: &mut Fields<'_>, key: &'static str, only: &str) -> Result<()> {
    match all.text(key)? {
        text if text == only => Ok(()),
        _ => Err(unsupported(key, &format!("is not {only}, the only one that this reads"))),
    }
}

fn unsupported(field: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, why).on(Resource::Field(field.to_owned()))
}

fn file(mut fields: Fields<'_>, name: &str, most: u64) -> Result<StoredFile> {
    let stored = stored(&mut fields, name, most)?;
    fields.finish()?;
    Ok(stored)
}

/// A file can only have the one name that it has in every point: no manifest says where to read.
fn stored(fields: &mut Fields<'_>, name: &str, most: u64) -> Result<StoredFile> {
    if fields.text("file")? != name {
        return Err(fields.wrong("file", &format!("must be {name}")));
    }
    let size = Bytes::new(fields.number("size_bytes", most)?);
    Ok(StoredFile { file: name.to_owned(), size, digest: fields.parsed("digest")? })
}

fn disk(mut fields: Fields<'_>) -> Result<StoredDisk> {
    let target = fields.text("target")?;
    let format = fields.word("format", &[StoredFormat::Raw, StoredFormat::Qcow2].map(|it| (it.as_str(), it)))?;
    let name = image_name(&target, format).map_err(|e| fields.wrong("target", e.message()))?;
    let stored = stored(&mut fields, &name, LENGTH_MOST)?;
    let virtual_size = Bytes::new(fields.number("virtual_size_bytes", LENGTH_MOST)?);
    let allocated = Bytes::new(fields.number("allocated_bytes", LENGTH_MOST)?);
    if format == StoredFormat::Raw && virtual_size != stored.size {
        return Err(fields.wrong("virtual_size_bytes", "differs from size_bytes, and the image is raw"));
    }
    fields.finish()?;
    Ok(StoredDisk { target, format, virtual_size, allocated, stored })
}

#[cfg(test)]
mod tests;
