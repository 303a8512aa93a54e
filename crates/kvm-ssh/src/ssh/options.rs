//! Where to log in, and with what.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use kvm_core::{HostName, Port, SshUser};

use super::known_hosts::entry_name;

/// Where SSH servers listen.
pub(super) const SSH_PORT: NonZeroU16 = NonZeroU16::MIN.saturating_add(21);

/// A login on a host: what an [`SshTransport`](crate::SshTransport) needs to know.
///
/// Nothing is taken from the environment. Start from [`SshOptions::new`], or from the user's configuration with
/// [`SshConfig::resolve`](crate::SshConfig::resolve).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshOptions {
    /// The name or address that is dialled.
    pub host: HostName,
    /// The port of its SSH server.
    pub port: Port,
    /// Who logs in.
    pub user: SshUser,
    /// The name under which the host stands in `known_hosts`, when that is not its own.
    pub host_key_alias: Option<String>,
    /// The `known_hosts` files, in the format of OpenSSH. Files that are not there are empty.
    pub known_hosts: Vec<PathBuf>,
    /// Files of private keys, in the order in which they are tried. A certificate lies beside its key as
    /// `<file>-cert.pub`. Files that are not there are left out.
    pub identities: Vec<PathBuf>,
    /// A certificate that lies elsewhere.
    pub certificate: Option<PathBuf>,
    /// The socket of an SSH agent.
    pub agent: Option<PathBuf>,
    /// Which keys of the agent may be used.
    pub agent_keys: AgentKeys,
    /// The host through which this one is reached.
    pub jump: Option<Box<SshOptions>>,
    /// The helper, as a file on this machine; `None` when there is none. It is put on the host when it is needed.
    pub helper: Option<PathBuf>,
    /// The directory on the host in which the helper is kept, absolute; `None` is `.cache/kvm-manager` of the login's
    /// home. Only the login may have access to it.
    pub helper_directory: Option<PathBuf>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How often a connection that was refused or broke off before the login is tried again, with growing pauses.
    pub retries: usize,
}

impl SshOptions {
    /// A login on port 22 that knows no host and has no key yet.
    #[must_use]
    pub fn new(host: HostName, user: SshUser) -> Self {
        Self {
            host,
            port: SSH_PORT.into(),
            user,
            host_key_alias: None,
            known_hosts: Vec::new(),
            identities: Vec::new(),
            certificate: None,
            agent: None,
            agent_keys: AgentKeys::default(),
            jump: None,
            helper: None,
            helper_directory: None,
            timeouts: Timeouts::default(),
            retries: 3,
        }
    }

    /// The name under which the host stands in `known_hosts`: `host`, or `[host]:port` for another port than 22.
    pub(super) fn known_name(&self) -> String {
        match &self.host_key_alias {
            Some(alias) => alias.to_ascii_lowercase(),
            None => entry_name(self.host.as_str(), self.port.get()),
        }
    }

    /// How the login is told to people.
    pub(super) fn shown(&self) -> String {
        format!("{}@{}:{}", self.user, self.host.to_uri(), self.port)
    }
}

/// Which keys of an agent may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentKeys {
    /// All of them.
    #[default]
    All,
    /// Those that are also among the identity files, as with `IdentitiesOnly yes`.
    Listed,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the host's port has been reached.
    pub connect: Duration,
    /// From there until both sides have agreed on keys.
    pub handshake: Duration,
    /// Without any answer, until the connection is given up; also for a single request, such as opening a channel.
    pub stall: Duration,
}

impl Default for Timeouts {
    /// 10, 15 and 30 seconds.
    fn default() -> Self {
        let [connect, handshake, stall] = [10, 15, 30].map(Duration::from_secs);
        Self { connect, handshake, stall }
    }
}
