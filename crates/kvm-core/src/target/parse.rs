//! The grammar of targets.

use std::path::PathBuf;

use super::{MockWorld, Scope, Target, TestNode, Via};
use crate::text::{hazards, refused};
use crate::{Error, HostName, Port, Result, SshUser};

const FIELD: &str = "target";
/// A path of 4095 bytes and a scheme.
const MAX: usize = 4200;

pub(super) fn target(text: &str) -> Result<Target> {
    if text.is_empty() {
        return Err(Error::invalid(FIELD, "target is empty; write qemu:///system for the local hypervisor"));
    }
    let refuse = |why: &str| refused(FIELD, FIELD, text, why);
    if text.len() > MAX {
        return Err(refuse("is too long"));
    }
    if hazards(text).any(|(_, _, hazard)| hazard.is_some()) {
        return Err(refuse("contains a control, direction or invisible character; leave it out"));
    }
    if text.contains('#') {
        return Err(refuse("has a fragment; leave out '#' and what follows"));
    }
    if let Some((_, query)) = text.split_once('?') {
        return Err(refuse(instead_of(query)));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(refuse("has no scheme; write for instance qemu:///system or qemu+ssh://HOST/system"));
    };
    match scheme {
        "mock" | "test" => local_file(scheme, rest).map_err(refuse),
        "qemu" | "qemu+unix" => match rest.strip_prefix('/') {
            Some(path) => scope(path).map(|scope| Target::Qemu { scope, via: Via::Local }).map_err(refuse),
            None => Err(refuse("names a host but not how to get there; use qemu+ssh:// or qemu+tls://")),
        },
        "qemu+ssh" | "qemu+tls" => remote(text, scheme, rest),
        _ => Err(refuse(unknown_scheme(scheme))),
    }
}

/// The flag that takes the place of a query parameter.
fn instead_of(query: &str) -> &'static str {
    let name = query.split(['=', '&', ';']).next().unwrap_or_default().to_ascii_lowercase();
    match name.as_str() {
        "socket" => "has a parameter; use --socket instead",
        "keyfile" => "has a parameter; use --identity instead",
        "known_hosts" | "known_hosts_verify" => "has a parameter; use --known-hosts instead",
        "pkipath" => "has a parameter; use --pki instead",
        "no_tty" => "has a parameter that is always set; leave out '?' and what follows",
        "no_verify" => "would switch off the check of who answers; leave out '?' and what follows",
        "command" | "netcat" => "would run a program of its choice; leave out '?' and what follows",
        _ => "has a parameter; leave out '?' and use --socket, --identity, --known-hosts or --pki",
    }
}

fn unknown_scheme(scheme: &str) -> &'static str {
    match scheme {
        "qemu+ext" => "would run a program of its choice; use qemu+ssh://",
        "qemu+tcp" => "is neither encrypted nor checked; use qemu+ssh:// or qemu+tls://",
        "qemu+libssh" | "qemu+libssh2" => "chooses its own transport; use qemu+ssh://, with --known-hosts if need be",
        _ if scheme.bytes().any(|b| b.is_ascii_uppercase()) => "has a scheme in upper case; write it in lower case",
        _ => "has an unknown scheme; use qemu, qemu+ssh, qemu+tls, test or mock",
    }
}

fn scope(path: &str) -> Result<Scope, &'static str> {
    match path {
        "system" => Ok(Scope::System),
        "session" => Ok(Scope::Session),
        _ => Err("has a path other than /system and /session"),
    }
}

fn local_file(scheme: &str, rest: &str) -> Result<Target, &'static str> {
    match (scheme, rest) {
        ("mock", "/demo") => return Ok(Target::Mock(MockWorld::Demo)),
        ("mock", "/empty") => return Ok(Target::Mock(MockWorld::Empty)),
        ("test", "/default") => return Ok(Target::Test(TestNode::Default)),
        _ => {}
    }
    let Some(path) = rest.strip_prefix('/') else {
        return Err("names a host; write three slashes");
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("has '//', '.' or '..' in its path, or none; write the plain path of a file");
    }
    let (is_mock, stem) = match scheme {
        "mock" => (true, rest.strip_suffix(".yaml").or_else(|| rest.strip_suffix(".yml"))),
        _ => (false, rest.strip_suffix(".xml")),
    };
    match (is_mock, stem) {
        (_, Some(stem)) if stem.ends_with('/') => Err("names a hidden file; give it a name before its ending"),
        (true, Some(_)) => Ok(Target::Mock(MockWorld::File(PathBuf::from(rest)))),
        (false, Some(_)) => Ok(Target::Test(TestNode::File(PathBuf::from(rest)))),
        (true, None) => Err("is no simulated world; use mock:///demo, mock:///empty or the path of a .yaml file"),
        (false, None) => Err("is no test node; use test:///default or the path of a .xml file"),
    }
}

