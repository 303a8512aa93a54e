//! Writing targets: the canonical form for people and keys, and the URI for libvirt.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::options::ConnectOption;
use super::{ConnectOptions, MockWorld, Scope, Target, TestNode, Via};
use crate::{Error, HostName, Port, Result};

/// Everything but what RFC 3986 calls unreserved.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a path, whose slashes stay.
const PATH: &AsciiSet = &VALUE.remove(b'/');

pub(super) fn canonical(target: &Target) -> String {
    match target {
        Target::Mock(MockWorld::Demo) => "mock:///demo".to_owned(),
        Target::Mock(MockWorld::Empty) => "mock:///empty".to_owned(),
        Target::Mock(MockWorld::File(path)) => format!("mock://{}", path.display()),
        Target::Test(TestNode::Default) => "test:///default".to_owned(),
        Target::Test(TestNode::File(path)) => format!("test://{}", path.display()),
        Target::Qemu { scope, via: Via::Local } => format!("qemu:///{scope}"),
        Target::Qemu { scope, via: Via::Ssh { user, host, port } } => {
            remote("qemu+ssh", user.as_ref().map(|user| user.as_str()), host, *port, *scope)
        }
        Target::Qemu { scope, via: Via::Tls { host, port } } => remote("qemu+tls", None, host, *port, *scope),
    }
}

pub(super) fn build(target: &Target, options: &ConnectOptions) -> Result<String> {
    use ConnectOption::{Pki, Socket};
    options.check_for(target)?;
    match target {
        Target::Mock(_) => Err(Error::invalid("target", format!("{target} is simulated, libvirt does not know it"))),
        Target::Test(node) => Ok(match node {
            TestNode::Default => canonical(target),
            TestNode::File(path) => format!("test://{}", utf8_percent_encode(&path.to_string_lossy(), PATH)),
        }),
        Target::Qemu { scope, via: Via::Local } => Ok(match options.text(Socket)? {
            None => canonical(target),
            Some(socket) => with_query(format!("qemu+unix:///{scope}"), &[("socket", socket)]),
        }),
        Target::Qemu { via: Via::Ssh { .. }, .. } => {
            let text = format!("{target} is reached through a socket of this machine that leads there, not by libvirt");
            Err(Error::invalid("target", text))
        }
        Target::Qemu { scope, via: Via::Tls { host, port } } => {
            let pki = options.text(Pki)?.map(|pki| ("pkipath", pki));
            Ok(with_query(remote("qemu+tls", None, host, *port, *scope), pki.as_slice()))
        }
    }
}

fn remote(scheme: &str, user: Option<&str>, host: &HostName, port: Option<Port>, scope: Scope) -> String {
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{user}{}{port}/{scope}", host.to_uri())
}

fn with_query(mut uri: String, query: &[(&str, &str)]) -> String {
    for (i, (name, value)) in query.iter().enumerate() {
        let separator = if i == 0 { '?' } else { '&' };
        // Writing to a string cannot fail.
        let _ = write!(uri, "{separator}{name}={}", utf8_percent_encode(value, VALUE));
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(target: &str, options: &ConnectOptions) -> Result<String> {
        Target::parse(target).unwrap().libvirt_uri(options)
    }

    #[test]
    fn settings_become_parameters_that_libvirt_knows() {
        let none = ConnectOptions::default();
        let socket = ConnectOptions { socket: Some("/run/a&b".into()), ..none.clone() };
        let pki = ConnectOptions { pki: Some("/pki".into()), ..none.clone() };
        for (target, options, expected) in [
            ("qemu:///system", &none, "qemu:///system"),
            ("qemu:///session", &socket, "qemu+unix:///session?socket=%2Frun%2Fa%26b"),
            ("qemu+tls://[fe80::1%lo]/system", &none, "qemu+tls://[fe80::1%25lo]/system"),
            ("qemu+tls://h/system", &pki, "qemu+tls://h/system?pkipath=%2Fpki"),
            ("test:///a b/ü.xml", &none, "test:///a%20b/%C3%BC.xml"),
        ] {
            assert_eq!(uri(target, options).unwrap(), expected);
        }
    }

    #[test]
    fn an_option_that_would_have_no_effect_is_refused() {
        let options = ConnectOptions { known_hosts: Some("/k".into()), ..Default::default() };
        for target in ["qemu:///system", "qemu+tls://h/system", "test:///default"] {
            let e = uri(target, &options).unwrap_err();
            assert_eq!(e.resource(), Some(&crate::Resource::Field("known_hosts".into())), "{target}");
        }
        for target in ["mock:///demo", "qemu+ssh://h/system"] {
            assert!(uri(target, &ConnectOptions::default()).is_err(), "{target}");
        }
    }
}
