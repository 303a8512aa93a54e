//! What the SSH library's errors mean to a caller of a transport.

use kvm_core::text::printable_within;
use kvm_core::{Error, ErrorKind, Resource};
use russh::ChannelOpenFailure;
use russh::client::DisconnectReason;

/// How much of a stranger's text stands in an error.
pub(super) const SHOWN: usize = 200;

/// An error of the connection to a host, `shown` as people know it.
pub(super) fn ssh_error(shown: &str, source: russh::Error) -> Error {
    use russh::Error as E;
    let (kind, text) = match &source {
        E::NoCommonAlgo { kind, theirs, .. } => {
            let offered = theirs.join(", ");
            let text = format!("{shown} offers no {kind:?} algorithm that is strong enough; update its SSH server");
            return Error::new(ErrorKind::Denied, text.to_lowercase())
                .with_detail(format!("it offers: {}", printable_within(&offered, SHOWN)))
                .on(Resource::Host(shown.to_owned()));
        }
        E::WrongServerSig | E::UnknownKey => (ErrorKind::Denied, "could not prove that it has its host key"),
        E::PacketAuth | E::DecryptionError | E::StrictKeyExchangeViolation { .. } => {
            (ErrorKind::Denied, "sent data that somebody changed on its way")
        }
        E::Disconnect
        | E::HUP
        | E::SendError
        | E::RecvError
        | E::IO(_)
        | E::Join(_)
        | E::KeepaliveTimeout
        | E::InactivityTimeout => (ErrorKind::Unavailable, "closed the connection, or it broke"),
        E::ConnectionTimeout | E::Elapsed(_) => (ErrorKind::Timeout, "did not answer in time"),
        E::RequestDenied => (ErrorKind::Denied, "refused the request"),
        E::ChannelOpenFailure(reason) => return refused_channel(shown, reason),
        _ => (ErrorKind::Corrupt, "does not keep to the SSH protocol"),
    };
    Error::new(kind, format!("{shown} {text}")).with_source(source).on(Resource::Host(shown.to_owned()))
}

fn refused_channel(shown: &str, reason: &ChannelOpenFailure) -> Error {
    let (kind, text) = match reason {
        ChannelOpenFailure::ConnectFailed => {
            (ErrorKind::Unavailable, "nobody answers there, or its SSH server does not let us ask")
        }
        ChannelOpenFailure::AdministrativelyProhibited => (
            ErrorKind::Denied,
            "its SSH server forbids it; see AllowTcpForwarding and AllowStreamLocalForwarding there",
        ),
        ChannelOpenFailure::ResourceShortage => (ErrorKind::Busy, "its SSH server has too many channels open"),
        _ => (ErrorKind::Unsupported, "its SSH server does not know this kind of channel"),
    };
    Error::new(kind, format!("{shown} opens no channel: {text}")).on(Resource::Host(shown.to_owned()))
}

/// An error without a cause about a host.
pub(super) fn host_error(kind: ErrorKind, shown: &str, text: &str) -> Error {
    Error::new(kind, format!("{shown} {text}")).on(Resource::Host(shown.to_owned()))
}

/// What ends a connection: the peer and the protocol, or a decision of ours.
#[derive(Debug)]
pub(super) enum Fault {
    /// The SSH library's.
    Peer(russh::Error),
    /// Ours, already told in full.
    Ours(Error),
}

impl From<russh::Error> for Fault {
    fn from(e: russh::Error) -> Self {
        Self::Peer(e)
    }
}

impl Fault {
    pub(super) fn into_error(self, shown: &str) -> Error {
        match self {
            Self::Peer(e) => ssh_error(shown, e),
            Self::Ours(e) => e,
        }
    }
}

/// What the host said when it hung up, if that was it.
pub(super) fn farewell(reason: &DisconnectReason<Fault>) -> Option<String> {
    match reason {
        DisconnectReason::ReceivedDisconnect(info) => Some(printable_within(&info.message, SHOWN).to_string()),
        DisconnectReason::Error(_) => None,
    }
}
