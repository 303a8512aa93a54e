//! Values that are written as text: strings, numbers, addresses and closed sets of words.

use crate::element::{Leaf, Value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its base.
    pub radix: Radix,
    /// The least number of digits, filled with zeros.
    pub width: u8,
    /// Read as `radix` says, but written as decimal.
    pub plain: bool,
    /// The least number.
    pub min: i64,
    /// The greatest number.
    pub max: u64,
}

/// The base of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Radix {
    /// Written and read as decimal.
    Decimal,
    /// Written with `0x`; read as hexadecimal with `0x` and as decimal without.
    Hex,
    /// Written with `0x`; read as hexadecimal in any case.
    Base16,
}

impl Format {
    /// Decimal, and all there is to say about text.
    pub const PLAIN: Self = Self { radix: Radix::Decimal, width: 0, plain: false, min: i64::MIN, max: u64::MAX };

    /// The same range, in decimal.
    #[must_use]
    pub const fn decimal(self) -> Self {
        Self { min: self.min, max: self.max, ..Self::PLAIN }
    }
}

/// Whether a value would be written as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// It would.
    Usual,
    /// It would not: leading zeros, white space, another base, another case.
    Odd,
}

impl Spelling {
    pub(crate) fn of(usual: bool) -> Self {
        if usual { Self::Usual } else { Self::Odd }
    }
}

/// What would have been valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A description.
    Text(&'static str),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A number in this range.
    Range(i64, u64),
    /// Nothing: there is one already.
    Once,
}

/// A value on its way out.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Text.
    Str(&'a str),
    /// Text that had to be made.
    String(String),
    /// A number.
    Unsigned(u64),
    /// A number that may be negative.
    Signed(i64),
}

impl Scalar<'_> {
    /// Appends the value as it stands in a document, not escaped.
    pub fn render(&self, format: Format, out: &mut String) {
        let radix = if format.plain { Radix::Decimal } else { format.radix };
        match (self, radix) {
            (Scalar::Str(text), _) => out.push_str(text),
            (Scalar::String(text), _) => out.push_str(text),
            (Scalar::Unsigned(number), Radix::Decimal) => digits::<10>(*number, 1, out),
            (Scalar::Unsigned(number), _) => hexadecimal(*number, format.width, out),
            (Scalar::Signed(number), Radix::Hex | Radix::Base16) if *number >= 0 => {
                hexadecimal(number.unsigned_abs(), format.width, out);
            }
            (Scalar::Signed(number), _) => {
                if *number < 0 {
                    out.push('-');
                }
                digits::<10>(number.unsigned_abs(), 1, out);
            }
        }
    }
}

fn hexadecimal(number: u64, width: u8, out: &mut String) {
    out.push_str("0x");
    digits::<16>(number, usize::from(width), out);
}

/// Appends at least `width` digits; most numbers are short, and the formatter is not.
fn digits<const RADIX: u64>(mut number: u64, width: usize, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const ROOM: usize = 20;
    let mut digits = [b'0'; ROOM];
    let mut start = ROOM;
    for place in digits.iter_mut().rev() {
        *place = DIGITS[(number % RADIX % 16) as usize];
        start -= 1;
        number /= RADIX;
        if number == 0 {
            break;
        }
    }
    out.extend(std::iter::repeat_n('0', width.saturating_sub(ROOM)));
    let shown = digits.get(start.min(ROOM.saturating_sub(width))..).unwrap_or_default();
    out.push_str(std::str::from_utf8(shown).unwrap_or_default());
}

/// Implements [`Value`] for a leaf type that reads with `fn(&str, Format) -> Result<(Self, Spelling), Expected>`.
macro_rules! leaf {
    ($type:ty, |$value:ident| $scalar:expr, $read:expr) => {
        impl $crate::element::Leaf for $type {
            fn scalar(&self) -> $crate::leaf::Scalar<'_> {
                let $value = self;
                $scalar
            }
        }
        impl $crate::element::Value for $type {
            const KIND: $crate::element::Kind = $crate::element::Kind::Leaf;
            fn item(&self) -> $crate::element::Item<'_> {
                $crate::element::Item::Leaf(self)
            }
            fn read(
                text: &str,
                format: $crate::leaf::Format,
            ) -> Result<(Self, $crate::leaf::Spelling), $crate::leaf::Expected> {
                #[allow(clippy::redundant_closure_call)]
                $read(text, format)
            }
            fn fresh() -> Option<Self> {
                None
            }
            fn as_element_mut(&mut self) -> Option<&mut dyn $crate::element::Element> {
                None
            }
        }
    };
}
pub(crate) use leaf;

/// Declares a closed set of words with their spelling in XML.
macro_rules! closed {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$meta])*
        #[allow(missing_docs, reason = "a variant says no more than its word")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in XML.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                Self::WORDS.get(self as usize).copied().unwrap_or_default()
            }
        }
        $crate::leaf::leaf!($name, |value| $crate::leaf::Scalar::Str(value.as_str()), |text, _| {
            $crate::leaf::word(text, $name::WORDS, $name::ALL)
        });
        $crate::leaf::text_traits!($name);
    )+};
}
pub(crate) use closed;

