//! Where a backend connects, and how long it waits.

use std::path::Path;
use std::time::Duration;

use kvm_core::{ConnectOptions, Error, ErrorKind, Resource, Result, Target, TestNode, Via};

/// Limits of a connection; the default suits people and programs alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a call may take that the host answers from what it knows (30 s). It includes the wait for a free
    /// thread and for the connection.
    pub call_deadline: Duration,
    /// How long a call may take that moves data or waits for a guest: start, save, shutdown, volumes, snapshots (1 h).
    /// A host that is gone is noticed long before that, by [`keepalive`](Self::keepalive).
    pub job_deadline: Duration,
    /// How long a stream may stand still that carries a volume (30 s).
    pub stall_deadline: Duration,
    /// How long opening a connection may take (10 s).
    pub connect_deadline: Duration,
    /// How long a guest's agent may take (5 s).
    pub agent_deadline: Duration,
    /// When silence means that the host is gone.
    pub keepalive: Keepalive,
    /// Most calls at a time on each of the two connections to a host (4). A libvirt daemon takes five from one client
    /// unless it is configured otherwise; what is more would wait there, where nobody sees it.
    pub workers: usize,
}

/// When silence means that the host is gone: `count` unanswered messages, `interval` apart (5 of 5 s).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Between two messages, in whole seconds.
    pub interval: Duration,
    /// How many go unanswered.
    pub count: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            call_deadline: Duration::from_secs(30),
            job_deadline: Duration::from_secs(3600),
            stall_deadline: Duration::from_secs(30),
            connect_deadline: Duration::from_secs(10),
            agent_deadline: Duration::from_secs(5),
            keepalive: Keepalive { interval: Duration::from_secs(5), count: 5 },
            workers: 4,
        }
    }
}

/// A target in the form in which libvirt takes it.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    uri: String,
    canonical: String,
    kind: Kind,
}

/// What a target leads to, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// libvirt's test driver, inside this process.
    Test,
    /// A daemon on this machine.
    Local,
    /// A daemon of another host, through a relay.
    Relayed,
    /// A daemon over TLS.
    Tls,
}

impl Address {
    /// Takes a parsed target. `InvalidInput` for a mock, for options that do not fit, and for a node file that is no
    /// file; `NotFound` when there is none.
    pub(crate) fn new(target: &Target, options: &ConnectOptions) -> Result<Self> {
        let uri = target.libvirt_uri(options)?;
        let kind = match target {
            Target::Mock(_) => return Err(Error::invalid("target", format!("{target} is not libvirt's"))),
            Target::Test(node) => {
                check_node(node)?;
                Kind::Test
            }
            Target::Qemu { via: Via::Local, .. } => Kind::Local,
            Target::Qemu { via: Via::Ssh { .. }, .. } => Kind::Relayed,
            Target::Qemu { via: Via::Tls { .. }, .. } => Kind::Tls,
        };
        Self::checked(uri, target, kind)
    }

    /// Takes the target of another host, and the socket of this machine that leads to the libvirt there. `InvalidInput` for
    /// a target that is not reached so.
    pub(crate) fn relayed(target: &Target, socket: &Path) -> Result<Self> {
        let Target::Qemu { scope, via: Via::Ssh { .. } } = target else {
            return Err(Error::invalid("target", format!("{target} is not reached through a relay")));
        };
        let options = ConnectOptions { socket: Some(socket.to_owned()), ..ConnectOptions::default() };
        let uri = Target::Qemu { scope: *scope, via: Via::Local }.libvirt_uri(&options)?;
        Self::checked(uri, target, Kind::Relayed)
    }

    fn checked(uri: String, target: &Target, kind: Kind) -> Result<Self> {
        // The library hands it to C as a string; a NUL would cut it short.
        match uri.contains('\0') {
            true => Err(Error::invalid("target", "the target contains a NUL character")),
            false => Ok(Self { uri, canonical: target.to_string(), kind }),
        }
    }

    /// The URI for libvirt.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// The target's canonical form, for people, locks and journals.
    pub(crate) fn canonical(&self) -> &str {
        &self.canonical
    }

    /// What it leads to.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether what the connection shows is gone once it is closed, so that it must never be opened again.
    pub(crate) fn dies_with_connection(&self) -> bool {
        self.kind == Kind::Test
    }
}

/// libvirt opens whatever the path names and reads it to its end, a pipe or a device too.
fn check_node(node: &TestNode) -> Result<()> {
    let TestNode::File(path) = node else { return Ok(()) };
    let shown = path.display().to_string();
    let error = |kind, message: &str| Error::new(kind, format!("{message}: {shown}"));
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() => Ok(()),
        Ok(_) => Err(error(ErrorKind::InvalidInput, "the node file is no regular file")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(error(ErrorKind::NotFound, "no such node file").with_source(e))
        }
        Err(e) => Err(error(ErrorKind::Denied, "the node file cannot be read").with_source(e)),
    }
    .map_err(|e| e.on(Resource::File(shown.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(target: &str) -> ErrorKind {
        Address::new(&Target::parse(target).unwrap(), &ConnectOptions::default()).unwrap_err().kind()
    }

    #[test]
    fn only_what_libvirt_can_open_becomes_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder.xml");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(kind_of("mock:///demo"), ErrorKind::InvalidInput);
        assert_eq!(kind_of("qemu+ssh://h/system"), ErrorKind::InvalidInput);
        assert_eq!(kind_of(&format!("test://{}", folder.display())), ErrorKind::InvalidInput);
        assert_eq!(kind_of(&format!("test://{}/none.xml", dir.path().display())), ErrorKind::NotFound);
    }

    #[test]
    fn only_the_test_driver_dies_with_its_connection() {
        for (target, dies) in [("test:///default", true), ("qemu:///system", false), ("qemu+tls://h/system", false)] {
            let address = Address::new(&Target::parse(target).unwrap(), &ConnectOptions::default()).unwrap();
            assert_eq!(address.dies_with_connection(), dies, "{target}");
        }
    }

    #[test]
    fn a_relayed_host_keeps_its_name_and_libvirt_sees_a_socket() {
        let target = |text| Target::parse(text).unwrap();
        let address = Address::relayed(&target("qemu+ssh://root@h/session"), Path::new("/run/a b")).unwrap();
        assert_eq!(address.canonical(), "qemu+ssh://root@h/session");
        assert_eq!(address.uri(), "qemu+unix:///session?socket=%2Frun%2Fa%20b");
        for text in ["qemu:///system", "qemu+tls://h/system", "test:///default", "mock:///demo"] {
            let e = Address::relayed(&target(text), Path::new("/run/socket")).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
