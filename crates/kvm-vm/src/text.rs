//! How the values of a specification are read and written, each in one place.

use std::fmt;

use kvm_core::text::printable_within;
use kvm_core::{Autostart, Bytes, Error, Protection, Result, VcpuCount, parse_memory, parse_size};
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;

/// How many characters of a refused value an error shows.
const SHOWN: usize = 48;

/// The refusal of a value: what is wrong with it and how to mend it.
pub(crate) fn refused(field: &str, value: &str, why: impl fmt::Display) -> Error {
    Error::invalid(field, format!("{field} \"{}\" {why}", printable_within(value, SHOWN)))
}

/// Defines enums of words: the words are what files, flags and messages say.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident: $field:literal {
        $($(#[$item_doc:meta])* $item:ident = $word:literal,)+
    })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$item_doc])* $item,)+
        }

        impl $name {
            /// All choices.
            pub const ALL: &'static [Self] = &[$(Self::$item),+];

            /// The word that names it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$item => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = kvm_core::Error;

            fn from_str(text: &str) -> kvm_core::Result<Self> {
                Self::ALL.iter().copied().find(|choice| choice.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|choice| choice.as_str()).collect();
                    $crate::text::refused($field, text, format_args!("is not one of {}", known.join(", ")))
                })
            }
        }

        $crate::text::text_serde!($name);
    )+};
}

/// Serialises a type as its `Display`, deserialises it from a word, a boolean or a number through `FromStr`.
macro_rules! text_serde {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                $crate::text::scalar(deserializer, |text| text.parse())
            }
        }
    };
}

/// Defines names that are plain words: letters, digits and a few signs, so that they are inert everywhere.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $field:literal, $max:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            #[doc = concat!(
                "Takes a word of at most ", $max,
                " letters, digits, `.`, `_`, `-` and `+` that starts with a letter or a digit."
            )]
            pub fn parse(text: &str) -> kvm_core::Result<Self> {
                $crate::text::check_word($field, text, $max).map(|()| Self(text.into()))
            }

            /// The exact word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = kvm_core::Error;

            fn from_str(text: &str) -> kvm_core::Result<Self> {
                Self::parse(text)
            }
        }

        $crate::text::text_serde!($name);
    )+};
}

pub(crate) use {choices, text_serde, words};

pub(crate) fn check_word(field: &str, text: &str, max: usize) -> Result<()> {
    if text.is_empty() {
        Err(Error::invalid(field, format!("{field} is empty")))
    } else if text.len() > max {
        Err(refused(field, text, format_args!("is longer than {max} characters")))
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Err(refused(field, text, "does not start with a letter or a digit"))
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b)) {
        Err(refused(field, text, "has other characters than letters, digits and . _ - +"))
    } else {
        Ok(())
    }
}

/// Reads a scalar as its text: what a file writes without quotes arrives as a boolean or a number.
pub(crate) fn scalar<'de, D, T>(deserializer: D, parse: impl FnOnce(&str) -> Result<T>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct Scalar<F>(F);

    impl<T, F: FnOnce(&str) -> Result<T>> Visitor<'_> for Scalar<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a word or a number")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
            self.visit_str(if value { "yes" } else { "no" })
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_u128<E: de::Error>(self, value: u128) -> Result<T, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_i128<E: de::Error>(self, value: i128) -> Result<T, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
            // With its point or exponent, so that 1e9 is not taken for a whole number.
            self.visit_str(&format!("{value:?}"))
        }
    }

    deserializer.deserialize_any(Scalar(parse))
}

/// A number of virtual CPUs.
pub(crate) fn vcpus<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<VcpuCount>, D::Error> {
    scalar(deserializer, VcpuCount::parse).map(Some)
}

/// As [`memory`], or nothing.
pub(crate) mod optional_memory {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        memory::deserialize(deserializer).map(Some)
    }

    pub(crate) fn serialize<S: Serializer>(memory: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        match memory {
            Some(memory) => memory::serialize(memory, serializer),
            None => serializer.serialize_none(),
        }
    }
}

/// Memory: a bare number is MiB.
pub(crate) mod memory {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        scalar(deserializer, parse_memory)
    }

    pub(crate) use super::exact::serialize;
}

/// The size of a volume: a bare number is bytes.
pub(crate) mod size {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        scalar(deserializer, parse_size).map(Some)
    }

    pub(crate) fn serialize<S: Serializer>(size: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => super::exact::serialize(size, serializer),
            None => serializer.serialize_none(),
        }
    }
}

mod exact {
    use super::*;

    /// With its unit, so that it is read back as the same amount wherever it stands.
    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{bytes:#}"))
    }
}

/// A two-valued setting, written as a yes or no.
pub(crate) trait Switch: Copy + PartialEq + Sized {
    const FIELD: &'static str;
    const ON: Self;
    const OFF: Self;
}

impl Switch for bool {
    const FIELD: &'static str = "setting";
    const ON: Self = true;
    const OFF: Self = false;
}

impl Switch for Autostart {
    const FIELD: &'static str = "autostart";
    const ON: Self = Self::On;
    const OFF: Self = Self::Off;
}

impl Switch for Protection {
    const FIELD: &'static str = "protection";
    const ON: Self = Self::On;
    const OFF: Self = Self::Off;
}

/// A choice that may be left open: `auto`.
pub(crate) mod auto {
    use super::*;

    pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        scalar(deserializer, |text| match text {
            "auto" => Ok(None),
            text => match text.parse::<T>() {
                Ok(value) => Ok(Some(value)),
                Err(e) => Err(Error::new(kvm_core::ErrorKind::InvalidInput, e.to_string())),
            },
        })
    }

    pub(crate) fn serialize<S: Serializer, T: fmt::Display>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_str("auto"),
        }
    }
}

/// Settings of yes or no; `on` and `off` are read, too.
pub(crate) mod switch {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Switch>(deserializer: D) -> Result<T, D::Error> {
        scalar(deserializer, |text| match text {
            "yes" | "on" | "true" => Ok(T::ON),
            "no" | "off" | "false" => Ok(T::OFF),
            _ => Err(refused(T::FIELD, text, "is neither yes nor no")),
        })
    }

    pub(crate) fn serialize<S: Serializer, T: Switch>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*value == T::ON)
    }
}
