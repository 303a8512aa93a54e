//! Other hosts that an operation reaches beside the one that it changes first.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Capabilities, Error, ErrorKind, Host, HostKey, Resource, Result};

/// Another host of an operation, as a journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// How to reach it again, in canonical form.
    pub target: String,
    /// Which host was meant when the plan was made.
    pub host: HostKey,
}

impl Peer {
    /// The host that says this of itself.
    #[must_use]
    pub fn of(capabilities: &Capabilities) -> Self {
        Self { target: capabilities.target.clone(), host: capabilities.host_key() }
    }

    /// Checks that a host is the one that was meant. `InvalidState` when it is another one by now.
    pub async fn check(&self, host: &Host) -> Result<()> {
        if host.hypervisor.capabilities().await?.host_key() == self.host {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, format!("{self} is another host than when the plan was made"))
            .on(Resource::Host(self.target.clone())))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.target)
    }
}

/// Opens other hosts.
#[async_trait]
pub trait Peers: fmt::Debug + Send + Sync {
    /// Gives this host. `Unavailable` when it cannot be reached, `NotFound` when nobody knows how.
    async fn open(&self, peer: &Peer) -> Result<Host>;
}

/// Hosts that are open already, and no others.
#[derive(Clone, Debug)]
pub struct KnownHosts(Vec<Host>);

impl KnownHosts {
    /// Operations reach these.
    #[must_use]
    pub fn new(hosts: impl IntoIterator<Item = Host>) -> Self {
        Self(hosts.into_iter().collect())
    }
}

#[async_trait]
impl Peers for KnownHosts {
    async fn open(&self, peer: &Peer) -> Result<Host> {
        let mut silent = None;
        for host in &self.0 {
            match peer.check(host).await {
                Ok(()) => return Ok(host.clone()),
                // Another one.
                Err(e) if e.kind() == ErrorKind::InvalidState => {}
                Err(e) => silent = Some(e),
            }
        }
        Err(silent.unwrap_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("nobody knows how to reach {peer}"))
                .on(Resource::Host(peer.target.clone()))
        }))
    }
}

/// Where no operation reaches another host.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoPeers;

#[async_trait]
impl Peers for NoPeers {
    async fn open(&self, peer: &Peer) -> Result<Host> {
        Err(Error::new(ErrorKind::Unsupported, format!("operations here do not reach other hosts, such as {peer}"))
            .on(Resource::Host(peer.target.clone())))
    }
}
