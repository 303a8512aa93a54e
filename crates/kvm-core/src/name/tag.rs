//! Tags: words or `key=value` pairs by which machines are grouped and selected.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::is_nfc;

use crate::text::{hazards, mixed_script_word, printable, refused, text_serde};
use crate::{Error, Result};

/// A word such as `ci`, or a pair such as `owner=dba`.
///
/// At most 200 bytes in normal form C. No comma (lists of tags are joined by it), no control, direction, invisible or
/// unusual space characters, no word of mixed scripts. The key has no spaces, does not start with `-` or `.`, and
/// does not belong to `kvmm.io/`, which is ours. The value may be empty and may contain `=`.
///
/// ```
/// use kvm_core::Tag;
/// let tag = Tag::parse("owner=dba")?;
/// assert_eq!((tag.key(), tag.value()), ("owner", Some("dba")));
/// assert_eq!(Tag::parse("ci")?.value(), None);
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

const FIELD: &str = "tag";
const MAX: usize = 200;
const RESERVED: &str = "kvmm.io/";

impl Tag {
    /// Takes a tag. `InvalidInput` says what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Err(refused(FIELD, FIELD, text, why));
        if text.len() > MAX {
            return Err(refused(FIELD, FIELD, text, format_args!("is {} bytes long; use at most {MAX}", text.len())));
        }
        if let Some((c, hazard)) = hazards(text).find_map(|(_, c, hazard)| Some((c, hazard?))) {
            return Err(refused(FIELD, FIELD, text, format_args!("contains {}; leave it out", hazard.describe(c))));
        }
        let (key, value) = split(text);
        if key.is_empty() {
            return refuse("has no key; write a word or key=value");
        }
        if key.contains(' ') || value.is_some_and(|v| v.starts_with(' ') || v.ends_with(' ')) {
            return refuse("has a space in its key or around its value; leave it out");
        }
        if text.contains(',') {
            return refuse("contains ',', which separates tags; leave it out");
        }
        if key.starts_with(['-', '.']) {
            return refuse("starts with '-' or '.'; start with a letter or a digit");
        }
        if key.get(..RESERVED.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED)) {
            return refuse("starts with kvmm.io/, which is reserved; choose another prefix");
        }
        if !is_nfc(text) {
            return refuse("is not in normal form C; type accented letters as one character");
        }
        if mixed_script_word(text).is_some() {
            return refuse("mixes scripts in one word, so that it may look like another tag; use one script");
        }
        Ok(Self(text.into()))
    }

    /// The exact tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The word, or what stands before the first `=`.
    #[must_use]
    pub fn key(&self) -> &str {
        split(&self.0).0
    }

    /// What stands after the first `=`; `None` for a word.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        split(&self.0).1
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)))
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        printable(&self.0).fmt(f)
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl AsRef<str> for Tag {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

text_serde!(Tag, "a tag", Tag::parse, |tag| tag.as_str());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_separates() {
        let tag = Tag::parse("a=b=c").unwrap();
        assert_eq!((tag.key(), tag.value()), ("a", Some("b=c")));
        assert_eq!(Tag::parse("a=").unwrap().value(), Some(""));
    }

    #[test]
    fn what_lists_and_options_would_misread_is_refused() {
        for text in ["", "=x", "a,b", "-x", ".x", "a b=c", "a= b", "KVMM.io/owner=me", "k=\u{430}pple", "e\u{301}=1"] {
            let e = Tag::parse(text).unwrap_err();
            assert_eq!(e.resource(), Some(&crate::Resource::Field("tag".into())), "{text}");
        }
        assert!(Tag::parse("a=two words").is_ok());
    }
}
