//! What people write about a machine: a title of one line and a description of several.

use std::fmt;
use std::str::FromStr;

use crate::text::{Hazard, hazards, printable, printable_lines, refused, text_serde};
use crate::{Error, Result};

/// Whether a note may have several lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Several,
}

/// The rules for one kind of note.
struct Rules {
    field: &'static str,
    max: usize,
    lines: Lines,
}

/// What a hypervisor may hold: half of the 4 MiB that libvirt sends in one string is plenty.
const ADOPT_MAX: usize = 2 << 20;

impl Rules {
    const TITLE: Self = Self { field: "title", max: 200, lines: Lines::One };
    const DESCRIPTION: Self = Self { field: "description", max: 8192, lines: Lines::Several };

    fn parse(&self, text: &str) -> Result<()> {
        self.check_length(text, self.max)?;
        let breaks = |c| self.lines == Lines::Several && matches!(c, '\n' | '\t');
        let bad = hazards(text).find_map(|(_, c, hazard)| match hazard? {
            // Harmless in prose, where nobody compares it with another.
            Hazard::Invisible | Hazard::Space => None,
            hazard => (!breaks(c)).then_some((c, hazard)),
        });
        match bad {
            None => Ok(()),
            Some(('\n' | '\r', _)) if self.lines == Lines::One => {
                Err(refused(self.field, self.field, text, "has more than one line; put the rest into the description"))
            }
            Some((c, hazard)) => {
                let what = hazard.describe(c);
                Err(refused(self.field, self.field, text, format_args!("contains {what}; leave it out")))
            }
        }
    }

    fn adopt(&self, text: &str) -> Result<()> {
        self.check_length(text, ADOPT_MAX)?;
        if text.contains('\0') {
            return Err(refused(self.field, self.field, text, "contains a NUL character; leave it out"));
        }
        Ok(())
    }

    fn check_length(&self, text: &str, max: usize) -> Result<()> {
        if text.len() <= max {
            return Ok(());
        }
        let why = format!("is {} bytes long; use at most {} bytes", text.len(), self.max);
        Err(refused(self.field, self.field, text, why))
    }
}

macro_rules! notes {
    ($($(#[$doc:meta])* $name:ident: $rules:path, $show:path;)*) => {$(
        $(#[$doc])*
        ///
        /// `FromStr` is [`parse`](Self::parse); `Deserialize` is [`adopt`](Self::adopt).
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes what somebody writes now. Empty text is fine and means that there is none.
            pub fn parse(text: &str) -> Result<Self> {
                $rules.parse(text).map(|()| Self(text.into()))
            }

            /// Takes what a hypervisor already holds, byte for byte: all but NUL and absurd lengths.
            pub fn adopt(text: &str) -> Result<Self> {
                $rules.adopt(text).map(|()| Self(text.into()))
            }

            /// The exact text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether there is no text.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $show(&self.0).fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        text_serde!($name, "text", $name::adopt, |note| note.as_str());
    )*};
}

notes! {
    /// A line that says what a machine is for: at most 200 bytes, no control or text direction characters.
    Title: Rules::TITLE, printable;
    /// Any number of lines about a machine: at most 8192 bytes, line feeds and tabs, no other control and no text
    /// direction characters. `Display` keeps the lines.
    Description: Rules::DESCRIPTION, printable_lines;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_one_line_and_a_description_several() {
        let e = Title::parse("a\nb").unwrap_err();
        assert!(e.message().contains("more than one line"), "{e}");
        assert_eq!(Description::parse("a\n\tb").unwrap().to_string(), "a\n\tb");
        assert!(Description::parse("a\r\nb").is_err());
    }

    #[test]
    fn what_exists_is_adopted_and_shown_safely() {
        let e = Description::parse("\u{1b}]8;;http://x\u{7}y").unwrap_err();
        assert!(e.message().contains("U+001B"), "{e}");
        let held = Description::adopt("\u{202e}abc").unwrap();
        assert_eq!((held.as_str(), held.to_string().as_str()), ("\u{202e}abc", "\\u{202e}abc"));
        assert!(Description::adopt("\0").is_err());
    }

    #[test]
    fn lengths_are_in_bytes() {
        assert!(Description::parse(&"é".repeat(4096)).is_ok());
        assert!(Description::parse(&"é".repeat(4097)).is_err());
        assert!(Title::parse("").unwrap().is_empty());
    }
}
