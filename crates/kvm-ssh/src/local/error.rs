//! What the operating system's errors mean to a caller of a transport.

use std::io;
use std::path::Path;

use kvm_core::{Error, ErrorKind, Resource};

/// An error about a file: `cannot <verb> <path>`.
pub(super) fn file_error(verb: &'static str, path: &Path, source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
        io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory => ErrorKind::InvalidInput,
        _ => ErrorKind::Internal,
    };
    let shown = path.display().to_string();
    Error::new(kind, format!("cannot {verb} {}", kvm_core::text::printable(&shown)))
        .on(Resource::File(shown))
        .with_source(source)
}
