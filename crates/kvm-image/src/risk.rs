//! What speaks against an image.

use std::fmt;

use kvm_core::text::printable_within;
use serde::Serialize;

use crate::{Format, Reference, ReferenceKind};

/// A reason not to give an image to a program that trusts it. `Display` says what is wrong and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "risk", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Risk {
    /// There are no bytes at all.
    Empty,
    /// The signatures of several formats are there, so that two programs may read two different disks.
    Ambiguous {
        /// Their names.
        formats: Vec<String>,
    },
    /// The signature is there, but the header cannot be right.
    Malformed {
        /// The format.
        format: Format,
        /// What is wrong.
        what: String,
    },
    /// A format, or a variant of one, that this crate does not read.
    Unsupported {
        /// Its name.
        what: String,
    },
    /// Bits of the header that whoever does not know them must not ignore.
    UnknownFeatures {
        /// The format.
        format: Format,
        /// What is unknown.
        what: String,
    },
    /// The header is marked as damaged by whoever found it so.
    Corrupt {
        /// The format.
        format: Format,
    },
    /// It was not closed properly; opening it for writing would first change it.
    NeedsRepair {
        /// The format.
        format: Format,
        /// What is pending.
        what: String,
    },
    /// What is not allocated comes from another image.
    Backing {
        /// Which.
        reference: Reference,
    },
    /// The data is in another file.
    DataFile {
        /// Which.
        reference: Reference,
    },
    /// Parts of the disk are in another file.
    Extent {
        /// Which.
        reference: Reference,
    },
    /// It cannot be read without a key.
    Encrypted {
        /// The format.
        format: Format,
        /// How it is encrypted.
        method: String,
    },
}

impl Risk {
    /// Whether the image is broken rather than dangerous.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Malformed { .. } | Self::Corrupt { .. })
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text| printable_within(text, 160);
        match self {
            Self::Empty => f.write_str("the image is empty (0 bytes); copy it again, or give a size for a new disk"),
            Self::Ambiguous { formats } => {
                write!(f, "the image is {} at once; say `format=` with the one that is meant", formats.join(" and "))
            }
            Self::Malformed { format, what } => {
                write!(f, "the {format} header is not valid: {}; take another copy of the image", short(what))
            }
            Self::Unsupported { what } => {
                write!(f, "{} is not supported; convert it to qcow2 or raw where it was made", short(what))
            }
            Self::UnknownFeatures { format, what } => {
                write!(f, "the {format} image needs {}, which is not known; convert it to plain qcow2", short(what))
            }
            Self::Corrupt { format } => {
                write!(f, "the {format} image is marked as corrupt; repair it with `qemu-img check -f {format} -r all`")
            }
            Self::NeedsRepair { format, what } => {
                write!(f, "the {format} image {}; open and close it once where it was made", short(what))
            }
            Self::Backing { reference } => write_reference(f, "takes data from", reference),
            Self::DataFile { reference } => write_reference(f, "keeps its data in", reference),
            Self::Extent { reference } => write_reference(f, "keeps a part of the disk in", reference),
            Self::Encrypted { format, method } => {
                write!(f, "the {format} image is encrypted ({}); give its key as a secret", short(method))
            }
        }
    }
}

fn write_reference(f: &mut fmt::Formatter<'_>, verb: &str, reference: &Reference) -> fmt::Result {
    let what = match &reference.kind {
        ReferenceKind::File => "the file ",
        ReferenceKind::Json => "the QEMU options ",
        ReferenceKind::Protocol(_) => "the address ",
    };
    write!(f, "the image {verb} {what}{reference}; flatten it where it was made (`qemu-img convert -O qcow2`)")
}
