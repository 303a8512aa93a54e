//! Just enough of Rust's lexical rules to look at code without its comments and literals.

/// Replaces comments and the contents of string and character literals by blanks.
///
/// Lines keep their numbers, so a hit in the result is a hit at the same place of the source.
pub(super) fn code(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        // `r"` opens a raw string, but the end of `for"` (as a macro may see it) does not.
        let hidden = match after_word {
            true => literal_without_prefix(rest),
            false => hidden(rest),
        };
        let taken = hidden.unwrap_or(first.len_utf8());
        let (token, tail) = rest.split_at(taken);
        match hidden {
            Some(_) => code.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => code.push(first),
        }
        after_word = hidden.is_none() && is_word(first);
        rest = tail;
    }
    code
}

/// The length of the comment or literal that starts here, if one does.
fn hidden(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let unprefixed = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - unprefixed.len();
    if prefix <= 1 {
        if let Some(raw) = unprefixed.strip_prefix('r')
            && let Some(length) = raw_string(raw)
        {
            return Some(prefix + 1 + length);
        }
        return literal_without_prefix(unprefixed).map(|length| prefix + length);
    }
    None
}

fn literal_without_prefix(text: &str) -> Option<usize> {
    match text.chars().next()? {
        '"' => Some(quoted(text)),
        '\'' => character(text),
        _ => None,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a raw string, from behind its `r`.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let body = text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let closed = body.find(&end).map(|at| hashes + 1 + at + end.len());
    Some(closed.unwrap_or(text.len()))
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; `None` for a lifetime or label.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        // The character behind the backslash may itself be a quote.
        let behind = inside.char_indices().nth(2)?.0;
        let close = inside[behind..].find('\'')?;
        return Some(1 + behind + close + 1);
    }
    let (end, close) = inside.char_indices().nth(1)?;
    (close == '\'').then_some(1 + end + 1)
}

/// Whether a character can be part of an identifier.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The lines (counted from one) on which `word` stands as a word of its own.
///
/// The word may itself be a path or end in a punctuation mark: only its outer ends are looked at.
pub(super) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let stands_alone = |line: &str, at: usize| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open_start = word.starts_with(is_word) && before.is_some_and(is_word);
        let open_end = word.ends_with(is_word) && after.is_some_and(is_word);
        !open_start && !open_end
    };
    let lines = code.lines().enumerate();
    lines
        .filter(|(_, line)| line.match_indices(word).any(|(at, _)| stands_alone(line, at)))
        .map(|(index, _)| index + 1)
        .collect()
}

/// Whether the file holds tests only, by its place.
pub(super) fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// The line from which on the file holds its unit tests.
pub(super) fn first_test_line(code: &str) -> usize {
    let at = code.lines().position(|line| line.trim() == "#[cfg(test)]");
    at.map_or(usize::MAX, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn leaves(source: &str, expected: &str) {
        let squeezed: Vec<String> =
            code(source).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(squeezed.join("\n"), expected);
    }

    #[test]
    fn comments_vanish_and_lines_stay() {
        leaves("a // b\n/* c\n/* d */ e */ f", "a\n\nf");
    }

    #[test]
    fn literals_vanish() {
        leaves(r#"a("b \" c", 'd', '\'', '\u{e9}', b'x', b"y") z"#, "a( , , , , , ) z");
        leaves("a(r#\"b \" c\"#, br\"\\\") z", "a( , ) z");
        leaves("\"never closed", "");
    }

    #[test]
    fn lifetimes_stay() {
        leaves("fn a<'b>(c: &'b str) -> &'static str", "fn a<'b>(c: &'b str) -> &'static str");
    }

    #[test]
    fn a_word_that_ends_in_a_prefix_is_no_prefix() {
        leaves("for b in c { r(b) } attr\"x\"", "for b in c { r(b) } attr");
    }

    #[test]
    fn words_are_found_only_whole() {
        let text = "unsafe_code\nunsafe {\nx.unsafe()";
        assert_eq!(lines_with(text, "unsafe"), [2, 3]);
        assert_eq!(lines_with("kvm_libvirt::x\nvirt::x", "virt::"), [2]);
    }

    #[test]
    fn tests_are_known_by_place_or_by_attribute() {
        assert!(is_test_file("crates/a/tests/b.rs"));
        assert!(is_test_file("crates/a/src/b/tests.rs"));
        assert!(!is_test_file("crates/a/src/contests.rs"));
        assert_eq!(first_test_line("a\n#[cfg(test)]\nmod tests {}"), 2);
        assert_eq!(first_test_line("a"), usize::MAX);
    }
}
