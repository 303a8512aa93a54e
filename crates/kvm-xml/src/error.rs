//! Why a document was refused.

use crate::leaf::Expected;
use std::fmt;

/// Why a document, or a value that should go into one, was refused.
///
/// `Display` gives one line without control characters, however hostile the input:
/// `line 3, column 12: domain.devices.disk: unknown attribute 'typ'; it may have type, device, …`.
#[derive(Clone, PartialEq, Eq)]
pub struct XmlError(Box<Details>);

#[derive(Clone, PartialEq, Eq)]
struct Details {
    path: Vec<String>,
    line: usize,
    column: usize,
    message: String,
}

/// The most characters of the input that a message repeats.
const QUOTED: usize = 60;
/// The most steps of a path that are shown: the last ones say where the error is.
const STEPS: usize = 12;

impl XmlError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Details { path: Vec::new(), line: 0, column: 0, message: message.into() }))
    }

    /// A value that does not fit.
    pub(crate) fn value(text: &str, expected: Expected) -> Self {
        let text = quote(text);
        Self::new(match expected {
            Expected::Text(what) => format!("{text} is not {what}"),
            Expected::OneOf(words) => format!("{text} is not one of {}", list(words.iter().copied())),
            Expected::Range(least, greatest) => format!("{text} is not a number from {least} to {greatest}"),
            Expected::Once => "it is there twice".to_owned(),
        })
    }

    /// Adds where in `text` it happened, unless that is known already.
    pub(crate) fn at(mut self, text: &str, offset: usize) -> Self {
        if self.0.line == 0 {
            let before = text.get(..offset).unwrap_or(text);
            self.0.line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
            self.0.column = before.chars().rev().take_while(|&character| character != '\n').count() + 1;
        }
        self
    }

    /// Adds the element around what went wrong.
    pub(crate) fn within(mut self, name: &str) -> Self {
        if self.0.path.len() <= STEPS {
            self.0.path.push(name.chars().take(QUOTED).flat_map(char::escape_debug).collect());
        }
        self
    }

    /// The elements around the place, outermost first, joined by dots; empty when the document as a whole is meant.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        if self.0.path.len() > STEPS {
            path.push('…');
        }
        for step in self.0.path.iter().take(STEPS).rev() {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }

    /// The line, from 1; 0 when there is no text to point at.
    #[must_use]
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// The column in characters, from 1; 0 when there is no text to point at.
    #[must_use]
    pub fn column(&self) -> usize {
        self.0.column
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.line > 0 {
            write!(f, "line {}, column {}: ", self.0.line, self.0.column)?;
        }
        if !self.0.path.is_empty() {
            write!(f, "{}: ", self.path())?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XmlError({self})")
    }
}

impl std::error::Error for XmlError {}

/// Text from outside, shortened and made harmless.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED).is_some() {
        quoted.push('…');
    }
    format!("'{quoted}'")
}

/// A list of names, shortened.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 40;
    let names: Vec<&str> = names.collect();
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}
