//! LUKS, by its on-disk format specifications 1.2.3 and 2.

use std::fmt;

use serde::Serialize;

use crate::read::Fields;

const MAGIC: &[u8] = b"LUKS\xba\xbe";

/// A LUKS header at the beginning of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Luks {
    /// 1 or 2; a later one is not read further.
    pub version: u16,
    /// Its identifier, as it stands there.
    pub uuid: String,
    /// The cipher with its mode; version 2 says it elsewhere.
    pub cipher: Option<String>,
}

pub(crate) fn find(head: Fields<'_>) -> Option<Luks> {
    head.has(0, MAGIC).then(|| {
        let version = head.be16(6);
        let cipher = (version == 1).then(|| format!("{}-{}", head.text(8, 32), head.text(40, 32)));
        Luks { version, uuid: head.text(168, 40), cipher }
    })
}

impl fmt::Display for Luks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LUKS{}", self.version)
    }
}
