//! The contract of a host's virtual networks.

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Autostart, Filters, Impact, MacAddr, NetworkName, Result};

mod entry;

pub use entry::{NetworkEntry, NetworkUpdate};

/// Virtual networks of one host.
///
/// `Unavailable` and `Timeout` are as in [`Hypervisor`](crate::Hypervisor).
#[async_trait]
pub trait Networks: fmt::Debug + Send + Sync + 'static {
    /// Lists all networks, sorted by name.
    async fn list(&self) -> Result<Vec<NetworkInfo>>;

    /// Finds one network. `NotFound`.
    async fn find(&self, network: &NetworkName) -> Result<NetworkInfo>;

    /// Gives the network's document: of an active one what it is now, else what it is when it starts. `NotFound`.
    async fn definition(&self, network: &NetworkName) -> Result<kvm_xml::Network>;

    /// Gives the document that the next start uses. `NotFound`; `InvalidState` for a transient network, which has none.
    async fn configuration(&self, network: &NetworkName) -> Result<kvm_xml::Network>;

    /// Stores a network's document without starting it. `AlreadyExists` when the name is taken; `InvalidInput`.
    async fn define(&self, doc: &kvm_xml::Network) -> Result<()>;

    /// Replaces the document that the next start uses; an active network stays as it is. Name and uuid have to be those of
    /// the network. `NotFound` when there is none of that name, `InvalidState` for a transient network, `InvalidInput`.
    async fn redefine(&self, doc: &kvm_xml::Network) -> Result<()>;

    /// Adds an entry to a network's documents, or takes one out; of an active network at once, without a guest noticing.
    ///
    /// Each document that the impact names has to be there, else nothing changes and the error is `InvalidState`: a network
    /// that is not active has no live one, a transient network has no configuration. `AlreadyExists` when a document
    /// has an entry with something in common that only one may have; `NotFound` when there is no such network, or a
    /// document has no such entry to take out; `InvalidInput` when no address of the network has a place for the entry.
    /// `Unsupported` when the backend does not change networks in place.
    async fn update(&self, network: &NetworkName, update: &NetworkUpdate, impact: Impact) -> Result<()>;

    /// Forgets a network that is not active. `InvalidState` when it is active, `NotFound`.
    async fn undefine(&self, network: &NetworkName) -> Result<()>;

    /// Starts a network. `InvalidState` when it is active, `NotFound`.
    async fn start(&self, network: &NetworkName) -> Result<()>;

    /// Stops a network; guests on it lose their link. `InvalidState` when it is not active, `NotFound`.
    async fn stop(&self, network: &NetworkName) -> Result<()>;

    /// Sets whether the host starts it at boot. Setting what is set succeeds. `NotFound`.
    async fn set_autostart(&self, network: &NetworkName, autostart: Autostart) -> Result<()>;

    /// Lists what its DHCP server gave out and has not expired. `NotFound`; `Unsupported` when the backend does not
    /// keep leases.
    async fn leases(&self, network: &NetworkName) -> Result<Vec<Lease>>;

    /// Network filters; `None` when this backend does not have them at all.
    fn filters(&self) -> Option<&dyn Filters>;
}

/// What is known of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Unique on the host.
    pub name: NetworkName,
    /// Whether guests can use it now.
    pub active: bool,
    /// Whether the host starts it at boot.
    pub autostart: bool,
    /// Whether the definition outlives a stop.
    pub persistent: bool,
    /// `nat`, `route`, `open`, `bridge`…; `isolated` where the document has no `forward`.
    pub forward: String,
    /// The bridge that guests are plugged into, where there is one.
    pub bridge: Option<String>,
}

/// An address that a network's DHCP server gave out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The guest's network device.
    pub mac: MacAddr,
    /// The address.
    pub address: IpAddr,
    /// Length of its network prefix.
    pub prefix: u8,
    /// The name the guest gave itself.
    pub hostname: Option<String>,
    /// When it ends; `None` for one that never does.
    pub expires: Option<Timestamp>,
}
