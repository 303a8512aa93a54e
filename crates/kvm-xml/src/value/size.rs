//! Sizes with a unit.

use crate::extra::Extra;
use crate::leaf::{Scalar, leaf, parsed, text_traits};
use kvm_xml_derive::Xml;

/// The unit of a size: <https://libvirt.org/formatdomain.html#memory-allocation>.
///
/// Words that mean the same (`b`, `byte` and `bytes`, `K` and `KiB`) are one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "B is 1000, iB is 1024 to the power of its letter")]
pub enum Unit {
    Bytes,
    KB,
    KiB,
    MB,
    MiB,
    GB,
    GiB,
    TB,
    TiB,
    PB,
    PiB,
    EB,
    EiB,
}

impl Unit {
    const ALL: [(Self, &'static str, u64); 13] = [
        (Self::Bytes, "bytes", 1),
        (Self::KB, "KB", 1_000),
        (Self::KiB, "KiB", 1 << 10),
        (Self::MB, "MB", 1_000_000),
        (Self::MiB, "MiB", 1 << 20),
        (Self::GB, "GB", 1_000_000_000),
        (Self::GiB, "GiB", 1 << 30),
        (Self::TB, "TB", 1_000_000_000_000),
        (Self::TiB, "TiB", 1 << 40),
        (Self::PB, "PB", 1_000_000_000_000_000),
        (Self::PiB, "PiB", 1 << 50),
        (Self::EB, "EB", 1_000_000_000_000_000_000),
        (Self::EiB, "EiB", 1 << 60),
    ];

    /// How many bytes one of it is.
    #[must_use]
    pub fn bytes(self) -> u64 {
        Self::ALL.get(self as usize).map_or(1, |(_, _, bytes)| *bytes)
    }

    fn word(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("bytes", |(_, word, _)| *word)
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some((unit, ..)) = Self::ALL.iter().find(|(_, word, _)| *word == text) {
            return Some(*unit);
        }
        let word = text.to_ascii_lowercase();
        if matches!(word.as_str(), "b" | "byte" | "bytes" | "") {
            return (!word.is_empty()).then_some(Self::Bytes);
        }
        // A letter alone is binary, as everywhere in libvirt.
        let word = if word.len() == 1 { format!("{word}ib") } else { word };
        Self::ALL.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(&word)).map(|(unit, ..)| *unit)
    }
}

leaf!(Unit, |unit| Scalar::Str(unit.word()), |text: &str, _| {
    parsed(text, Self::parse(text.trim()), "a unit such as bytes, KiB, MB or GiB")
});
text_traits!(Unit);

macro_rules! size {
    ($($(#[$meta:meta])* $name:ident, $default:expr;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Default, Xml)]
        pub struct $name {
            /// The unit of `value`.
            pub unit: Option<Unit>,
            /// The number of units.
            #[xml(text)]
            pub value: Option<u64>,
            /// What else the element has.
            pub _extra: Extra,
        }
        sized!($name, $default);
    )+};
}

/// Gives a struct with `unit` and `value` its arithmetic.
macro_rules! sized {
    ($name:ident, $default:expr) => {
        impl $name {
            /// The unit when none is given.
            pub const DEFAULT_UNIT: $crate::value::Unit = $default;

            /// A size in whole units.
            #[must_use]
            pub fn new(value: u64, unit: $crate::value::Unit) -> Self {
                Self { unit: Some(unit), value: Some(value), ..Self::default() }
            }

            /// A size in bytes.
            #[must_use]
            pub fn from_bytes(bytes: u64) -> Self {
                Self::new(bytes, $crate::value::Unit::Bytes)
            }

            /// The size in bytes; `None` when there is no number, or no room for it in 64 bits.
            #[must_use]
            pub fn bytes(&self) -> Option<u64> {
                self.value?.checked_mul(self.unit.unwrap_or(Self::DEFAULT_UNIT).bytes())
            }
        }
    };
}
pub(crate) use sized;

size! {
    /// An amount of memory; KiB unless `unit` says otherwise: <https://libvirt.org/formatdomain.html#memory-allocation>.
    Memory, Unit::KiB;
    /// An amount of storage; bytes unless `unit` says otherwise:
    /// <https://libvirt.org/formatstorage.html#storage-volume-general-metadata>.
    Size, Unit::Bytes;
    /// The memory of system management mode; MiB unless `unit` says otherwise:
    /// <https://libvirt.org/formatdomain.html#hypervisor-features>.
    Tseg, Unit::MiB;
}
