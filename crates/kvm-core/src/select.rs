//! Selecting machines by their properties: `state=running,tag=web,name~^db`.

use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use crate::text::{printable, refused, text_serde};
use crate::{Error, Result, Tag, VmId, VmState, VmSummary};

const FIELD: &str = "select";
/// The longest selector.
const MAX: usize = 4096;
/// Memory that one compiled expression may take.
const REGEX_MAX: usize = 1 << 20;

/// A condition on machines: terms joined by commas, all of which have to hold.
///
/// | term | holds when |
/// |---|---|
/// | `state=running`, `state!=off` | the state is, or is not, this one |
/// | `name=db`, `name!=db`, `name~^db`, `name!~test` | the whole name, or a regular expression found in it |
/// | `uuid=…`, `uuid!=…`, `uuid~^8fb`, `uuid!~…` | the same for the uuid |
/// | `tag=web`, `tag=owner=dba` | a tag is this one, or has this key |
/// | `tag!=web`, `tag~^own`, `tag!~^own` | no tag is; some tag, or none, has a match |
/// | `autostart=yes`, `persistent=no`, `saved=yes` | the property is so; unknown is neither |
///
/// A comma inside a value is written `\,`; nothing else is special.
///
/// ```
/// use kvm_core::Selector;
/// let selector = Selector::parse("state=running,name~^db")?;
/// assert!(!selector.needs_tags());
/// assert!(Selector::parse("colour=red").is_err());
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Selector {
    text: Box<str>,
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    holds: Holds,
    test: Test,
}

/// Whether a term asks for its test or for the contrary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Is,
    IsNot,
}

#[derive(Clone, Debug)]
enum Test {
    State(VmState),
    Id(VmId),
    IdMatches(Regex),
    Name(Box<str>),
    NameMatches(Regex),
    Tag(Box<str>),
    TagMatches(Regex),
    Flag(Flag, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Autostart,
    Persistent,
    Saved,
}

impl Selector {
    /// Reads a selector. `InvalidInput` says which term is wrong and why.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX {
            return Err(refused(FIELD, "selector", text, format_args!("is longer than {MAX} bytes")));
        }
        let terms = split_terms(text).iter().map(|term| Term::parse(term)).collect::<Result<_>>()?;
        Ok(Self { text: text.into(), terms })
    }

    /// Whether [`matches`](Self::matches) looks at tags, which cost one call for each machine.
    #[must_use]
    pub fn needs_tags(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.test, Test::Tag(_) | Test::TagMatches(_)))
    }

    /// Whether all terms hold for a machine. The tags may be left empty when
    /// [`needs_tags`](Self::needs_tags) says no.
    #[must_use]
    pub fn matches(&self, vm: &VmSummary, tags: &[Tag]) -> bool {
        self.terms.iter().all(|term| match term.test.holds(vm, tags) {
            Some(holds) => holds == (term.holds == Holds::Is),
            None => false,
        })
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| refused(FIELD, "selector term", text, why);
        let at = text.find(['=', '!', '~']).ok_or_else(|| refuse("has no value; write key=value or key~pattern"))?;
        let (key, rest) = text.split_at(at);
        let (holds, rest) = match rest.strip_prefix('!') {
            Some(rest) => (Holds::IsNot, rest),
            None => (Holds::Is, rest),
        };
        let (is_pattern, value) = match (rest.strip_prefix('='), rest.strip_prefix('~')) {
            (Some(value), _) => (false, value),
            (_, Some(value)) => (true, value),
            _ => return Err(refuse("has no operator; use =, !=, ~ or !~")),
        };
        if value.is_empty() {
            return Err(refuse("has an empty value"));
        }
        let test = match (key, is_pattern) {
            ("state", false) => {
                let state = value.parse().map_err(|e: Error| {
                    refuse("names no state").with_detail(e.detail().unwrap_or_default().to_owned())
                })?;
                Test::State(state)
            }
            ("name", false) => Test::Name(value.into()),
            ("name", true) => Test::NameMatches(pattern(text, value)?),
            ("uuid", false) => {
                Test::Id(VmId::adopt(value).map_err(|_| refuse("is not a whole uuid; use ~ for a part"))?)
            }
            ("uuid", true) => Test::IdMatches(pattern(text, value)?),
            ("tag", false) => Test::Tag(value.into()),
            ("tag", true) => Test::TagMatches(pattern(text, value)?),
            (_, is_pattern) => match (flag(key), is_pattern, truth(value)) {
                (Some(flag), false, Some(truth)) => Test::Flag(flag, truth),
                (Some(_), false, None) => return Err(refuse("is neither yes nor no")),
                (Some(_), true, _) => return Err(refuse("compares with a pattern; use = or !=")),
                (None, ..) if key == "state" => return Err(refuse("compares with a pattern; use = or !=")),
                (None, ..) => {
                    let keys = "known keys: state, name, uuid, tag, autostart, persistent, saved";
                    return Err(refuse("has an unknown key").with_detail(keys));
                }
            },
        };
        Ok(Self { holds, test })
    }
}

