//! One opaque error for the whole workspace: what kind of thing went wrong, doing what, to what.

use std::error::Error as StdError;
use std::fmt;

/// The result of every fallible call of this workspace's libraries.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error; frontends map it to exit codes and HTTP statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The name, uuid or file is taken.
    AlreadyExists,
    /// Somebody else works on it right now; trying again later may succeed.
    Busy,
    /// The caller, or another process on behalf of the user, asked to stop.
    Cancelled,
    /// Data is not what was written: a digest, a length or a format does not hold.
    Corrupt,
    /// Permission refused, or the peer could not prove who it is.
    Denied,
    /// A bug of ours or of the backend.
    Internal,
    /// The request itself is wrong; the message names the field.
    InvalidInput,
    /// The object exists, but its present state does not allow this.
    InvalidState,
    /// No room on the device or in the pool.
    NoSpace,
    /// No such object.
    NotFound,
    /// No answer in time; whether it happened is unknown.
    Timeout,
    /// The host or service cannot be reached at the moment.
    Unavailable,
    /// This backend, or this version of it, cannot do that.
    Unsupported,
}

impl ErrorKind {
    /// The name as it appears in JSON output, logs and journals.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already_exists",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Internal => "internal",
            Self::InvalidInput => "invalid_input",
            Self::InvalidState => "invalid_state",
            Self::NoSpace => "no_space",
            Self::NotFound => "not_found",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an error is about.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type", content = "name", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resource {
    /// A virtual machine, by name or uuid as the caller gave it.
    Vm(String),
    /// A storage pool.
    Pool(String),
    /// A volume, written `pool/volume`, or its path.
    Volume(String),
    /// A virtual network.
    Network(String),
    /// A network filter.
    Filter(String),
    /// A secret that a host keeps, by its uuid.
    Secret(String),
    /// A snapshot, written `vm/snapshot`.
    Snapshot(String),
    /// A checkpoint, written `vm/checkpoint`.
    Checkpoint(String),
    /// A host or connection target.
    Host(String),
    /// A device of the host.
    HostDevice(String),
    /// A file on this machine.
    File(String),
    /// A journalled operation.
    Operation(String),
    /// An input field: a flag, a key of a specification, an element of a document.
    Field(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::Vm(n) => ("VM", n),
            Self::Pool(n) => ("pool", n),
            Self::Volume(n) => ("volume", n),
            Self::Network(n) => ("network", n),
            Self::Filter(n) => ("network filter", n),
            Self::Secret(n) => ("secret", n),
            Self::Snapshot(n) => ("snapshot", n),
            Self::Checkpoint(n) => ("checkpoint", n),
            Self::Host(n) => ("host", n),
            Self::HostDevice(n) => ("device", n),
            Self::File(n) => ("file", n),
            Self::Operation(n) => ("operation", n),
            Self::Field(n) => ("field", n),
        };
        write!(f, "{what} {}", crate::text::printable(name))
    }
}

/// The error of every backend, engine and operation.
///
/// `Display` prints the message alone, never the source: whoever prints walks [`StdError::source`] once.
///
/// ```
/// use kvm_core::{Error, ErrorKind, Resource};
/// let e = Error::new(ErrorKind::NotFound, "no VM named web01").on(Resource::Vm("web01".into()));
/// assert_eq!(e.kind(), ErrorKind::NotFound);
/// assert_eq!(e.to_string(), "no VM named web01");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    detail: Option<String>,
    operation: Option<&'static str>,
    resource: Option<Resource>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message is lower case, has no full stop and says what, not "failed to".
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            detail: None,
            operation: None,
            resource: None,
            source: None,
        }))
    }

    /// [`ErrorKind::InvalidInput`] about one named field.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message).on(Resource::Field(field.into()))
    }

    /// [`ErrorKind::Internal`]: a bug of ours.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Names what the error is about; a resource that is already named stays.
    #[must_use]
    pub fn on(mut self, resource: Resource) -> Self {
        self.0.resource.get_or_insert(resource);
        self
    }

    /// Names the operation (a verb such as `define`); one that is already named stays.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Adds the second line: figures, candidates, what was found instead.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds a line after the detail that is there already.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        match &mut self.0.detail {
            Some(detail) => {
                detail.push('\n');
                detail.push_str(note);
            }
            detail => *detail = Some(note.to_owned()),
        }
        self
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What went wrong, in one line without the cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The second line, if there is one.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The verb that was under way.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// What caused it, outermost first, without the error itself.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let mut next = self.source();
        std::iter::from_fn(move || {
            let cause = next?;
            next = cause.source();
            Some(cause)
        })
    }

    /// What it is about.
    #[must_use]
    pub fn resource(&self) -> Option<&Resource> {
        self.0.resource.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("detail", &self.0.detail)
            .field("operation", &self.0.operation)
            .field("resource", &self.0.resource)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_never_prints_its_source() {
        let e = Error::new(ErrorKind::Unavailable, "cannot reach host9")
            .with_source(std::io::Error::other("connection refused"));
        assert_eq!(e.to_string(), "cannot reach host9");
        assert_eq!(e.source().map(ToString::to_string).as_deref(), Some("connection refused"));
    }

    #[test]
    fn the_innermost_resource_and_operation_win() {
        let e = Error::invalid("memory", "too small").on(Resource::Vm("a".into())).during("define").during("create");
        assert_eq!(e.resource(), Some(&Resource::Field("memory".into())));
        assert_eq!(e.operation(), Some("define"));
    }

    #[test]
    fn kind_names_are_the_serialised_ones() {
        for kind in [ErrorKind::AlreadyExists, ErrorKind::NoSpace, ErrorKind::Unsupported] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
