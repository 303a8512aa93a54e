//! What a free text has to look like.
//!
//! Such texts stay strings for programs, which take them apart with tools of their own. Strict reading checks them;
//! lenient reading does not, since libvirt's own documents may be older than the rule.

use crate::leaf::Expected;
use std::net::IpAddr;

/// A rule for the text of a field, as libvirt's schema has it.
#[derive(Debug)]
pub struct Form {
    /// What `#[xml(form = "...")]` calls it.
    name: &'static str,
    /// What would be valid.
    expected: &'static str,
    fits: fn(&str) -> bool,
}

const FORMS: &[Form] = &[
    Form { name: "path", expected: "an absolute path", fits: is_path },
    Form {
        name: "device",
        expected: "the name of a device: letters, digits and _ . - : / \\",
        fits: |text| made_of(text, "_.-\\:/"),
    },
    Form { name: "word", expected: "a name: letters, digits and _ + - .", fits: |text| made_of(text, "_+-.") },
    Form { name: "host", expected: "the name or address of a host", fits: is_host },
    Form {
        name: "object",
        expected: "a name without / and line ends",
        fits: |text| !text.is_empty() && !text.contains(['/', '\n']),
    },
    Form { name: "line", expected: "a line of text", fits: |text| !text.is_empty() && !text.contains('\n') },
    Form { name: "unicast", expected: "the MAC address of one interface, not of a group", fits: is_unicast },
];

impl Form {
    /// The form of this name. Evaluated by the compiler, so a wrong name does not build.
    pub(crate) const fn named(name: &str) -> &'static Self {
        let mut index = 0;
        while !crate::element::same(FORMS[index].name, name) {
            index += 1;
        }
        &FORMS[index]
    }

    /// Whether `text` has this form.
    ///
    /// # Errors
    /// When it has not: what would be valid.
    pub fn check(&self, text: &str) -> Result<(), Expected> {
        if (self.fits)(text) { Ok(()) } else { Err(Expected::Text(self.expected)) }
    }
}

fn made_of(text: &str, beside: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || beside.contains(c))
}

/// `/a/b`, `C:\a` of Hyper-V, `[store] a/b` of VMware.
fn is_path(text: &str) -> bool {
    let mut start = text.chars();
    let drive = start.next().is_some_and(|c| c.is_ascii_alphabetic()) && start.as_str().starts_with(":\\");
    let store = text.strip_prefix('[').and_then(|text| text.split_once("] "));
    text.starts_with('/') || drive || store.is_some_and(|(store, path)| !store.is_empty() && !path.is_empty())
}

fn is_host(text: &str) -> bool {
    made_of(text, ".-") || text.parse::<IpAddr>().is_ok()
}

/// The lowest bit of the first byte says that an address is a group's.
fn is_unicast(text: &str) -> bool {
    text.trim().chars().nth(1).and_then(|digit| digit.to_digit(16)).is_some_and(|digit| digit % 2 == 0)
}
