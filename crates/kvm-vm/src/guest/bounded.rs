//! Forms of what a guest says that cannot grow without bounds.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list of at most `N`. A longer one is refused while it is read, so what is too much is never kept.
pub(super) struct Few<T, const N: usize>(pub(super) Vec<T>);

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Items<T, N> {
            type Value = Few<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    if all.len() == N {
                        return Err(de::Error::invalid_length(N + 1, &self));
                    }
                    all.push(item);
                }
                Ok(Few(all))
            }
        }

        from.deserialize_seq(Items(PhantomData))
    }
}

/// A number of things. What cannot be one (negative, with a fraction, too large) is unknown, not zero.
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    struct Count;

    impl<'de> Visitor<'de> for Count {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
            Ok(Some(n))
        }

        fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
            Ok(u64::try_from(n).ok())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }

    from.deserialize_any(Count)
}

/// Bytes in base64, as strict as the standard has it.
pub(super) fn base64<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    struct Base64;

    impl<'de> Visitor<'de> for Base64 {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("base64")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            data_encoding::BASE64.decode(text.as_bytes()).map_err(E::custom)
        }
    }

    from.deserialize_str(Base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_at_its_bound() {
        let read = |text: &str| serde_json::from_str::<Few<u8, 3>>(text).map(|few| few.0);
        assert_eq!(read("[1, 2, 3]").unwrap(), [1, 2, 3]);
        assert!(read("[1, 2, 3, 4]").is_err());
        assert!(read("{}").is_err());
    }

    #[test]
    fn what_cannot_be_a_number_of_things_is_unknown() {
        #[derive(Deserialize)]
        struct Form {
            #[serde(deserialize_with = "count")]
            n: Option<u64>,
        }
        let read = |text: &str| serde_json::from_str::<Form>(&format!("{{\"n\": {text}}}")).map(|form| form.n);
        assert_eq!(read("7").unwrap(), Some(7));
        for text in ["-1", "1.5", "1e308", "18446744073709551616", "null"] {
            assert_eq!(read(text).unwrap(), None, "{text}");
        }
        assert!(read("\"7\"").is_err());
    }
}
