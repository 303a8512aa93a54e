//! What is asked of, or about, the system inside a running machine.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{AgentCommand, AgentReply, MacAddr, Result, VmId};

/// The guest side of a running machine.
#[async_trait]
pub trait Guest: fmt::Debug + Send + Sync {
    /// Gives the guest's addresses as one source knows them; loopback is left out.
    ///
    /// `InvalidState` when the machine does not run, `Unavailable` when the agent does not answer, `Unsupported` when
    /// the backend does not have this source.
    async fn addresses(&self, id: &VmId, source: AddressSource) -> Result<Vec<GuestAddress>>;

    /// Asks the agent whether it is there. `Unavailable` when it is not, `InvalidState` when the machine does not run.
    async fn ping_agent(&self, id: &VmId) -> Result<()>;

    /// Sends one command to the guest's agent and gives its answer, which is nothing to rely on: guests can lie.
    ///
    /// `timeout` is how long the agent may take, in whole seconds, at least one. `InvalidState` when the machine does
    /// not run, and when the agent says that it could not do it; `Unavailable` when the agent does not answer at all,
    /// `Timeout` when it took the command and no answer came in time: then nobody knows whether it did it.
    /// `Unsupported` when the agent does not know the command or may not do it now, or the backend has no such agents;
    /// `Corrupt` when the answer is out of bounds ([`AgentReply::parse`]).
    async fn ask_agent(&self, id: &VmId, command: &AgentCommand, timeout: Duration) -> Result<AgentReply>;
}

/// Who says which address a guest has, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressSource {
    /// The DHCP server of a virtual network.
    Lease,
    /// The guest's own agent. Guests can lie.
    Agent,
    /// The host's neighbour table: what was seen on the wire lately.
    Arp,
}

impl AddressSource {
    /// All sources, in the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Lease, Self::Agent, Self::Arp];

    /// The name used in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Agent => "agent",
            Self::Arp => "arp",
        }
    }
}

/// One address of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of its network prefix, where the source says it.
    pub prefix: Option<u8>,
    /// The network device's MAC.
    pub mac: Option<MacAddr>,
    /// The device's name: the guest's own from the agent, the host's otherwise.
    pub interface: Option<String>,
    /// Who says so.
    pub source: AddressSource,
}