/// `Display`, `FromStr` and serde for a leaf type, all by its text.
macro_rules! text_traits {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::leaf::display(self, f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::error::XmlError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::leaf::from_str(text)
            }
        }
        #[cfg(feature = "serde")]
        impl serde_core::Serialize for $name {
            fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        #[cfg(feature = "serde")]
        impl<'de> serde_core::Deserialize<'de> for $name {
            fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde_core::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde_core::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_traits;

pub(crate) fn display(leaf: &dyn Leaf, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let mut text = String::new();
    leaf.scalar().render(Format::PLAIN, &mut text);
    f.pad(&text)
}

pub(crate) fn from_str<T: Value>(text: &str) -> Result<T, crate::error::XmlError> {
    T::read(text, Format::PLAIN)
        .map(|(value, _)| value)
        .map_err(|expected| crate::error::XmlError::value(text, expected))
}

/// Finds a word; surrounding white space does not count.
pub(crate) fn word<T: Copy>(text: &str, words: &'static [&'static str], all: &[T]) -> Result<(T, Spelling), Expected> {
    let find = |text: &str| words.iter().position(|word| *word == text).and_then(|index| all.get(index));
    if let Some(value) = find(text) {
        return Ok((*value, Spelling::Usual));
    }
    find(text.trim()).map(|value| (*value, Spelling::Odd)).ok_or(Expected::OneOf(words))
}

/// Reads a leaf type through `FromStr` and compares with how it would be written.
pub(crate) fn parsed<T: Leaf>(text: &str, value: Option<T>, expected: &'static str) -> Result<(T, Spelling), Expected> {
    let value = value.ok_or(Expected::Text(expected))?;
    let spelling = Spelling::of(match value.scalar() {
        Scalar::Str(usual) => usual == text,
        Scalar::String(usual) => usual == text,
        other => {
            let mut usual = String::new();
            other.render(Format::PLAIN, &mut usual);
            usual == text
        }
    });
    Ok((value, spelling))
}

leaf!(String, |value| Scalar::Str(value), |text: &str, _| Ok((text.to_owned(), Spelling::Usual)));

macro_rules! number {
    ($($type:ty: $kind:ident),+) => {$(
        leaf!($type, |value| Scalar::$kind((*value).into()), |text: &str, format: Format| {
            let least = i64::try_from(<$type>::MIN).unwrap_or(i64::MIN).max(format.min);
            let greatest = u64::try_from(<$type>::MAX).unwrap_or(u64::MAX).min(format.max);
            let found = number(text, format).filter(|(number, _)| *number >= least.into() && *number <= greatest.into());
            let found = found.and_then(|(number, spelling)| Some((<$type>::try_from(number).ok()?, spelling)));
            found.ok_or(Expected::Range(least, greatest))
        });
    )+};
}
number!(u8: Unsigned, u16: Unsigned, u32: Unsigned, u64: Unsigned, i32: Signed, i64: Signed);

/// Whether decimal digits are as they would be written.
fn canonical(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'))
}

/// Reads a number.
fn number(text: &str, format: Format) -> Option<(i128, Spelling)> {
    // Nearly all are short and decimal.
    if (1..=9).contains(&text.len()) && format.radix == Radix::Decimal && canonical(text) {
        let number = text.bytes().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        return Some((number.into(), Spelling::Usual));
    }
    let trimmed = text.trim();
    if let Some(digits) = trimmed.strip_prefix('-') {
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())??;
        let usual = number > 0 && canonical(digits) && trimmed.len() == text.len();
        return Some((-i128::from(number), Spelling::of(usual)));
    }
    let (digits, radix) = match (format.radix, trimmed.strip_prefix("0x").or_else(|| trimmed.strip_prefix("0X"))) {
        (Radix::Hex | Radix::Base16, Some(digits)) => (digits, 16),
        (Radix::Base16, None) => (trimmed, 16),
        // Where hexadecimal is usual, letters say that it is meant.
        (Radix::Hex, None) if trimmed.bytes().any(|byte| byte.is_ascii_alphabetic()) => (trimmed, 16),
        _ => (trimmed, 10),
    };
    // The standard parser takes a plus sign, which no document of libvirt's may have.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    let usual = if format.plain || format.radix == Radix::Decimal {
        canonical(text)
    } else {
        let width = usize::from(format.width).max(1);
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.strip_prefix("0x").is_some_and(|digits| {
            digits.bytes().all(lower) && (digits.len() == width || digits.len() > width && !digits.starts_with('0'))
        })
    };
    Some((number.into(), Spelling::of(usual)))
}

macro_rules! address {
    ($($type:ty: $expected:literal),+) => {$(
        leaf!($type, |value| Scalar::String(value.to_string()), |text: &str, _| {
            parsed::<$type>(text, text.trim().parse().ok(), $expected)
        });
    )+};
}
address!(IpAddr: "an IP address", Ipv4Addr: "an IPv4 address", Ipv6Addr: "an IPv6 address");

leaf!(
    Uuid,
    |value| Scalar::String(value.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()),
    |text: &str, _| {
        // The uuid crate also takes braces and URNs, which libvirt does not.
        let digits = text.trim();
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let value = digits.parse().ok().filter(|_| plain);
        let value = value.ok_or(Expected::Text("a uuid such as 6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a"))?;
        // What has been read has its hyphens in the right places, or none.
        let usual = text.len() == uuid::fmt::Hyphenated::LENGTH && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        Ok((value, Spelling::of(usual)))
    }
);
