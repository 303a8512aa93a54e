//! Other hosts of an operation: the one that a VM moves to.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kvm_core::op::{Peer, Peers};
use kvm_core::{Clock, ConnectOptions, Entropy, Error, ErrorKind, Host, Resource, Result};

use crate::connect::{self, Address};
use crate::session::{Connection, Open};
use crate::settings::Settings;

/// Hosts that are open already, those of `hosts.toml`, and what a target alone says.
#[derive(Debug)]
pub(crate) struct OpenPeers {
    pub(crate) open: Open,
    pub(crate) settings: Settings,
    pub(crate) state: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

#[async_trait]
impl Peers for OpenPeers {
    /// Several hosts may have one target, reached with other settings: the one is taken that was meant.
    async fn open(&self, peer: &Peer) -> Result<Host> {
        let mut open = self.open.lock().await;
        let here: Vec<_> = open.values().filter(|c| c.target.to_string() == peer.target).cloned().collect();
        let mut last = None;
        for connection in here {
            match peer.check(&connection.host).await {
                Ok(()) => return Ok(connection.host.clone()),
                Err(e) => last = Some(e),
            }
        }
        let aliases = self.settings.hosts.iter().filter(|(_, host)| host.target.to_string() == peer.target);
        let names: Vec<_> = aliases.map(|(alias, _)| alias.clone()).chain([peer.target.clone()]).collect();
        for name in names.iter().filter(|name| !open.contains_key(*name)) {
            let opened = async {
                let address = Address::parse(name, &ConnectOptions::default(), &self.settings)?;
                let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
                let host = connect::open(&address, &self.state, clock, entropy).await?;
                peer.check(&host).await?;
                Ok(Connection { alias: address.alias, target: address.target, host })
            };
            match opened.await {
                Ok(connection) => {
                    let host = connection.host.clone();
                    open.insert(name.clone(), Arc::new(connection));
                    return Ok(host);
                }
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("nobody knows how to reach {peer}"))
                .on(Resource::Host(peer.target.clone()))
        }))
    }
}
