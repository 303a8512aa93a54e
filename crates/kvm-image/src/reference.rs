//! How one image names another.

use std::fmt;

use kvm_core::text::printable_within;
use serde::Serialize;

use crate::Format;

/// The longest part of a foreign name that a message shows, in characters.
const SHOWN: usize = 120;

/// Another image, as a header names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The name, exactly as it stands in the header.
    pub name: String,
    /// The format that the header gives to it; without one, programs guess.
    pub format: Option<String>,
    /// What the name means to QEMU.
    pub kind: ReferenceKind,
}

/// What a name means to QEMU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReferenceKind {
    /// A file, absolute or relative to the image that names it.
    File,
    /// `json:{…}`: whatever QEMU's block layer can open, with any option.
    Json,
    /// `scheme:…`: a server or another driver.
    Protocol(String),
}

impl Reference {
    /// What a header's name and format mean.
    ///
    /// As in QEMU, whatever has a colon before its first slash is not a file.
    #[must_use]
    pub fn new(name: String, format: Option<String>) -> Self {
        let kind = match name.split('/').next().and_then(|first| first.split_once(':')) {
            Some(("json", _)) => ReferenceKind::Json,
            // To QEMU it is a file by another spelling.
            Some(("file", _)) | None => ReferenceKind::File,
            Some((scheme, _)) => ReferenceKind::Protocol(scheme.to_owned()),
        };
        Self { name, format, kind }
    }

    /// The format that the header gives to it, when this crate knows it.
    #[must_use]
    pub fn known_format(&self) -> Option<Format> {
        self.format.as_deref().and_then(Format::named)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", printable_within(&self.name, SHOWN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_the_first_slash_is_not_a_file() {
        let kind = |name: &str| Reference::new(name.to_owned(), None).kind;
        assert_eq!(kind("/images/a:b.qcow2"), ReferenceKind::File);
        assert_eq!(kind("base.qcow2"), ReferenceKind::File);
        assert_eq!(kind("./a:b"), ReferenceKind::File);
        assert_eq!(kind("file:///etc/shadow"), ReferenceKind::File);
        assert_eq!(kind("json:{\"driver\":\"raw\"}"), ReferenceKind::Json);
        assert_eq!(kind("nbd://127.0.0.1:9/x"), ReferenceKind::Protocol("nbd".into()));
        assert_eq!(kind("a:b"), ReferenceKind::Protocol("a".into()));
    }
}
