//! Why a connection could not be opened.

use kvm_core::{Error, ErrorKind, Resource};

use crate::config::{Address, Kind};
use crate::error::LibvirtError;

/// Why a connection could not be opened; kept, because everybody who waited for it is told.
#[derive(Clone, Debug)]
pub(crate) struct ConnectFailure {
    kind: ErrorKind,
    host: String,
    cause: LibvirtError,
}

impl ConnectFailure {
    pub(crate) fn new(address: &Address, cause: LibvirtError) -> Self {
        Self { kind: kind(address.kind(), &cause), host: address.canonical().into(), cause }
    }

    /// The error for whoever asked.
    pub(crate) fn to_error(&self) -> Error {
        let host = &self.host;
        let message = match self.kind {
            ErrorKind::Denied => format!("no permission to connect to {host}"),
            _ => format!("cannot connect to {host}"),
        };
        Error::new(self.kind, message)
            .on(Resource::Host(host.clone()))
            .during("connect")
            .with_source(self.cause.clone())
    }
}

fn kind(to: Kind, cause: &LibvirtError) -> ErrorKind {
    match cause.kind() {
        Some(ErrorKind::Denied) => ErrorKind::Denied,
        // A node file is input, and all there is to opening one.
        Some(kind @ ErrorKind::InvalidInput) if to == Kind::Test => kind,
        _ if to == Kind::Test => ErrorKind::InvalidInput,
        // The daemon confirms a client's certificate with one byte; a refused client gets the end of the stream.
        _ if to == Kind::Tls && cause.os_error() == Some(libc::EIO) => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use virt::sys;

    use super::*;

    fn kind_of(to: Kind, code: sys::virErrorNumber, os_error: Option<i32>, message: &str) -> ErrorKind {
        kind(to, &LibvirtError::new(code, sys::VIR_FROM_RPC, message, os_error))
    }

    #[test]
    fn a_socket_without_permission_is_denied_and_one_that_is_missing_unavailable() {
        let system = sys::VIR_ERR_SYSTEM_ERROR;
        assert_eq!(kind_of(Kind::Local, system, Some(libc::EACCES), ""), ErrorKind::Denied);
        assert_eq!(kind_of(Kind::Local, system, Some(libc::ENOENT), ""), ErrorKind::Unavailable);
        assert_eq!(kind_of(Kind::Local, system, Some(libc::ECONNREFUSED), ""), ErrorKind::Unavailable);
        assert_eq!(kind_of(Kind::Local, sys::VIR_ERR_AUTH_FAILED, None, ""), ErrorKind::Denied);
    }

    #[test]
    fn a_peer_that_refuses_is_told_from_one_that_cannot_be_reached() {
        let refused = kind_of(Kind::Tls, sys::VIR_ERR_SYSTEM_ERROR, Some(libc::EIO), "");
        assert_eq!(refused, ErrorKind::Denied);
        let reset = kind_of(Kind::Tls, sys::VIR_ERR_SYSTEM_ERROR, Some(libc::ECONNRESET), "");
        assert_eq!(reset, ErrorKind::Unavailable);
        // What a relay could not connect is closed again.
        let closed = kind_of(Kind::Relayed, sys::VIR_ERR_SYSTEM_ERROR, Some(libc::EIO), "");
        assert_eq!(closed, ErrorKind::Unavailable);
    }
}
