//! The form that disks and network devices have on a command line: `key=value,key=value`.

use kvm_core::Result;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::read_named;
use crate::text::refused;

/// Reads `key=value,key=value` as the file form of the same thing. A first part without `=` is the value of `first`.
///
/// A comma in a value is written twice, as QEMU has it.
pub(super) fn read<T: DeserializeOwned>(field: &'static str, text: &str, first: &'static str) -> Result<T> {
    read_with(field, text, |i, part| (i == 0).then(|| (first.to_owned(), part.to_owned())))
}

/// The same, where `lone` says what a part without `=` means by its place, if anything.
pub(super) fn read_with<T: DeserializeOwned>(
    field: &'static str,
    text: &str,
    lone: impl Fn(usize, &str) -> Option<(String, String)>,
) -> Result<T> {
    let mut pairs = Map::new();
    for (i, part) in split(text).into_iter().enumerate() {
        let pair = match part.split_once('=') {
            Some((key, value)) => Some((key.to_owned(), value.to_owned())),
            None => lone(i, &part),
        };
        let Some((key, value)) = pair else {
            return Err(refused(field, &part, "is not key=value; write a comma in a value twice"));
        };
        if pairs.insert(key.clone(), Value::String(value)).is_some() {
            return Err(refused(field, &key, "is there twice"));
        }
    }
    read_named(Value::Object(pairs)).map_err(|e| e.on(kvm_core::Resource::Field(field.into())))
}

/// Splits at commas; two in a row are one that belongs to the text.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' if chars.next_if_eq(&',').is_none() => parts.push(String::new()),
            c => parts.last_mut().into_iter().for_each(|part| part.push(c)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_comma_belongs_to_the_value() {
        assert_eq!(split("a,b=c,,d,,,e"), ["a", "b=c,d,", "e"]);
        assert_eq!(split(""), [""]);
    }
}
