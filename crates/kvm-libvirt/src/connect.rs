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
        _ if to == Kind::Ssh && ssh_refused(cause.message()) => ErrorKind::Denied,
        // The daemon confirms a client's certificate with one byte; a refused client gets the end of the stream.
        _ if to == Kind::Tls && cause.os_error() == Some(libc::EIO) => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    }
}

/// Whether SSH gave up because one side did not trust the other.
///
/// libvirt tells a dead host, a refused login and a wrong host key with one and the same code: what `ssh` wrote to its
/// standard error is all there is. Its other transport, libssh, has codes for all of it but a host key that is not in
/// the file. This is the one place that looks at text: at phrases of OpenSSH, which it never translates, and of
/// libvirt, which translates only for a program that sets a locale. Missing one costs a better kind (`Unavailable` for
/// `Denied`), nothing else.
fn ssh_refused(message: &str) -> bool {
    [
        "Host key verification failed",
        "Permission denied (",
        "Too many authentication failures",
        "Can't verify the session host key",
    ]
    .iter()
    .any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use virt::sys;

    use super::*;

    const UNKNOWN_KEY: &str = "libssh transport error: No user interaction callback provided: Can't verify the session \
        host key";

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
        let reset = Some(libc::ECONNRESET);
        for (text, kind) in [
            ("Cannot recv data: Host key verification failed.: Connection reset by peer", ErrorKind::Denied),
            ("Cannot recv data: root@h: Permission denied (publickey).: Connection reset by peer", ErrorKind::Denied),
            ("Cannot recv data: ssh: connect to host h port 22: Connection refused: x", ErrorKind::Unavailable),
        ] {
            assert_eq!(kind_of(Kind::Ssh, sys::VIR_ERR_SYSTEM_ERROR, reset, text), kind, "{text}");
        }
        assert_eq!(kind_of(Kind::Ssh, sys::VIR_ERR_LIBSSH, None, UNKNOWN_KEY), ErrorKind::Denied);
        let refused = kind_of(Kind::Tls, sys::VIR_ERR_SYSTEM_ERROR, Some(libc::EIO), "");
        assert_eq!(refused, ErrorKind::Denied);
        let elsewhere = kind_of(Kind::Tls, sys::VIR_ERR_SYSTEM_ERROR, reset, "Host key verification failed");
        assert_eq!(elsewhere, ErrorKind::Unavailable);
    }
}
