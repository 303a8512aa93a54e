//! Where something is in a guest.

use std::fmt;
use std::str::FromStr;

use kvm_core::text::printable_within;
use kvm_core::{Error, Result};

/// The longest path that is sent.
const LONGEST: usize = 4096;

/// An absolute path in a guest: `/etc/hosts`, or `C:\Users` in Windows. Whose file it is, the guest decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPath(String);

impl GuestPath {
    /// Takes a path. `InvalidInput` for one that is not absolute, too long, or has control characters.
    pub fn parse(text: &str) -> Result<Self> {
        let is_windows = matches!(text.as_bytes(), [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic());
        let why = if text.len() > LONGEST {
            "is longer than 4096 bytes"
        } else if text.chars().any(char::is_control) {
            "has control characters"
        } else if !text.starts_with('/') && !is_windows {
            "is not absolute; begin with / or a drive such as C:\\"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::invalid("path", format!("the path \"{}\" {why}", printable_within(text, 48))))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for GuestPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute() {
        for good in ["/", "/etc/hosts", "C:\\Users\\x", "c:/x", "/数据"] {
            assert_eq!(GuestPath::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "etc/hosts", "../x", "~/.ssh", "C:", "C:x", "/a\nb", "/a\0b", &"/a".repeat(3000)] {
            assert!(GuestPath::parse(bad).is_err(), "{bad:?}");
        }
    }
}
