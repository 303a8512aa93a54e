//! Ports of the host that lead to guests on networks with address translation.
//!
//! The rules are part of the network's configuration, in its metadata. A hook that libvirt runs puts them into the host's
//! packet filter whenever the network starts; see `docs/decisions/0004-port-forwards.md`.

mod hook;
mod look;
mod plan;
mod rule;

pub use look::{ForwardInfo, port_forwards};
pub use plan::{ForwardAdd, ForwardPlan, ForwardRemove, plan_forward_add, plan_forward_remove};
pub use rule::{PortForward, PortProtocol};

pub(crate) use hook::{Hook, apply, remove_file};
