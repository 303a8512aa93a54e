//! What goes wrong, in the words of the conversation.

use std::io;

use kvm_wire::{Cause, FailureKind, FileRef, Reply};

pub(crate) type Result<T, E = Trouble> = std::result::Result<T, E>;

/// Why a request ended early.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody listens any more: the session ends.
    Gone,
    /// The request failed; the session goes on.
    Failed(Box<Failure>),
}

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: FailureKind,
    message: String,
    file: Option<FileRef>,
    cause: Option<Cause>,
}

impl Trouble {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::Failed(Box::new(Failure { kind, message: message.into(), file: None, cause: None }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidInput, message)
    }

    /// An input or output that did not work; `doing` reads like "cannot read".
    pub(crate) fn io(doing: &str, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        Self::new(kind_of(&error), format!("{doing}: {}", plain(&error)))
    }

    /// The file changed while it was read.
    pub(crate) fn changed() -> Self {
        Self::new(FailureKind::Busy, "the file changed while it was read").because(Cause::Changed)
    }

    pub(crate) fn because(mut self, cause: Cause) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.cause = Some(cause);
        }
        self
    }

    pub(crate) fn of(mut self, file: &FileRef) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.file.get_or_insert_with(|| file.clone());
        }
        self
    }
}

impl Failure {
    pub(crate) fn kind(&self) -> FailureKind {
        self.kind
    }

    pub(crate) fn into_reply(self) -> Reply {
        let Self { kind, message, file, cause } = self;
        Reply::Error { kind, message, file, cause }
    }
}

fn kind_of(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FailureKind::NotFound,
        io::ErrorKind::AlreadyExists => FailureKind::AlreadyExists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FailureKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => FailureKind::NoSpace,
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => {
            FailureKind::InvalidInput
        }
        io::ErrorKind::DirectoryNotEmpty => FailureKind::InvalidState,
        io::ErrorKind::Unsupported => FailureKind::Unsupported,
        _ => FailureKind::Internal,
    }
}

/// Without the number that the standard library adds.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}
