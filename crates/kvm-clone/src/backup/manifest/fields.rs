//! JSON that a stranger may have written, read field by field, so that an error can name the one that is wrong.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use kvm_core::text::printable_within;
use kvm_core::{Error, Result};
use serde_json::{Map, Value};

/// No text in a manifest is longer.
const TEXT_MOST: usize = 1024;

/// An object and where it stands.
pub(super) struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
    read: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(path: impl Into<String>, value: &'a Value) -> Result<Self> {
        let path = path.into();
        match value.as_object() {
            Some(object) => Ok(Self { path, object, read: BTreeSet::new() }),
            None => Err(Error::invalid(if path.is_empty() { "manifest" } else { &path }, "is no object")),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// What is wrong with a field.
    pub(super) fn wrong(&self, key: &str, why: &str) -> Error {
        Error::invalid(self.named(key), why)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<String> {
        match self.value(key)?.as_str() {
            Some(text) if text.len() <= TEXT_MOST => Ok(text.to_owned()),
            Some(_) => Err(self.wrong(key, "is too long")),
            None => Err(self.wrong(key, "is no text")),
        }
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Result<T> {
        let text = self.text(key)?;
        text.parse().map_err(|e: T::Err| self.wrong(key, &e.to_string()))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Result<T> {
        let text = self.text(key)?;
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(key, &format!("\"{}\" is none of {}", printable_within(&text, 32), known.join(", ")))
        })
    }

    pub(super) fn number(&mut self, key: &'static str, most: u64) -> Result<u64> {
        match self.value(key)?.as_u64() {
            Some(number) if number <= most => Ok(number),
            Some(_) => Err(self.wrong(key, &format!("is more than {most}"))),
            None => Err(self.wrong(key, "is no whole number")),
        }
    }

    pub(super) fn object(&mut self, key: &'static str) -> Result<Self> {
        let value = self.value(key)?;
        Self::of(self.named(key), value)
    }

    pub(super) fn objects(&mut self, key: &'static str, most: usize) -> Result<Vec<Self>> {
        let Some(list) = self.value(key)?.as_array() else { return Err(self.wrong(key, "is no list")) };
        if list.len() > most {
            return Err(self.wrong(key, &format!("has more than {most} entries")));
        }
        let named = |index: usize| format!("{}[{index}]", self.named(key));
        list.iter().enumerate().map(|(index, value)| Self::of(named(index), value)).collect()
    }

    /// Refuses what nobody has read.
    pub(super) fn finish(self) -> Result<()> {
        match self.object.keys().find(|key| !self.read.contains(key.as_str())) {
            Some(key) => Err(self.wrong(&printable_within(key, 32).to_string(), "is not known")),
            None => Ok(()),
        }
    }

    fn value(&mut self, key: &'static str) -> Result<&'a Value> {
        self.read.insert(key);
        self.object.get(key).ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn named(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
