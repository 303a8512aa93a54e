//! Text from outside, made safe to show, and the character rules that all names share.

use std::fmt::{self, Write as _};

use crate::{Error, Result};

mod de;
mod hazard;
mod script;

pub use de::strict;

pub(crate) use de::{deserialize_with, text_serde};
pub(crate) use hazard::{Hazard, hazards};
pub(crate) use script::mixed_script_word;

/// Shows text from outside on one line: whatever would move the cursor, reorder, hide or fake text appears as an
/// escape such as `\u{202e}`.
///
/// Letters of all scripts, emoji sequences and orthographic joiners stay as they are. Backslashes are not doubled, so
/// that ordinary text can be copied from a terminal; the result is for people, not for parsing.
///
/// ```
/// use kvm_core::text::printable;
/// assert_eq!(printable("a\u{202e}gnp.exe").to_string(), "a\\u{202e}gnp.exe");
/// assert_eq!(printable("two\nlines").to_string(), "two\\nlines");
/// assert_eq!(printable("数据库 👩‍💻").to_string(), "数据库 👩‍💻");
/// ```
#[must_use]
pub fn printable(text: &str) -> Printable<'_> {
    Printable { text, limit: usize::MAX, lines: Lines::Escape }
}

/// As [`printable`], but never more than `limit` characters; an ellipsis (`…`, counted) stands for the rest.
///
/// Only the part that is shown is looked at, so the length of the text does not matter.
#[must_use]
pub fn printable_within(text: &str, limit: usize) -> Printable<'_> {
    Printable { text, limit, lines: Lines::Escape }
}

/// As [`printable`], but line feeds and tabs stay: for descriptions and other text of several lines.
#[must_use]
pub fn printable_lines(text: &str) -> Printable<'_> {
    Printable { text, limit: usize::MAX, lines: Lines::Keep }
}

/// A word as a person can type it into a shell, for hints: what a shell would take apart is quoted, what would hide or
/// fake text is shown as [`printable`] does.
///
/// ```
/// use kvm_core::text::shell_word;
/// assert_eq!(shell_word("web-01"), "web-01");
/// assert_eq!(shell_word("it's a VM"), r"'it'\''s a VM'");
/// ```
#[must_use]
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:+,@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.to_owned(),
        false => format!("'{}'", printable(text).to_string().replace('\'', "'\\''")),
    }
}

/// Reads bytes as text; `InvalidInput` naming the field when they are not UTF-8.
pub fn utf8<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let (good, bad) = bytes.split_at(e.valid_up_to());
        let good = String::from_utf8_lossy(good);
        let bad = bad.first().copied().unwrap_or_default();
        let shown = printable_within(&good, SHOWN);
        Error::invalid(field, format!("{field} is not UTF-8: byte 0x{bad:02x} after \"{shown}\""))
    })
}

/// How many characters of a refused value an error message shows.
pub(crate) const SHOWN: usize = 48;

/// The refusal of a value: `<noun> "<value>" <what is wrong and how to mend it>`, the value shown safely and cut.
pub(crate) fn refused(field: &'static str, noun: &str, value: &str, why: impl fmt::Display) -> Error {
    Error::invalid(field, format!("{noun} \"{}\" {why}", printable_within(value, SHOWN)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Escape,
    Keep,
}

/// Text that is shown safely; made by [`printable`] and its variants. Width and alignment of a format apply.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a> {
    text: &'a str,
    limit: usize,
    lines: Lines,
}

impl Printable<'_> {
    fn pieces(&self) -> impl Iterator<Item = Piece> {
        hazards(self.text).map(|(_, c, hazard)| match (hazard, self.lines, c) {
            (None, ..) | (_, Lines::Keep, '\n' | '\t') => Piece::Plain(c),
            (Some(_), _, '\n') => Piece::Short('n'),
            (Some(_), _, '\r') => Piece::Short('r'),
            (Some(_), _, '\t') => Piece::Short('t'),
            (Some(_), ..) => Piece::Escaped(c.escape_unicode()),
        })
    }

    fn write_to(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let mut used = 0;
        // Held back until it is known whether the ellipsis needs its place.
        let mut held = None;
        for piece in self.pieces() {
            let len = piece.len();
            if len > self.limit.saturating_sub(used) {
                return if self.limit == 0 { Ok(()) } else { out.write_char('…') };
            }
            used += len;
            if used < self.limit {
                write!(out, "{piece}")?;
            } else {
                held = Some(piece);
            }
        }
        held.map_or(Ok(()), |piece| write!(out, "{piece}"))
    }
}

enum Piece {
    Plain(char),
    Short(char),
    Escaped(std::char::EscapeUnicode),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Plain(_) => 1,
            Self::Short(_) => 2,
            Self::Escaped(e) => e.len(),
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(c) => f.write_char(*c),
            Self::Short(c) => write!(f, "\\{c}"),
            Self::Escaped(e) => write!(f, "{e}"),
        }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_none() && f.precision().is_none() {
            return self.write_to(f);
        }
        let mut plain = String::new();
        self.write_to(&mut plain)?;
        f.pad(&plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fakes_or_hides_text_is_made_visible() {
        for (text, shown) in [
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\tb\r\n", "a\\tb\\r\\n"),
            ("a\u{9b}b\u{7f}", "a\\u{9b}b\\u{7f}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("a\u{2028}b\u{a0}c", "a\\u{2028}b\\u{a0}c"),
            ("a\u{fe0f}\u{200d}b", "a\\u{fe0f}\\u{200d}b"),
            ("\u{ffff}", "\\u{ffff}"),
        ] {
            assert_eq!(printable(text).to_string(), shown);
        }
    }

    #[test]
    fn ordinary_text_of_all_scripts_stays() {
        for text in ["Büro-Server", "数据库", "كرة", "می‌خواهم", "👩‍💻 ❤️ 1️⃣", "क्‍ष", "a\\b \"q\" 'r'"]
        {
            assert_eq!(printable(text).to_string(), text);
        }
    }

    #[test]
    fn a_limit_counts_the_ellipsis_and_never_cuts_an_escape() {
        assert_eq!(printable_within("abcdef", 6).to_string(), "abcdef");
        assert_eq!(printable_within("abcdefg", 6).to_string(), "abcde…");
        assert_eq!(printable_within("ab\u{202e}cd", 6).to_string(), "ab…");
        assert_eq!(printable_within("abcdef", 0).to_string(), "");
        assert_eq!(printable_within(&"x".repeat(1 << 20), 3).to_string(), "xx…");
    }

    #[test]
    fn lines_stay_only_where_asked_for() {
        assert_eq!(printable_lines("a\n\tb\r\u{1b}").to_string(), "a\n\tb\\r\\u{1b}");
    }

    #[test]
    fn tables_can_align_it() {
        assert_eq!(format!("[{:>6}]", printable("ab")), "[    ab]");
        assert_eq!(format!("[{:.2}]", printable("abc")), "[ab]");
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_with_the_field() {
        let e = utf8("vm_name", b"a\xffb").unwrap_err();
        assert_eq!(e.resource(), Some(&crate::Resource::Field("vm_name".into())));
        assert!(e.message().contains("0xff"), "{e}");
        assert_eq!(utf8("vm_name", b"ok").unwrap(), "ok");
    }
}
