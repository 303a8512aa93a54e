//! Numbers of virtual CPUs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::refused;
use crate::{Error, Result};

/// A number of virtual CPUs: at least 1 and at most [`MAX`](Self::MAX).
///
/// The bound stands before any host is asked: libvirt 11 aborts on 4294967295 and takes gigabytes of memory for
/// 16777216. [`within`](Self::within) applies the host's own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct VcpuCount(u32);

const FIELD: &str = "vcpus";

impl VcpuCount {
    /// The most that any machine type of QEMU has.
    pub const MAX: u32 = 4096;

    /// This many; `InvalidInput` outside 1 to [`MAX`](Self::MAX).
    pub fn new(count: u32) -> Result<Self> {
        if (1..=Self::MAX).contains(&count) {
            return Ok(Self(count));
        }
        Err(Error::invalid(FIELD, format!("number of virtual CPUs {count} is not from 1 to {}", Self::MAX)))
    }

    /// Reads a plain decimal number.
    pub fn parse(text: &str) -> Result<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(count) if plain => Self::new(count),
            _ => {
                let why = format!("is not a whole number from 1 to {}", Self::MAX);
                Err(refused(FIELD, "number of virtual CPUs", text, why))
            }
        }
    }

    /// This, when a host has room for it: `InvalidInput` naming the host's limit otherwise.
    pub fn within(self, max: u32) -> Result<Self> {
        if self.0 <= max {
            return Ok(self);
        }
        Err(Error::invalid(FIELD, format!("{self} virtual CPUs are more than this host gives one machine: {max}")))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for VcpuCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VcpuCount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<u32> for VcpuCount {
    type Error = Error;

    fn try_from(count: u32) -> Result<Self> {
        Self::new(count)
    }
}

impl From<VcpuCount> for u32 {
    fn from(count: VcpuCount) -> Self {
        count.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_limit_comes_before_the_hosts() {
        assert_eq!(VcpuCount::parse("4096").unwrap().get(), 4096);
        assert!(VcpuCount::parse("4097").is_err());
        assert!(serde_json::from_str::<VcpuCount>("0").is_err());
        let four = VcpuCount::new(4).unwrap();
        assert_eq!(four.within(4).unwrap(), four);
        assert!(four.within(2).unwrap_err().message().ends_with("one machine: 2"));
    }

    #[test]
    fn only_plain_numbers_are_read() {
        for text in ["", "+1", "01", " 1", "1 ", "１"] {
            assert!(VcpuCount::parse(text).is_err(), "{text}");
        }
    }
}