impl Test {
    /// `None` when it is not known, which is neither true nor false.
    fn holds(&self, vm: &VmSummary, tags: &[Tag]) -> Option<bool> {
        Some(match self {
            Self::State(state) => vm.state == *state,
            Self::Id(id) => vm.id == *id,
            Self::IdMatches(regex) => regex.is_match(&vm.id.to_string()),
            Self::Name(name) => vm.name == **name,
            Self::NameMatches(regex) => regex.is_match(vm.name.as_str()),
            Self::Tag(text) => tags.iter().any(|tag| tag.as_str() == &**text || tag.key() == &**text),
            Self::TagMatches(regex) => tags.iter().any(|tag| regex.is_match(tag.as_str())),
            Self::Flag(flag, wanted) => {
                let is = match flag {
                    Flag::Autostart => vm.autostart?,
                    Flag::Persistent => vm.persistent,
                    Flag::Saved => vm.has_saved_state,
                };
                is == *wanted
            }
        })
    }
}

/// Splits at commas that no backslash escapes, and takes those backslashes out.
fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = chars.next_if(|&next| c == '\\' && next == ',');
        match (escaped, c) {
            (None, ',') => terms.push(String::new()),
            (kept, c) => {
                if let Some(term) = terms.last_mut() {
                    term.push(kept.unwrap_or(c));
                }
            }
        }
    }
    terms
}

fn pattern(term: &str, value: &str) -> Result<Regex> {
    RegexBuilder::new(value).size_limit(REGEX_MAX).dfa_size_limit(REGEX_MAX).build().map_err(|e| {
        let why = match &e {
            regex::Error::CompiledTooBig(_) => "has a pattern that is too large",
            _ => "has a pattern that is not a regular expression",
        };
        // The library draws the pattern with a mark below; its last line is the reason alone.
        let reason = e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        refused(FIELD, "selector term", term, why).with_detail(printable(&reason).to_string())
    })
}

fn flag(key: &str) -> Option<Flag> {
    match key {
        "autostart" => Some(Flag::Autostart),
        "persistent" => Some(Flag::Persistent),
        "saved" => Some(Flag::Saved),
        _ => None,
    }
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        printable(&self.text).fmt(f)
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(Selector, "a selector", Selector::parse, |selector| selector.as_str());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, VmName};

    fn vm() -> VmSummary {
        VmSummary {
            id: VmId::parse("8fbf2b8e-3b3c-4b1e-9a51-000000000001").unwrap(),
            name: VmName::parse("db,prod").unwrap(),
            state: VmState::Running,
            vcpus: Some(2),
            memory: Some(Bytes::GIB),
            max_memory: Some(Bytes::GIB),
            persistent: true,
            autostart: None,
            has_saved_state: false,
        }
    }

    fn selects(text: &str) -> bool {
        let tags = [Tag::parse("ci").unwrap(), Tag::parse("owner=dba").unwrap()];
        Selector::parse(text).unwrap().matches(&vm(), &tags)
    }

    #[test]
    fn all_terms_have_to_hold() {
        assert!(selects("state=running,persistent=yes,saved=no"));
        assert!(!selects("state=running,persistent=no"));
        assert!(selects("state!=off,uuid~^8fbf,uuid=8FBF2B8E3B3C4B1E9A51000000000001"));
    }

    #[test]
    fn a_comma_in_a_value_is_escaped() {
        assert!(selects(r"name=db\,prod"));
        assert!(selects(r"name~^db\,\w{4}$,state=running"));
        assert!(!selects(r"name!~d"));
    }

    #[test]
    fn a_tag_is_found_whole_or_by_its_key() {
        for text in ["tag=ci", "tag=owner", "tag=owner=dba", "tag~^own", "tag!=web", "tag!~^web"] {
            assert!(selects(text), "{text}");
            assert!(Selector::parse(text).unwrap().needs_tags());
        }
        for text in ["tag=dba", "tag!=owner", "tag=owner=", "tag!~c"] {
            assert!(!selects(text), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_neither_so_nor_not_so() {
        assert!(!selects("autostart=yes"));
        assert!(!selects("autostart=no"));
        assert!(!selects("autostart!=yes"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, hint) in [
            ("", "no value"),
            ("state=running,", "no value"),
            ("state=runing", "no state"),
            ("state~run", "pattern"),
            ("colour=red", "unknown key"),
            ("name=", "empty"),
            ("name!db", "no operator"),
            ("name~(", "regular expression"),
            ("name~(a{1000}){1000}", "too large"),
            ("uuid=8fbf", "whole uuid"),
            ("saved=maybe", "yes nor no"),
        ] {
            let e = Selector::parse(text).unwrap_err();
            assert_eq!(e.resource(), Some(&crate::Resource::Field("select".into())), "{text}");
            assert!(e.message().contains(hint), "{text}: {e}");
        }
        assert_eq!(Selector::parse("name~(").unwrap_err().detail(), Some("unclosed group"));
    }
}
