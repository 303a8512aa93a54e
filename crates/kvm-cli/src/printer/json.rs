//! JSON that acts on no terminal.

use std::fmt::Write as _;

use serde::Serialize;

/// Writes a value on one line.
pub(super) fn line(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|text| inert(&text))
}

/// Writes a value on several lines, for people who look at it.
pub(super) fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(|text| inert(&text))
}

/// Escapes what JSON may hold as it is, but what a terminal would act on or hide. It can only stand in strings, where
/// whoever reads the JSON gets the same characters back.
fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match c {
            '\n' => text.push(c),
            c if c.is_control() || is_hidden(c) => {
                // Writing to a String cannot fail.
                let _ok = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('\n');
    text
}

/// Whether it changes the direction of text, or takes no room. All have four digits.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_read_back_as_it_was() {
        for name in ["a\u{7f}b", "a\u{9b}31mb", "a\u{202e}gnp.exe", "a\u{200b}b", "\u{feff}vm", "a\u{2028}b", "\u{85}"]
        {
            let json = line(&name).unwrap();
            assert!(json.trim_end().chars().all(|c| c.is_ascii_graphic()), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
        }
        assert_eq!(line(&"Büro 🐧").unwrap(), "\"Büro 🐧\"\n");
    }
}
