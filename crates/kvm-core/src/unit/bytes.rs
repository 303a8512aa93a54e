//! Numbers of bytes, and how sizes of volumes and of memory are read.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::amount::{Amount, TOO_LARGE, bytes_in};
use crate::text::refused;
use crate::{Error, Result};

/// A number of bytes. A plain number in JSON.
///
/// `Display` is for people, in binary units with at most one decimal; `{:#}` is exact and readable by
/// [`parse_size`].
///
/// ```
/// use kvm_core::Bytes;
/// assert_eq!(Bytes::from_gib(8).to_string(), "8 GiB");
/// assert_eq!(Bytes::new(33_715_493_274).to_string(), "31.4 GiB");
/// assert_eq!(format!("{:#}", Bytes::from_mib(1536)), "1536MiB");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(u64);

impl Bytes {
    /// None.
    pub const ZERO: Self = Self(0);
    /// 2¹⁰ bytes.
    pub const KIB: Self = Self(1 << 10);
    /// 2²⁰ bytes.
    pub const MIB: Self = Self(1 << 20);
    /// 2³⁰ bytes.
    pub const GIB: Self = Self(1 << 30);
    /// 2⁴⁰ bytes.
    pub const TIB: Self = Self(1 << 40);

    /// The smallest unit of a disk; sizes of volumes are multiples of it.
    pub const SECTOR: Self = Self(512);
    /// The largest volume that [`parse_size`] takes: 1 PiB.
    pub const VOLUME_MAX: Self = Self(1 << 50);
    /// The least memory with which any guest boots: 16 MiB.
    pub const MEMORY_MIN: Self = Self(16 << 20);
    /// The most memory that [`parse_memory`] takes, whatever the host has: 64 TiB.
    pub const MEMORY_MAX: Self = Self(64 << 40);

    /// This many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// This many KiB, or the largest number when they do not fit.
    #[must_use]
    pub const fn from_kib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }

    /// This many MiB, or the largest number when they do not fit.
    #[must_use]
    pub const fn from_mib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }

    /// This many GiB, or the largest number when they do not fit.
    #[must_use]
    pub const fn from_gib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 30))
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole KiB, rounded down.
    #[must_use]
    pub const fn kib(self) -> u64 {
        self.0 >> 10
    }

    /// Whole MiB, rounded down.
    #[must_use]
    pub const fn mib(self) -> u64 {
        self.0 >> 20
    }

    /// The sum; `None` when it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The difference; `None` when it is negative.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The product; `None` when it does not fit.
    #[must_use]
    pub const fn checked_mul(self, factor: u64) -> Option<Self> {
        match self.0.checked_mul(factor) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The sum, or the largest number when it does not fit.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero when it is negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The next multiple of `unit`, or this when it is one; `None` when it does not fit or the unit is zero.
    #[must_use]
    pub const fn round_up_to(self, unit: Self) -> Option<Self> {
        match self.0.checked_next_multiple_of(unit.0) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// Whether this is a multiple of `unit`.
    #[must_use]
    pub const fn is_multiple_of(self, unit: Self) -> bool {
        self.0.is_multiple_of(unit.0)
    }
}

impl std::iter::Sum for Bytes {
    /// The sum, or the largest number when it does not fit.
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::saturating_add)
    }
}

impl From<Bytes> for u64 {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

const UNITS: [(&str, u32); 6] = [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        if f.alternate() {
            let exact = UNITS.iter().find(|(_, bits)| bytes > 0 && bytes.trailing_zeros() >= *bits);
            let (unit, bits) = exact.copied().unwrap_or(("B", 0));
            return f.pad(&format!("{}{unit}", bytes >> bits));
        }
        // Rounded to tenths first, so that 1023.96 MiB becomes 1.0 GiB and not 1024.0 MiB.
        let tenths = |bits: u32| ((u128::from(bytes) * 10) + (1 << bits >> 1)) >> bits;
        match UNITS.iter().find(|(_, bits)| tenths(*bits) >= 10) {
            None => f.pad(&format!("{bytes} B")),
            Some((unit, bits)) if bytes.trailing_zeros() >= *bits => f.pad(&format!("{} {unit}", bytes >> bits)),
            Some((unit, bits)) => f.pad(&format!("{}.{} {unit}", tenths(*bits) / 10, tenths(*bits) % 10)),
        }
    }
}