fn remote(text: &str, scheme: &str, rest: &str) -> Result<Target> {
    let refuse = |why: &str| refused(FIELD, FIELD, text, why);
    let Some((authority, path)) = rest.split_once('/') else {
        return Err(refuse("has no path; add /system"));
    };
    let scope = scope(path).map_err(refuse)?;
    let (user, host_port) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        // The text is not shown again: it holds a password.
        return Err(Error::invalid(FIELD, "target has a password in it; use an SSH key or an agent"));
    }
    let (host, port) = split_port(host_port).map_err(refuse)?;
    if host.is_empty() {
        return Err(refuse("names no host; use qemu:///system for the local hypervisor"));
    }
    let within = |e: Error| refused(FIELD, FIELD, text, format_args!("is not usable: {e}"));
    let host = HostName::parse(&host).map_err(within)?;
    let port = port.map(Port::parse).transpose().map_err(within)?;
    let via = match (scheme, user) {
        ("qemu+ssh", user) => {
            let user = user.map(SshUser::parse).transpose().map_err(within)?;
            Via::Ssh { user, host, port }
        }
        (_, Some(_)) => return Err(refuse("names a user, which TLS does not have; leave it out")),
        (_, None) if scope == Scope::Session => return Err(refuse("asks for a session, which TLS does not have")),
        (_, None) => Via::Tls { host, port },
    };
    Ok(Target::Qemu { scope, via })
}

/// Host and port; an address in brackets may have its zone written as a URI has it (`%25`).
fn split_port(text: &str) -> Result<(String, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("has an opening bracket only; close it")?;
        let host = format!("[{}]", address.replacen("%25", "%", 1));
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("has something between its address and its path"),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err("has an IPv6 address without brackets; put it into [ and ]"),
        Some((host, port)) => Ok((host.to_owned(), Some(port))),
        None => Ok((text.to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_refused_with_the_flag_that_takes_its_place() {
        for (query, flag) in [
            ("socket=/run/x", "--socket"),
            ("keyfile=/k", "--identity"),
            ("known_hosts=/dev/null", "--known-hosts"),
            ("PKIPATH=/etc", "--pki"),
            ("c%6fmmand=/x", "--identity"),
        ] {
            let e = target(&format!("qemu+ssh://h/system?{query}")).unwrap_err();
            assert!(e.message().contains(flag), "{e}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let e = target("qemu+ssh://root:hunter2@h/system").unwrap_err();
        assert!(!e.message().contains("hunter2"), "{e}");
        assert!(e.message().contains("password"), "{e}");
    }

    #[test]
    fn the_canonical_form_is_read_back() {
        for (text, canonical) in [
            ("qemu+unix:///system", "qemu:///system"),
            ("qemu+ssh://svc_backup$@KVM1:2222/session", "qemu+ssh://svc_backup$@kvm1:2222/session"),
            ("qemu+ssh://häst/system", "qemu+ssh://xn--hst-qla/system"),
            ("qemu+ssh://[fe80::1%lo]:22/system", "qemu+ssh://[fe80::1%25lo]:22/system"),
            ("qemu+tls://kvm1/system", "qemu+tls://kvm1/system"),
            ("test:///tmp/my node%.xml", "test:///tmp/my node%.xml"),
            ("mock:///tmp/world.yaml", "mock:///tmp/world.yaml"),
        ] {
            let parsed = target(text).unwrap();
            assert_eq!(parsed.to_string(), canonical);
            assert_eq!(target(canonical).unwrap(), parsed);
        }
    }

    #[test]
    fn what_libvirt_would_guess_about_is_refused() {
        for text in [
            "qemu://h/system",
            "qemu+ssh://h",
            "qemu+ssh://h/system/",
            "qemu+ssh:///system",
            "qemu+ssh://h:/system",
            "qemu+ssh://2001:db8::1/system",
            "qemu+ssh://@h/system",
            "qemu+ssh://a@b@h/system",
            "qemu+tls://h/session",
            "qemu+tls://root@h/system",
            "test:///a/../b.xml",
            "test:///.xml",
            "test://h/default",
            "mock:///",
            "kvm1",
            "test:///a.xml/",
            "mock:///etc/passwd",
        ] {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_word_may_be_an_alias() {
        assert!(Target::looks_like_alias("kvm1"));
        for text in ["", "-x", "qemu:///system", "a b", "a/b"] {
            assert!(!Target::looks_like_alias(text), "{text}");
        }
    }
}
