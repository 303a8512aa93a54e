//! Words that mix writing systems, the way look-alikes are made.

use unicode_script::{Script, UnicodeScript as _};
use unicode_security::mixed_script::AugmentedScriptSet;

/// The first word whose letters come from scripts that are not written together.
///
/// A word ends at punctuation, symbols and spaces, so `файл.img` is two words of one script each. Latin together with
/// the Chinese, Japanese or Korean scripts is usual and passes (Unicode TR 39, "highly restrictive").
pub(crate) fn mixed_script_word(text: &str) -> Option<&str> {
    text.split(|c: char| c.script() == Script::Common && !c.is_alphanumeric()).find(|word| !is_written_together(word))
}

fn is_written_together(word: &str) -> bool {
    let resolve = |chars: &mut dyn Iterator<Item = char>| {
        chars.fold(AugmentedScriptSet::default(), |mut set, c| {
            set.intersect_with(c.into());
            set
        })
    };
    if !resolve(&mut word.chars()).is_empty() {
        return true;
    }
    let others = resolve(&mut word.chars().filter(|c| c.script() != Script::Latin));
    others.hanb || others.jpan || others.kore
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_alike_inside_a_word_is_found() {
        assert_eq!(mixed_script_word("my \u{430}pple"), Some("\u{430}pple"));
        assert_eq!(mixed_script_word("l\u{43e}calhost"), Some("l\u{43e}calhost"));
        assert_eq!(mixed_script_word("\u{430}\u{301}pple"), Some("\u{430}\u{301}pple"));
        assert_eq!(mixed_script_word("αlpha"), Some("αlpha"));
    }

    #[test]
    fn scripts_that_are_written_together_pass() {
        for text in [
            "файл.img",
            "team=开发",
            "web数据库01",
            "ひらがなカタカナ漢字",
            "한국어ABC",
            "снимок-2",
            "كرة 12",
            "🐧vm",
            "a+b=c,d",
        ] {
            assert_eq!(mixed_script_word(text), None, "{text}");
        }
    }
}
