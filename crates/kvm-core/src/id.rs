//! The uuid of a machine, and the two ways to point at one.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::text::{refused, text_serde};
use crate::{Error, Result, VmName};

const FIELD: &str = "uuid";

/// The uuid by which a hypervisor knows a machine for all its life.
///
/// Written in lower case with hyphens. `FromStr` is [`parse`](Self::parse); `Deserialize` is [`adopt`](Self::adopt).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId(Uuid);

impl VmId {
    /// Takes a uuid for something new: 32 hexadecimal digits, without hyphens or as 8-4-4-4-12. `InvalidInput` for
    /// anything else, and for one digit 32 times over: libvirt takes the nil uuid, but nothing can be told apart by it.
    pub fn parse(text: &str) -> Result<Self> {
        let id = Self::adopt(text)?;
        let first = id.0.as_bytes()[0];
        if first >> 4 == first & 0xf && id.0.as_bytes().iter().all(|&b| b == first) {
            return Err(refused(
                FIELD,
                FIELD,
                text,
                "is a placeholder, not an identity; leave it out to get a new one",
            ));
        }
        Ok(id)
    }

    /// Takes the uuid of a machine that exists: any, in the same two forms.
    pub fn adopt(text: &str) -> Result<Self> {
        // The length decides between the two forms; the library would also take braces and `urn:uuid:`.
        match text.len() {
            32 | 36 => Uuid::try_parse(text).ok(),
            _ => None,
        }
        .map(Self)
        .ok_or_else(|| refused(FIELD, FIELD, text, "is not 32 hexadecimal digits; write it as 8-4-4-4-12"))
    }

    /// A new random uuid (version 4) from 16 bytes of entropy.
    #[must_use]
    pub fn from_entropy(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The 16 bytes, in the order in which they are written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl From<Uuid> for VmId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<VmId> for Uuid {
    fn from(id: VmId) -> Self {
        id.0
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl FromStr for VmId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(VmId, "a uuid", VmId::adopt, |id| &id.to_string());

/// A machine as a person points at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VmRef {
    /// By its uuid.
    Id(VmId),
    /// By its name.
    Name(VmName),
}

impl VmRef {
    /// A text in one of the two forms of a uuid is an id, any other a name that may exist.
    pub fn parse(text: &str) -> Result<Self> {
        match VmId::adopt(text) {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => VmName::adopt(text).map(Self::Name),
        }
    }

    /// Everything a text may mean, likeliest first: a text in the form of a uuid may also be the name of a machine
    /// that was not made by us. Whoever finds two machines refuses, rather than choose.
    pub fn candidates(text: &str) -> Result<Vec<Self>> {
        let name = VmName::adopt(text).map(Self::Name)?;
        Ok(VmId::adopt(text).map(Self::Id).into_iter().chain([name]).collect())
    }
}

impl fmt::Display for VmRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl FromStr for VmRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl From<VmId> for VmRef {
    fn from(id: VmId) -> Self {
        Self::Id(id)
    }
}

impl From<VmName> for VmRef {
    fn from(name: VmName) -> Self {
        Self::Name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "8fbf2b8e-3b3c-4b1e-9a51-000000000001";

    #[test]
    fn all_forms_of_one_uuid_are_one_id() {
        let id = VmId::parse(UUID).unwrap();
        assert_eq!(VmId::parse(&UUID.to_uppercase()).unwrap(), id);
        assert_eq!(VmId::parse(&UUID.replace('-', "")).unwrap(), id);
        assert_eq!(id.to_string(), UUID);
    }

    #[test]
    fn placeholders_may_exist_but_not_be_chosen() {
        for text in ["00000000-0000-0000-0000-000000000000", "11111111111111111111111111111111"] {
            assert!(VmId::parse(text).is_err(), "{text}");
            assert!(VmId::adopt(text).is_ok(), "{text}");
        }
        assert!(VmId::parse("12121212121212121212121212121212").is_ok());
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        for text in ["urn:uuid:8fbf2b8e-3b3c-4b1e-9a51-000000000001", "{8fbf2b8e3b3c4b1e9a5100000000000}", ""] {
            assert!(VmId::adopt(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_uuid_shaped_text_is_an_id_and_may_be_a_name() {
        assert_eq!(VmRef::parse(UUID).unwrap(), VmRef::Id(VmId::parse(UUID).unwrap()));
        assert!(matches!(&VmRef::candidates(UUID).unwrap()[..], [VmRef::Id(_), VmRef::Name(n)] if n == UUID));
        assert!(matches!(&VmRef::candidates("-rf").unwrap()[..], [VmRef::Name(_)]));
        assert!(VmRef::parse("..").is_err());
    }

    #[test]
    fn new_ids_are_random_uuids_of_version_4() {
        let id = VmId::from_entropy([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
