//! Where to connect: read from a person's text, checked, and rebuilt by us.
//!
//! libvirt runs the program that a URI's `command=` names, opens the local hypervisor for an empty one, and tries any
//! unknown scheme as a remote host. So no URI of a user ever reaches it: the text becomes a [`Target`], the few
//! settings that a connection needs come beside it as [`ConnectOptions`], and
//! [`libvirt_uri`](Target::libvirt_uri) writes a URI of its own.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::text::text_serde;
use crate::{Error, HostName, Port, Result, SshUser};

mod options;
mod parse;
mod uri;

pub use options::ConnectOptions;

/// A place to connect to. `Display` is the canonical form, which [`parse`](Self::parse) reads back.
///
/// ```
/// use kvm_core::{ConnectOptions, Target};
/// let target = Target::parse("qemu+ssh://root@kvm1/system")?;
/// assert_eq!(target.to_string(), "qemu+ssh://root@kvm1/system");
/// let here = Target::parse("qemu:///system")?;
/// let options = ConnectOptions { socket: Some("/run/my libvirt".into()), ..ConnectOptions::default() };
/// assert_eq!(here.libvirt_uri(&options)?, "qemu+unix:///system?socket=%2Frun%2Fmy%20libvirt");
/// assert!(Target::parse("qemu+ssh://kvm1/system?command=/tmp/x").is_err());
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A simulated world, without libvirt.
    Mock(MockWorld),
    /// libvirt's test driver, inside this process.
    Test(TestNode),
    /// QEMU and KVM under libvirt.
    Qemu {
        /// Whose machines.
        scope: Scope,
        /// How to get there.
        via: Via,
    },
}

/// Which simulated world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MockWorld {
    /// `mock:///demo`: a dozen machines.
    Demo,
    /// `mock:///empty`: nothing but a host.
    Empty,
    /// `mock:///PATH.yaml`: a scenario file; absolute and normalised. Whether it is a regular file is for its opener
    /// to check.
    File(PathBuf),
}

/// Which node of libvirt's test driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TestNode {
    /// `test:///default`: one machine; shared by all connections of a process.
    Default,
    /// `test:///PATH.xml`: a node file; absolute and normalised. Whether it is a regular file is for its opener to
    /// check.
    File(PathBuf),
}

/// Whose machines on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The system's.
    System,
    /// The user's own; libvirt starts a daemon for them.
    Session,
}

impl Scope {
    /// The path of the URI, without its slash.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Session => "session",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How to get to a libvirt daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// A socket of this machine.
    Local,
    /// An SSH login.
    Ssh {
        /// Who logs in; the SSH configuration decides otherwise.
        user: Option<SshUser>,
        /// The host, or an alias of the SSH configuration.
        host: HostName,
        /// The port; the SSH configuration decides otherwise.
        port: Option<Port>,
    },
    /// A TLS connection with certificates on both sides.
    Tls {
        /// The host, as its certificate names it.
        host: HostName,
        /// The port; 16514 otherwise.
        port: Option<Port>,
    },
}

impl Target {
    /// Reads a target. `InvalidInput` for everything that is not one of `mock:///demo`, `mock:///empty`,
    /// `mock:///PATH.yaml`, `test:///default`, `test:///PATH.xml`, `qemu:///system`, `qemu:///session`,
    /// `qemu+ssh://[USER@]HOST[:PORT]/system` or `/session`, `qemu+tls://HOST[:PORT]/system`.
    ///
    /// A query parameter or fragment is refused, and the error names the flag to use instead. Paths are taken as they
    /// stand, without percent-decoding.
    pub fn parse(text: &str) -> Result<Self> {
        parse::target(text)
    }

    /// Whether the text cannot be a target but may be an alias of `hosts.toml`: 1 to 63 letters, digits, `.`, `-` and
    /// `_`, a letter or digit first.
    #[must_use]
    pub fn looks_like_alias(text: &str) -> bool {
        (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    }

    /// The host to which a connection goes; `None` when it stays on this machine.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Qemu { via: Via::Ssh { host, .. } | Via::Tls { host, .. }, .. } => Some(host),
            _ => None,
        }
    }

    /// Writes the URI for libvirt, with every setting percent-encoded. `InvalidInput` naming the option for one that
    /// this kind of target does not have, and for what libvirt does not open: a mock, and a host over SSH, of which it is
    /// given the local end of a relay instead.
    pub fn libvirt_uri(&self, options: &ConnectOptions) -> Result<String> {
        uri::build(self, options)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&uri::canonical(self))
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(Target, "a target", Target::parse, |target| &target.to_string());
