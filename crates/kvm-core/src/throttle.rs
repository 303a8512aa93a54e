//! How fast a disk may be used.

use std::fmt;
use std::str::FromStr;

use kvm_xml::domain::Iotune;

use crate::text::{refused, text_serde};
use crate::{Bandwidth, Error, Result};

/// How fast a disk may be used, in operations per second: 1 to 10¹⁵, which is the most that QEMU counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iops(u64);

impl Iops {
    /// Reads a plain decimal number.
    pub fn parse(text: &str) -> Result<Self> {
        let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse::<u64>().ok().filter(|number| is_plain && (1..=1_000_000_000_000_000).contains(number));
        number.map(Self).ok_or_else(|| {
            refused("iops", "operations per second", text, "are not a number from 1 to 1000000000000000")
        })
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Iops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Iops {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(Iops, "a number of operations per second", Iops::parse, |iops| &iops.to_string());

/// How fast a disk may be used. What is left out is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskLimits {
    /// Bytes per second, reading and writing together.
    pub total_bytes: Option<Bandwidth>,
    /// Bytes per second, reading.
    pub read_bytes: Option<Bandwidth>,
    /// Bytes per second, writing.
    pub write_bytes: Option<Bandwidth>,
    /// Operations per second, reading and writing together.
    pub total_iops: Option<Iops>,
    /// Operations per second, reading.
    pub read_iops: Option<Iops>,
    /// Operations per second, writing.
    pub write_iops: Option<Iops>,
}

impl DiskLimits {
    /// No limits.
    pub const NONE: Self = Self {
        total_bytes: None,
        read_bytes: None,
        write_bytes: None,
        total_iops: None,
        read_iops: None,
        write_iops: None,
    };

    /// Refuses what QEMU refuses: a total together with a part of it. `InvalidInput`.
    pub fn check(&self) -> Result<()> {
        let bytes = self.total_bytes.is_some() && (self.read_bytes.is_some() || self.write_bytes.is_some());
        let iops = self.total_iops.is_some() && (self.read_iops.is_some() || self.write_iops.is_some());
        let refuse = |what: &str| {
            Err(Error::invalid(what, format!("{what} limits reading and writing together; say that, or each of them")))
        };
        match (bytes, iops) {
            (true, _) => refuse("total_bytes"),
            (_, true) => refuse("total_iops"),
            (false, false) => Ok(()),
        }
    }

    /// The limits under the names that libvirt has for them in documents and calls, each in bytes or operations per second;
    /// 0 for none.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 6] {
        let bytes = |rate: Option<Bandwidth>| rate.and_then(Bandwidth::bytes_per_second).map_or(0, |bytes| bytes.get());
        let iops = |iops: Option<Iops>| iops.map_or(0, Iops::get);
        [
            ("total_bytes_sec", bytes(self.total_bytes)),
            ("read_bytes_sec", bytes(self.read_bytes)),
            ("write_bytes_sec", bytes(self.write_bytes)),
            ("total_iops_sec", iops(self.total_iops)),
            ("read_iops_sec", iops(self.read_iops)),
            ("write_iops_sec", iops(self.write_iops)),
        ]
    }

    /// The element of a disk's document; `None` without limits.
    #[must_use]
    pub fn document(&self) -> Option<Iotune> {
        let [total_bytes, read_bytes, write_bytes, total_iops, read_iops, write_iops] =
            self.named().map(|(_, limit)| Some(limit).filter(|limit| *limit > 0));
        (*self != Self::NONE).then(|| Iotune {
            total_bytes_sec: total_bytes,
            read_bytes_sec: read_bytes,
            write_bytes_sec: write_bytes,
            total_iops_sec: total_iops,
            read_iops_sec: read_iops,
            write_iops_sec: write_iops,
            ..Iotune::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_a_number_that_qemu_counts() {
        assert_eq!(Iops::parse("500").unwrap().get(), 500);
        for text in ["", "0", "-1", "1e3", "0500", "1000000000000001", "5 0", "18446744073709551616"] {
            let e = Iops::parse(text).unwrap_err();
            assert_eq!(e.resource(), Some(&crate::Resource::Field("iops".into())), "{text}");
        }
    }

    #[test]
    fn a_total_goes_alone() {
        let (rate, iops) = (Bandwidth::parse("50MiB").ok(), Iops::parse("500").ok());
        let read = DiskLimits { read_bytes: rate, total_iops: iops, ..DiskLimits::NONE };
        read.check().unwrap();
        let element = read.document().unwrap();
        assert_eq!(
            (element.read_bytes_sec, element.total_iops_sec, element.total_bytes_sec),
            (Some(50 << 20), Some(500), None)
        );
        assert!(DiskLimits { total_bytes: rate, ..read }.check().is_err());
        assert!(DiskLimits { write_iops: iops, ..read }.check().is_err());
        assert!(DiskLimits::NONE.document().is_none());
    }
}
