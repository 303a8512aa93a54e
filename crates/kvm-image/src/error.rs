//! What can go wrong with an image.

use std::io;

use kvm_core::{Bytes, ErrorKind};

use crate::{Format, Risk};

/// Why an image cannot be read or must not be used. The text says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The source of the bytes gave none.
    #[error("cannot read the image at offset {offset}")]
    Read {
        /// Where, in bytes.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// What takes a new image did not take it.
    #[error("cannot write the image")]
    Write {
        /// Why.
        source: io::Error,
    },
    /// Tables of the image contradict each other or the length of the file.
    #[error("the {format} image is damaged: {what}; check it with `qemu-img check -f {format}` or take another copy")]
    Damaged {
        /// The format by which it was read.
        format: Format,
        /// What is wrong.
        what: String,
    },
    /// It is of another format than was said.
    #[error("the image is {found}, not {expected}; say `format={found}` if that is meant, or convert it")]
    WrongFormat {
        /// What was said.
        expected: Format,
        /// What its header says.
        found: Format,
    },
    /// Its disk is larger than allowed.
    #[error("the disk of the image is {size:#}, more than the allowed {max:#}; raise the limit if that is meant")]
    TooLarge {
        /// The size of the disk.
        size: Bytes,
        /// The limit.
        max: Bytes,
    },
    /// Something speaks against it, the gravest first.
    #[error("{}", refused(.risks))]
    Refused {
        /// All that does.
        risks: Vec<Risk>,
    },
    /// A chain of backing files returns to an image that is already part of it.
    #[error("the chain of backing files returns to {name}; rebase one of its images with `qemu-img rebase -u`")]
    Loop {
        /// The image.
        name: String,
    },
    /// A chain of backing files is too long.
    #[error("the chain of backing files has more than {max} images; shorten it with a commit or a pull")]
    TooDeep {
        /// The limit.
        max: usize,
    },
}

fn refused(risks: &[Risk]) -> String {
    match risks {
        [] => "the image is refused".to_owned(),
        [risk] => risk.to_string(),
        [risk, rest @ ..] => format!("{risk} (and {} more)", rest.len()),
    }
}

impl From<ImageError> for kvm_core::Error {
    fn from(error: ImageError) -> Self {
        let kind = match &error {
            ImageError::Write { source } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    ErrorKind::NoSpace
                }
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Unavailable,
            },
            ImageError::Read { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                io::ErrorKind::TimedOut => ErrorKind::Timeout,
                _ => ErrorKind::Unavailable,
            },
            ImageError::Damaged { .. } => ErrorKind::Corrupt,
            ImageError::Refused { risks } if risks.iter().any(Risk::is_damage) => ErrorKind::Corrupt,
            _ => ErrorKind::InvalidInput,
        };
        let converted = Self::new(kind, error.to_string());
        match error {
            ImageError::Read { source, .. } | ImageError::Write { source } => converted.with_source(source),
            ImageError::Refused { risks } if risks.len() > 1 => {
                let lines: Vec<_> = risks.iter().map(ToString::to_string).collect();
                converted.with_detail(lines.join("\n"))
            }
            _ => converted,
        }
    }
}
