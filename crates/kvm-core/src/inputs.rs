//! The inputs that every entry point is tested with: `testdata/inputs/names.tsv`, decoded.
//!
//! Only with the feature `test-inputs`, for tests. The functions panic when the file is not well formed.

/// What has to become of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken, and inert wherever it goes.
    Accept,
    /// Refused everywhere, with an error that names the field.
    Reject,
    /// Refused for something new, handled safely when it exists.
    Adopt,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Line of the file, for messages.
    pub line: usize,
    /// The bytes.
    pub value: Vec<u8>,
    /// What has to become of them.
    pub verdict: Verdict,
    /// Why, in a few words.
    pub why: &'static str,
}

impl Row {
    /// The value as text; `None` when it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }
}

const FILE: &str = include_str!("../../../testdata/inputs/names.tsv");

/// The kinds of input there are, each once, in the order of the file.
#[must_use]
pub fn kinds() -> Vec<&'static str> {
    let mut kinds: Vec<_> = lines().map(|(_, line)| line.split('\t').next().unwrap_or_default()).collect();
    kinds.dedup();
    kinds
}

/// All inputs of one kind.
///
/// # Panics
/// When there is none: the kind is misspelt, and a test over no rows would prove nothing.
#[must_use]
pub fn rows(kind: &str) -> Vec<Row> {
    let rows: Vec<_> = lines().filter_map(|(line, text)| row(kind, line, text)).collect();
    assert!(!rows.is_empty(), "no inputs of kind {kind}");
    rows
}

fn lines() -> impl Iterator<Item = (usize, &'static str)> {
    FILE.lines().enumerate().map(|(i, text)| (i + 1, text)).filter(|(_, text)| !text.starts_with('#'))
}

fn row(kind: &str, line: usize, text: &'static str) -> Option<Row> {
    let columns: Vec<_> = text.split('\t').collect();
    let [its_kind, value, verdict, why] = columns[..] else { panic!("line {line}: not four columns") };
    let verdict = match verdict {
        "accept" => Verdict::Accept,
        "reject" => Verdict::Reject,
        "adopt" => Verdict::Adopt,
        other => panic!("line {line}: no verdict {other}"),
    };
    let value = decode(value).unwrap_or_else(|| panic!("line {line}: value is not well formed"));
    (its_kind == kind).then_some(Row { line, value, verdict, why })
}

fn decode(value: &str) -> Option<Vec<u8>> {
    let json = |text: &str| serde_json::from_str::<String>(&format!("\"{text}\"")).ok();
    if let Some(repeat) = value.strip_prefix("@repeat:") {
        let (count, unit) = repeat.split_once(':')?;
        Some(json(unit)?.repeat(count.parse().ok()?).into_bytes())
    } else if let Some(hex) = value.strip_prefix("@bytes:") {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()).collect()
    } else {
        json(value).map(String::into_bytes)
    }
}
