//! Names of machines on a network: hosts, users, ports and hardware addresses.

mod host;
mod mac;
mod user;

pub use host::HostName;
pub use mac::MacAddr;
pub use user::{Port, SshUser};
