//! How many images are on their way at a time.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use kvm_core::text::printable_within;
use kvm_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How many images of one machine are sent at a time at most: 1 to 8.
///
/// Each has connections and helpers of its own, so that more than one core enciphers and compresses; the limit of bandwidth
/// is kept by all together. One by default: each further one takes about 11 MiB of memory here, a login and a helper on either host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Parallel(NonZeroU8);

impl Parallel {
    /// One after the other.
    pub const ONE: Self = Self(NonZeroU8::MIN);
    /// More only take memory from each other, and OpenSSH's server turns logins away when more than ten begin at once.
    const MOST: u8 = 8;

    /// `InvalidInput` for 0, and for more than 8.
    pub fn new(count: u8) -> Result<Self> {
        let allowed = NonZeroU8::new(count).filter(|count| count.get() <= Self::MOST);
        allowed.map(Self).ok_or_else(|| refused(&count.to_string()))
    }

    /// How many.
    #[must_use]
    pub fn get(self) -> NonZeroU8 {
        self.0
    }
}

impl Default for Parallel {
    fn default() -> Self {
        Self::ONE
    }
}

impl FromStr for Parallel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().ok().and_then(|count| Self::new(count).ok()).ok_or_else(|| refused(text))
    }
}

impl TryFrom<u8> for Parallel {
    type Error = Error;

    fn try_from(count: u8) -> Result<Self> {
        Self::new(count)
    }
}

impl From<Parallel> for u8 {
    fn from(parallel: Parallel) -> Self {
        parallel.0.get()
    }
}

impl fmt::Display for Parallel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn refused(given: &str) -> Error {
    let shown = printable_within(given, 24);
    Error::invalid("parallel", format!("parallel \"{shown}\" is not a number from 1 to {}", Parallel::MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_number_from_1_to_8() {
        assert_eq!(Parallel::default().to_string(), "1");
        for (text, count) in [("1", 1), ("8", 8)] {
            assert_eq!(u8::from(text.parse::<Parallel>().unwrap()), count);
        }
        for bad in ["0", "9", "256", "-1", "", "two"] {
            assert!(bad.parse::<Parallel>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_str::<Parallel>("3").unwrap(), Parallel::new(3).unwrap());
        assert!(serde_json::from_str::<Parallel>("0").is_err());
    }
}
