//! Virtual networks: made, changed while guests use them, with ports of the host that lead to guests.

mod build;
mod create;
mod entry;
pub(crate) mod forward;
mod function;
mod links;
mod replug;
mod spec;

pub use create::{NetworkPlan, plan_network_create};
pub use entry::change_network;
pub use forward::{
    ForwardAdd, ForwardInfo, ForwardPlan, ForwardRemove, PortForward, PortProtocol, plan_forward_add,
    plan_forward_remove, port_forwards,
};
pub use replug::{Unplugged, start_network};
pub(crate) use spec::vlan;
pub use spec::{
    DhcpChoice, DnsEntry, MacvtapMode, MtuSize, NetworkMode, NetworkSpec, PortGroup, PortGroupName, StaticLease, VlanId,
};

pub(crate) use links::{Link, links};

use kvm_core::{Error, ErrorKind, NetworkName, Resource};

/// An error about a network.
pub(crate) fn error(kind: ErrorKind, network: &NetworkName, message: impl Into<String>) -> Error {
    Error::new(kind, message).on(Resource::Network(network.as_str().to_owned()))
}
