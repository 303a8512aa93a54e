//! Characters that have no place in a name: they control, reorder, hide, or are not characters at all.

use std::fmt;

use unicode_properties::{EmojiStatus, UnicodeEmoji as _};
use unicode_script::{Script, UnicodeScript as _};

/// Why a character could deceive a reader or a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hazard {
    /// C0, DEL or C1.
    Control,
    /// U+2028 or U+2029: a newline to some readers, none to others.
    LineSeparator,
    /// Sets or overrides the direction of text.
    Bidi,
    /// Takes no room: two names would look the same.
    Invisible,
    /// White space other than U+0020.
    Space,
    /// Reserved by Unicode for ever, not text.
    Noncharacter,
}

impl Hazard {
    /// The character and what it is, for a message: "the control character U+0007".
    pub(crate) fn describe(self, c: char) -> impl fmt::Display {
        let what = match self {
            Self::Control => "the control character",
            Self::LineSeparator => "the line separator",
            Self::Bidi => "the text direction control",
            Self::Invisible => "the invisible character",
            Self::Space => "the unusual white space",
            Self::Noncharacter => "the noncharacter",
        };
        format!("{what} U+{:04X}", u32::from(c))
    }

    fn of(c: char) -> Option<Self> {
        let code = u32::from(c);
        if matches!(c, ' '..='~') {
            None
        } else if c.is_control() {
            Some(Self::Control)
        } else if matches!(c, '\u{2028}' | '\u{2029}') {
            Some(Self::LineSeparator)
        } else if matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            Some(Self::Bidi)
        } else if code & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}') {
            Some(Self::Noncharacter)
        } else if is_invisible(c) {
            Some(Self::Invisible)
        } else if c.is_whitespace() {
            Some(Self::Space)
        } else {
            None
        }
    }
}

/// Unicode's `Default_Ignorable_Code_Point` (without the direction controls), interlinear annotation, and the blank
/// braille cell.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Every character with its byte offset and its hazard, if it is one where it stands.
///
/// Joiners and variation selectors are none where a script or an emoji sequence needs them.
pub(crate) fn hazards(text: &str) -> impl Iterator<Item = (usize, char, Option<Hazard>)> {
    let mut chars = text.char_indices().peekable();
    let mut before: Option<char> = None;
    // The script of the last character that has one: marks take that of their base.
    let mut script = Script::Common;
    std::iter::from_fn(move || {
        let (at, c) = chars.next()?;
        let after = chars.peek().map(|&(_, c)| c);
        let hazard = match c {
            '\u{200c}' | '\u{200d}' if joins_letters(script, after) => None,
            '\u{200d}' if joins_emoji(before, after) => None,
            '\u{fe0e}' | '\u{fe0f}' if selects(c, before, after) => None,
            _ => Hazard::of(c),
        };
        if hazard.is_some() {
            // Nothing can lean on what should not be there.
            (before, script) = (None, Script::Common);
        } else {
            before = Some(c);
            if c.script() != Script::Inherited {
                script = c.script();
            }
        }
        Some((at, c, hazard))
    })
}

/// Whether a joiner stands between two letters of a script in which it changes how they are written.
fn joins_letters(before: Script, after: Option<char>) -> bool {
    use Script::{
        Arabic, Bengali, Devanagari, Gujarati, Gurmukhi, Kannada, Khmer, Malayalam, Mongolian, Myanmar, Nko, Oriya,
        Sinhala, Syriac, Tamil, Telugu,
    };
    let joining = matches!(
        before,
        Arabic
            | Bengali
            | Devanagari
            | Gujarati
            | Gurmukhi
            | Kannada
            | Khmer
            | Malayalam
            | Mongolian
            | Myanmar
            | Nko
            | Oriya
            | Sinhala
            | Syriac
            | Tamil
            | Telugu
    );
    joining && after.is_some_and(|c| c.script() == before)
}

fn joins_emoji(before: Option<char>, after: Option<char>) -> bool {
    before.is_some_and(|c| c == '\u{fe0f}' || is_pictograph(c)) && after.is_some_and(is_pictograph)
}

/// Whether a presentation selector follows a character that has two presentations.
fn selects(selector: char, before: Option<char>, after: Option<char>) -> bool {
    let Some(base) = before else { return false };
    if base.is_ascii() {
        return selector == '\u{fe0f}' && matches!(base, '0'..='9' | '#' | '*') && after == Some('\u{20e3}');
    }
    match base.emoji_status() {
        EmojiStatus::EmojiOther | EmojiStatus::EmojiModifierBase => true,
        // Already shown as emoji: asking for it again would only make a twin.
        _ => selector == '\u{fe0e}' && base.is_emoji_char(),
    }
}

fn is_pictograph(c: char) -> bool {
    !c.is_ascii() && c.is_emoji_char()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Option<Hazard> {
        hazards(text).find_map(|(_, _, hazard)| hazard)
    }

    #[test]
    fn joiners_and_selectors_are_hazards_only_where_nothing_needs_them() {
        for fine in
            ["👩\u{200d}💻", "🏳\u{fe0f}\u{200d}🌈", "❤\u{fe0f}", "1\u{fe0f}\u{20e3}", "می\u{200c}خ", "क्\u{200d}ष"]
        {
            assert_eq!(first(fine), None, "{fine:?}");
        }
        for lone in [
            "a\u{200d}b",
            "a\u{fe0f}",
            "1\u{fe0f}",
            "👩\u{200d}",
            "\u{200d}👩",
            "🐧\u{fe0f}",
            "می\u{200c}",
            "م\u{200c}\u{200c}م",
            "数\u{fe00}",
        ] {
            assert_eq!(first(lone), Some(Hazard::Invisible), "{lone:?}");
        }
    }

    #[test]
    fn nothing_leans_on_a_hazard() {
        let found: Vec<_> = hazards("a\u{fe0f}\u{200d}👩").map(|(_, _, hazard)| hazard.is_some()).collect();
        assert_eq!(found, [false, true, true, false]);
        let found: Vec<_> = hazards("م\u{200c}\u{200c}م").map(|(_, _, hazard)| hazard.is_some()).collect();
        assert_eq!(found, [false, true, true, false]);
    }

    #[test]
    fn each_class_is_told_apart() {
        for (c, hazard) in [
            ('\u{85}', Hazard::Control),
            ('\u{2029}', Hazard::LineSeparator),
            ('\u{200f}', Hazard::Bidi),
            ('\u{ad}', Hazard::Invisible),
            ('\u{3000}', Hazard::Space),
            ('\u{1fffe}', Hazard::Noncharacter),
            ('\u{fdd0}', Hazard::Noncharacter),
        ] {
            assert_eq!(Hazard::of(c), Some(hazard), "{c:?}");
        }
        assert_eq!(Hazard::Control.describe('\u{7}').to_string(), "the control character U+0007");
    }
}