/// Reads the size of a volume: bare bytes, or with a unit (`10G`, `1.5TiB`, `20GB`).
///
/// `K M G T P` and `KiB`… are binary, `KB`… decimal. At least one sector of 512 bytes and at most
/// [`Bytes::VOLUME_MAX`]. A size in bytes has to be whole sectors; one with a larger unit is rounded up to them.
///
/// ```
/// use kvm_core::{Bytes, parse_size};
/// assert_eq!(parse_size("10G")?, Bytes::from_gib(10));
/// assert_eq!(parse_size("1.5G")?, Bytes::from_mib(1536));
/// assert!(parse_size("1000").is_err());
/// # Ok::<(), kvm_core::Error>(())
/// ```
pub fn parse_size(text: &str) -> Result<Bytes> {
    let refuse = |why: &str| refused("size", "size", text, why);
    let amount = Amount::split(text).map_err(refuse)?;
    let exact = amount.is_bare() || amount.unit == "B";
    let bytes = bytes(&amount, 1).map_err(refuse)?;
    if bytes < Bytes::SECTOR || (exact && !bytes.is_multiple_of(Bytes::SECTOR)) {
        return Err(refuse("is not a multiple of 512 bytes; use a unit such as M or G"));
    }
    match bytes.round_up_to(Bytes::SECTOR) {
        Some(size) if size <= Bytes::VOLUME_MAX => Ok(size),
        _ => Err(refuse("is more than 1 PiB, the most for one volume")),
    }
}

/// What a number of memory without a unit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUnit {
    /// KiB, as in a domain's document.
    Kib,
    /// MiB, as on the command line.
    Mib,
}

/// Reads an amount of memory as on the command line: a bare number is MiB. See [`parse_memory_with`].
pub fn parse_memory(text: &str) -> Result<Bytes> {
    parse_memory_with(text, MemoryUnit::Mib)
}

/// Reads an amount of memory, from [`Bytes::MEMORY_MIN`] to [`Bytes::MEMORY_MAX`], rounded up to KiB, in which
/// hypervisors count. Units as for [`parse_size`].
pub fn parse_memory_with(text: &str, bare: MemoryUnit) -> Result<Bytes> {
    let refuse = |why: &str| refused("memory", "memory", text, why);
    let amount = Amount::split(text).map_err(refuse)?;
    let bare = match bare {
        MemoryUnit::Kib => Bytes::KIB,
        MemoryUnit::Mib => Bytes::MIB,
    };
    let bytes = bytes(&amount, bare.get()).map_err(refuse)?;
    if bytes < Bytes::MEMORY_MIN {
        return Err(refuse("is less than 16 MiB, with which nothing boots; add a unit such as M or G"));
    }
    match bytes.round_up_to(Bytes::KIB) {
        Some(memory) if memory <= Bytes::MEMORY_MAX => Ok(memory),
        _ => Err(refuse("is more than 64 TiB, the most for one machine")),
    }
}

fn bytes(amount: &Amount<'_>, bare: u64) -> Result<Bytes, &'static str> {
    let unit = match amount.unit {
        "" if amount.has_fraction() => return Err("is a fraction without a unit; add one such as M or G"),
        "" => bare,
        unit => bytes_in(unit).ok_or("has an unknown unit; use K, M, G or T, KiB to TiB, or KB to TB for decimal")?,
    };
    amount.scaled(unit, 1).map(Bytes).ok_or(TOO_LARGE)
}

impl std::str::FromStr for Bytes {
    type Err = Error;

    /// Reads a size of a volume: see [`parse_size`].
    fn from_str(text: &str) -> Result<Self> {
        parse_size(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_at_most_one_decimal() {
        for (bytes, shown) in [
            (0, "0 B"),
            (972, "972 B"),
            (973, "1.0 KiB"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (1 << 40, "1 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes::new(bytes).to_string(), shown);
        }
        assert_eq!(format!("[{:>7}]", Bytes::GIB), "[  1 GiB]");
    }

    #[test]
    fn the_exact_form_has_the_largest_unit_that_fits() {
        for (bytes, shown) in [(0, "0B"), (1000, "1000B"), (1 << 20, "1MiB"), (3 << 29, "1536MiB")] {
            assert_eq!(format!("{:#}", Bytes::new(bytes)), shown);
        }
    }

    #[test]
    fn whole_units_are_rounded_up_to_sectors_but_bytes_are_exact() {
        assert_eq!(parse_size("1MB").unwrap(), Bytes::new(1_000_448));
        assert_eq!(parse_size("1.1G").unwrap(), Bytes::new(1_181_116_416));
        for text in ["1000", "1000B", "0.0000001M", "0G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_petabyte_is_the_most() {
        assert_eq!(parse_size("1P").unwrap(), Bytes::VOLUME_MAX);
        assert!(parse_size("1125899906843136").is_err());
    }

    #[test]
    fn a_bare_memory_is_mib_on_the_command_line_and_kib_in_documents() {
        assert_eq!(parse_memory("2048").unwrap(), Bytes::from_gib(2));
        assert_eq!(parse_memory_with("65536", MemoryUnit::Kib).unwrap(), Bytes::from_mib(64));
        assert!(parse_memory("15").is_err());
        assert!(parse_memory("4.5").is_err());
        assert_eq!(parse_memory("1GB").unwrap(), Bytes::from_kib(976_563));
    }
}
