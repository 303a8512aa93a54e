//! Limits on how fast data moves.

use std::fmt;
use std::str::FromStr;

use super::amount::{Amount, TOO_LARGE, bytes_in};
use super::bytes::Bytes;
use crate::text::{refused, text_serde};
use crate::{Error, Result};

/// A limit in bytes per second, or none.
///
/// ```
/// use kvm_core::{Bandwidth, Bytes};
/// assert_eq!(Bandwidth::parse("100M")?.bytes_per_second(), Some(Bytes::from_mib(100)));
/// assert_eq!(Bandwidth::parse("1Gbit/s")?.bytes_per_second(), Some(Bytes::new(125_000_000)));
/// assert_eq!(Bandwidth::parse("0")?, Bandwidth::UNLIMITED);
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bandwidth(Option<Bytes>);

impl Bandwidth {
    /// As fast as it goes.
    pub const UNLIMITED: Self = Self(None);
    /// The slowest limit, under which a copy would hardly end: 64 KiB/s.
    pub const MIN: Bytes = Bytes::from_kib(64);
    /// The fastest limit: 1 TiB/s.
    pub const MAX: Bytes = Bytes::TIB;

    /// Reads a limit: `0` for none, otherwise a number with a unit and perhaps `/s`. Bytes have the units of
    /// [`parse_size`](crate::parse_size) (`100M`, `12.5MB/s`); bits are `kbit`, `Mbit`, `Gbit` or `kbps`, `Mbps`,
    /// `Gbps`, and decimal. A number without a unit, and `mb`, whose case would decide, are refused.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| refused("bandwidth", "bandwidth", text, why);
        if text == "0" {
            return Ok(Self::UNLIMITED);
        }
        let amount = Amount::split(text).map_err(refuse)?;
        let (bytes, divisor) = unit(amount.unit)
            .ok_or_else(|| refuse("has no unit that is clear; write it like 100M, 12.5MB/s or 1Gbit/s"))?;
        let rate = amount.scaled(bytes, divisor).map(Bytes::new).ok_or_else(|| refuse(TOO_LARGE))?;
        if rate < Self::MIN {
            Err(refuse("is less than 64 KiB/s, at which nothing ends; write 0 for no limit"))
        } else if rate > Self::MAX {
            Err(refuse("is more than 1 TiB/s; write 0 for no limit"))
        } else {
            Ok(Self(Some(rate)))
        }
    }

    /// The limit; `None` means that there is none.
    #[must_use]
    pub fn bytes_per_second(self) -> Option<Bytes> {
        self.0
    }
}

/// Bytes per second of a unit, as multiplier and divisor.
fn unit(unit: &str) -> Option<(u64, u64)> {
    let bits = unit.strip_suffix("bps").or_else(|| unit.strip_suffix("/s").unwrap_or(unit).strip_suffix("bit"));
    let bits = match bits {
        Some("k" | "K") => 1_000,
        Some("M") => 1_000_000,
        Some("G") => 1_000_000_000,
        Some("T") => 1_000_000_000_000,
        Some(_) => return None,
        None => return bytes_in(unit.strip_suffix("/s").unwrap_or(unit)).map(|bytes| (bytes, 1)),
    };
    Some((bits, 8))
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) if f.alternate() => write!(f, "{rate:#}/s"),
            Some(rate) => write!(f, "{rate}/s"),
            None if f.alternate() => f.write_str("0"),
            None => f.write_str("unlimited"),
        }
    }
}

impl FromStr for Bandwidth {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

// The exact form, so that what is written is read back as the same limit.
text_serde!(Bandwidth, "a bandwidth", Bandwidth::parse, |bandwidth| &format!("{bandwidth:#}"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_decimal_and_bytes_as_for_sizes() {
        for (text, rate) in [
            ("800Mbps", 100_000_000),
            ("1Gbit", 125_000_000),
            ("100MiB/s", 100 << 20),
            ("12.5MB/s", 12_500_000),
            ("64k", 65_536),
        ] {
            assert_eq!(Bandwidth::parse(text).unwrap().bytes_per_second(), Some(Bytes::new(rate)), "{text}");
        }
        for text in ["100", "10mb", "10Mb", "1mbps", "1Gbps/s", "0M", "0.0000001M", "63K", "2T"] {
            assert!(Bandwidth::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_written_form_is_read_back() {
        for text in ["0", "100M", "12.5MB/s", "1Gbit/s"] {
            let limit = Bandwidth::parse(text).unwrap();
            let json = serde_json::to_string(&limit).unwrap();
            assert_eq!(serde_json::from_str::<Bandwidth>(&json).unwrap(), limit, "{json}");
        }
        assert_eq!(Bandwidth::parse("100M").unwrap().to_string(), "100 MiB/s");
    }
}
