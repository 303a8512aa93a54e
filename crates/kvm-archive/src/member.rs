//! Names of what is in an archive.

use std::fmt;

use kvm_core::text::{printable, printable_within};
use kvm_core::{Error, Result};
use unicode_normalization::UnicodeNormalization as _;

const FIELD: &str = "archive_member";
const LENGTH_MAX: usize = 255;
const DEPTH_MAX: usize = 4;

/// The name of a member: a relative path that means the same file on every system.
///
/// ```
/// use kvm_archive::MemberName;
/// assert!(MemberName::parse("disks/vda.qcow2").is_ok());
/// assert!(MemberName::parse("../../etc/passwd").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberName(Box<str>);

impl MemberName {
    /// Takes a relative path of at most four components and 255 bytes, without `.`, `..`, back slashes and anything that a
    /// file system or a reader could take for something else. `InvalidInput` names the field `archive_member`.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |why: &str| {
            let shown = printable_within(text, 80);
            Err(Error::invalid(FIELD, format!("archive member \"{shown}\" {why}; the archive has to be made anew")))
        };
        if text.is_empty() {
            return refused("has no name");
        }
        if text.len() > LENGTH_MAX {
            return refused("has a name of more than 255 bytes");
        }
        if printable(text).to_string() != text {
            return refused("has a control, direction or invisible character in its name");
        }
        if text.contains(['\\', ':']) {
            return refused("has a back slash or a colon in its name, which some systems take for a path");
        }
        if text.starts_with('/') {
            return refused("has an absolute path");
        }
        let components: Vec<_> = text.split('/').collect();
        if components.len() > DEPTH_MAX {
            return refused("is nested more than four deep");
        }
        for component in components {
            match component {
                "" => return refused("has an empty component in its path"),
                "." | ".." => return refused("has a path that leads elsewhere"),
                c if c.starts_with(['-', ' ']) => return refused("has a path with a leading dash or space"),
                c if c.ends_with(['.', ' ']) => return refused("has a path with a trailing dot or space"),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// The same for bytes, which have to be UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(kvm_core::text::utf8(FIELD, bytes)?)
    }

    /// The exact name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two names have in common that some file system takes for one.
    pub(crate) fn folded(&self) -> String {
        self.0.nfkc().flat_map(char::to_lowercase).collect()
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
