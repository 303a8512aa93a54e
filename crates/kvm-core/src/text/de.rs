//! Deserialisation of parsed types straight from the input's text, without a copy of it.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{self, Visitor};

use crate::Result;

/// Reads a string and hands it to a parser while it still belongs to the input: what is too long is never copied.
pub(crate) fn deserialize_with<'de, D, T, F>(deserializer: D, expecting: &'static str, parse: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(&str) -> Result<T>,
{
    struct Text<T, F> {
        expecting: &'static str,
        parse: F,
        result: PhantomData<T>,
    }

    impl<T, F: FnOnce(&str) -> Result<T>> Visitor<'_> for Text<T, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expecting)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.parse)(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text { expecting, parse, result: PhantomData })
}

/// Serialises through `Display` of `as_str`, deserialises through the function named: one line per parsed type.
macro_rules! text_serde {
    ($type:ty, $expecting:literal, $parse:path, |$value:ident| $text:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                let $value = self;
                serializer.serialize_str($text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                $crate::text::deserialize_with(deserializer, $expecting, $parse)
            }
        }
    };
}

pub(crate) use text_serde;

/// Strict deserialisation for what a person wrote: specifications and configuration.
///
/// `Deserialize` of the names takes what a hypervisor may already hold. A field that asks for something *new* takes
/// the strict policy instead:
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Spec {
///     #[serde(deserialize_with = "kvm_core::text::strict::deserialize")]
///     name: kvm_core::VmName,
///     #[serde(default, deserialize_with = "kvm_core::text::strict::optional")]
///     title: Option<kvm_core::Title>,
/// }
/// let spec: Spec = serde_json::from_str(r#"{"name": "web01"}"#).unwrap();
/// assert_eq!((spec.name.as_str(), spec.title), ("web01", None));
/// assert!(serde_json::from_str::<Spec>(r#"{"name": "-rf"}"#).is_err());
/// ```
pub mod strict {
    use std::marker::PhantomData;
    use std::str::FromStr;

    use serde::Deserializer;
    use serde::de::{self, Visitor};

    use crate::Error;

    /// Deserialises through [`FromStr`], which is `parse` for every type of this crate.
    pub fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err = Error>,
    {
        super::deserialize_with(deserializer, "a string", T::from_str)
    }

    /// As [`deserialize()`], for an optional field; combine it with `#[serde(default)]`.
    pub fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err = Error>,
    {
        struct Optional<T>(PhantomData<T>);

        impl<'de, T: FromStr<Err = Error>> Visitor<'de> for Optional<T> {
            type Value = Option<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or nothing")
            }

            fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserialize(deserializer).map(Some)
            }
        }

        deserializer.deserialize_option(Optional(PhantomData))
    }
}
