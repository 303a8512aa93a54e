//! Names of machines on a network: hosts, users, ports, hardware addresses, and the networks themselves.

mod dns;
mod host;
mod mac;
mod subnet;
mod user;

pub use dns::DnsName;
pub use host::HostName;
pub use mac::MacAddr;
pub use subnet::{AddressRange, Subnet};
pub use user::{Port, SshUser};
