//! The rules for names: one policy, with what each kind of name adds.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::is_nfc;

use crate::text::{SHOWN, hazards, mixed_script_word, printable_within, refused};
use crate::{Error, Result};

/// The longest name that may be chosen: leaves room for the suffixes of derived files.
const CREATE_MAX: usize = 200;

/// The longest name that libvirt can keep: `<name>.xml.new` has to be a file name.
const XML_FILE_MAX: usize = 247;

/// The longest name of a file.
const FILE_MAX: usize = 255;

/// Whether a word of a name may mix scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scripts {
    OnePerWord,
    Mixed,
}

/// Whether libvirt takes line breaks in this kind of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineBreaks {
    Never,
    MayExist,
}

/// The rules for one kind of name.
#[derive(Debug)]
pub(super) struct Policy {
    /// The field that errors name.
    field: &'static str,
    /// What messages call it.
    noun: &'static str,
    /// Bytes that a hypervisor can keep.
    adopt_max: usize,
    line_breaks: LineBreaks,
    /// What this kind adds to the rules of `adopt`.
    never: fn(&str) -> Option<&'static str>,
    /// What this kind adds to the rules of `parse`.
    strict: fn(&str) -> Option<&'static str>,
}

impl Policy {
    pub(super) const VM: Self = Self {
        field: "vm_name",
        noun: "VM name",
        adopt_max: XML_FILE_MAX,
        line_breaks: LineBreaks::Never,
        never: |_| None,
        strict: |_| None,
    };
    pub(super) const POOL: Self = Self { field: "pool_name", noun: "pool name", ..Self::VM };
    pub(super) const NETWORK: Self = Self { field: "network_name", noun: "network name", ..Self::VM };
    pub(super) const FILTER: Self = Self { field: "filter_name", noun: "filter name", ..Self::VM };
    pub(super) const HOST_DEVICE: Self = Self { field: "device", noun: "device name", ..Self::VM };
    pub(super) const VOLUME: Self = Self {
        field: "volume_name",
        noun: "volume name",
        adopt_max: FILE_MAX,
        line_breaks: LineBreaks::MayExist,
        never: |text| {
            if text.ends_with(".partial") {
                Some("ends in .partial, which marks files that are still being written; choose another ending")
            } else if text.starts_with(".kvmm-") {
                Some("starts with .kvmm-, which marks our own files; choose another name")
            } else {
                None
            }
        },
        strict: |text| {
            if text.contains(':') {
                Some("contains ':', before which QEMU expects a protocol; use '-' instead")
            } else if text.contains('*') {
                Some("contains '*', which stands for any file elsewhere; leave it out")
            } else if text.starts_with('~') {
                Some("starts with '~', which stands for a home directory elsewhere; leave it out")
            } else {
                None
            }
        },
    };
    pub(super) const SNAPSHOT: Self = Self {
        field: "snapshot_name",
        noun: "snapshot name",
        line_breaks: LineBreaks::MayExist,
        never: |text| {
            if text.starts_with('.') {
                Some("starts with '.', which libvirt refuses; start with a letter or a digit")
            } else if text == "current" {
                Some("is the word for the newest snapshot; choose another name")
            } else {
                None
            }
        },
        ..Self::VM
    };

    /// The rules for a name that a hypervisor already holds.
    pub(super) fn adopt(&self, text: &str) -> Result<()> {
        self.check_length(text, self.adopt_max)?;
        if matches!(text, "." | "..") {
            return Err(self.refuse(text, "means a directory, and libvirt harms other files with it; choose another"));
        }
        if text.contains('/') {
            return Err(self.refuse(text, "contains '/', which separates directories; use '-' instead"));
        }
        if let Some((_, c, Some(hazard))) = hazards(text).find(|&(_, c, _)| self.is_unspeakable(c)) {
            let what = hazard.describe(c);
            return Err(self.refuse(text, format_args!("contains {what}, which libvirt cannot keep; leave it out")));
        }
        (self.never)(text).map_or(Ok(()), |why| Err(self.refuse(text, why)))
    }

    /// The rules for a name that somebody chooses now: those of [`adopt`](Self::adopt) and more.
    pub(super) fn parse(&self, text: &str, scripts: Scripts) -> Result<()> {
        self.check_length(text, CREATE_MAX)?;
        self.adopt(text)?;
        if let Some(why) = misread(text).or_else(|| (self.strict)(text)) {
            return Err(self.refuse(text, why));
        }
        if let Some((_, c, hazard)) = hazards(text).find_map(|(at, c, hazard)| Some((at, c, hazard?))) {
            let what = hazard.describe(c);
            return Err(self.refuse(text, format_args!("contains {what}; leave it out")));
        }
        if !is_nfc(text) {
            let composed: String = text.nfc().collect();
            let why = format!("is not in normal form C; write \"{}\"", printable_within(&composed, SHOWN));
            return Err(self.refuse(text, why));
        }
        match mixed_script_word(text) {
            Some(word) if scripts == Scripts::OnePerWord => {
                let why = format!(
                    "mixes scripts in the word \"{}\", so that it may look like another name; \
                     type it in one script, or allow mixed scripts",
                    printable_within(word, SHOWN)
                );
                Err(self.refuse(text, why))
            }
            _ => Ok(()),
        }
    }

    /// Looks at the length alone, so that a huge text costs nothing.
    fn check_length(&self, text: &str, max: usize) -> Result<()> {
        match text.len() {
            0 => Err(Error::invalid(self.field, format!("{} is empty; give it at least one character", self.noun))),
            len if len > max => {
                Err(self.refuse(text, format_args!("is {len} bytes long; use at most {} bytes", CREATE_MAX)))
            }
            _ => Ok(()),
        }
    }

    /// Characters that XML cannot hold or that no libvirt lets into such a name.
    fn is_unspeakable(&self, c: char) -> bool {
        match c {
            '\t' => false,
            '\n' | '\r' => self.line_breaks == LineBreaks::Never,
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => true,
            _ => false,
        }
    }

    fn refuse(&self, text: &str, why: impl fmt::Display) -> Error {
        refused(self.field, self.noun, text, why)
    }
}

/// What people or programs would take for something else than a name.
fn misread(text: &str) -> Option<&'static str> {
    if text.starts_with(' ') || text.ends_with(' ') {
        Some("has a space at its start or end; leave it out")
    } else if text.starts_with('-') {
        Some("starts with '-', like an option; start with a letter or a digit")
    } else if text.starts_with('.') {
        Some("starts with '.', like a hidden file; start with a letter or a digit")
    } else if text.bytes().all(|b| b.is_ascii_digit()) {
        Some("is a number, which tools take for an id; add a letter")
    } else if is_uuid_shaped(text) {
        Some("looks like a uuid, by which machines are found too; choose a name")
    } else {
        None
    }
}

/// As libvirt reads uuids: 32 hexadecimal digits, hyphens anywhere.
fn is_uuid_shaped(text: &str) -> bool {
    let mut digits = 0;
    text.bytes().all(|b| {
        digits += usize::from(b.is_ascii_hexdigit());
        b.is_ascii_hexdigit() || b == b'-'
    }) && digits == 32
}
