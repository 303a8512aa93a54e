//! The index of a bundle: what is in it, before anything of it is unpacked.

use kvm_core::{Bytes, Error, ErrorKind, Resource, Result};
use serde::{Deserialize, Serialize};

use crate::MemberName;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
const FORMAT: &str = "kvm-manager-bundle";

/// The first member of a bundle, as JSON. Members that it does not name are not in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleIndex {
    format: String,
    version: u32,
    /// The length of the machine's document, `machine.xml`.
    #[serde(rename = "definition_bytes")]
    definition: Bytes,
    /// Its disks, in the order of the document.
    disks: Vec<BundleDisk>,
}

/// A disk in a bundle, as a qcow2 image that is complete by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleDisk {
    /// The name under which the machine's document plugs it in, such as `vda`.
    pub target: String,
    /// The member that holds it.
    #[serde(with = "name")]
    pub file: MemberName,
    /// The length of that member.
    #[serde(rename = "length_bytes")]
    pub length: Bytes,
    /// The size that the guest sees.
    #[serde(rename = "capacity_bytes")]
    pub capacity: Bytes,
}

impl BundleIndex {
    /// The member that is the index itself.
    pub(crate) const NAME: &'static str = "bundle.json";
    /// The member that is the machine's document.
    pub(crate) const DEFINITION: &'static str = "machine.xml";
    /// The last member: the digests of all others.
    pub(crate) const SUMS: &'static str = "SHA256SUMS";

    pub(crate) fn new(definition: Bytes, disks: Vec<BundleDisk>) -> Self {
        Self { format: FORMAT.into(), version: VERSION, definition, disks }
    }

    /// `Corrupt` when it is no index, `Unsupported` when it is of another version.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let on = |error: Error| error.on(Resource::Field("bundle".into()));
        let index: Self = serde_json::from_slice(bytes).map_err(|e| {
            on(Error::new(ErrorKind::Corrupt, "the index of the bundle cannot be read; take another copy")
                .with_source(e))
        })?;
        match (index.format.as_str(), index.version) {
            (FORMAT, VERSION) => Ok(index),
            (FORMAT, version) => {
                let message = format!("the bundle is of version {version}; this program reads version {VERSION}");
                Err(on(Error::new(ErrorKind::Unsupported, message)))
            }
            _ => Err(on(Error::new(ErrorKind::Corrupt, "the archive is no bundle of a machine"))),
        }
    }

    /// The disks, in the order of the machine's document.
    #[must_use]
    pub fn disks(&self) -> &[BundleDisk] {
        &self.disks
    }

    /// Every member that has to be there besides the index and the digests, with its length.
    pub(crate) fn members(&self) -> Result<Vec<(MemberName, Bytes)>> {
        let definition = [(MemberName::parse(Self::DEFINITION)?, self.definition)];
        Ok(definition.into_iter().chain(self.disks.iter().map(|disk| (disk.file.clone(), disk.length))).collect())
    }
}

mod name {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::MemberName;

    pub(super) fn serialize<S: Serializer>(name: &MemberName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MemberName, D::Error> {
        let text = String::deserialize(deserializer)?;
        MemberName::parse(&text).map_err(serde::de::Error::custom)
    }
}
