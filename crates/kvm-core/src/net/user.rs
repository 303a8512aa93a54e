//! Who logs in, and on which port.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::{refused, text_serde};
use crate::{Error, Result};

/// The user of an SSH login: at most 64 ASCII letters, digits, `_`, `-` and `.`, perhaps a `$` at the end (accounts of
/// Samba machines); starts with a letter, a digit or `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshUser(Box<str>);

impl SshUser {
    /// Takes a user. `InvalidInput` for what `ssh` or a shell could read as something else.
    pub fn parse(text: &str) -> Result<Self> {
        let stem = text.strip_suffix('$').unwrap_or(text);
        let is_plain = text.len() <= 64
            && stem.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if is_plain {
            return Ok(Self(text.into()));
        }
        Err(refused("ssh_user", "SSH user", text, "is not a plain user name; use letters, digits, '_', '-' and '.'"))
    }

    /// The user.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SshUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for SshUser {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(SshUser, "a user name", SshUser::parse, |user| user.as_str());

/// A TCP port: 1 to 65535. A plain number in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// Reads a plain decimal number without sign, leading zero or spaces.
    pub fn parse(text: &str) -> Result<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(port) if plain => Ok(Self(port)),
            _ => Err(refused("port", "port", text, "is not a plain number from 1 to 65535")),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl From<NonZeroU16> for Port {
    fn from(port: NonZeroU16) -> Self {
        Self(port)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Port {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_plain() {
        for text in ["root", "kvm-admin", "svc_backup$", "a.b"] {
            assert_eq!(SshUser::parse(text).unwrap().as_str(), text);
        }
        for text in ["$", "", "-x", "a$b", "a@b", "é", "a/b"] {
            assert!(SshUser::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_plain_numbers() {
        assert_eq!(Port::parse("65535").unwrap().get(), 65_535);
        for text in ["+22", "", "0", "65536", "22.0"] {
            assert!(Port::parse(text).is_err(), "{text}");
        }
    }
}
