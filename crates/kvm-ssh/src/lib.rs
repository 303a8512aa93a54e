//! Ways to a host's operating system: its programs, sockets and files.
//!
//! [`LocalTransport`] is this machine itself, [`SshTransport`] another one, and [`NoTransport`] a host of which only the
//! hypervisor is reached. They implement [`kvm_core::Transport`], so that whatever is written against the trait works the
//! same wherever the host is.
//!
//! What speaks through no transport gets a socket of this machine instead: libvirt's client by [`relay_libvirt`], a viewer
//! by a [`PortRelay`].
//!
//! ```
//! use std::time::Duration;
//! use kvm_core::Transport as _;
//! use kvm_ssh::LocalTransport;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kvm_core::Result<()> {
//! let here = LocalTransport::new();
//! let output = here.run(&["uname", "-s"], Duration::from_secs(10)).await?;
//! assert!(output.success());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod libvirt;
mod local;
mod none;
mod relay;
mod ssh;

pub use libvirt::relay_libvirt;
pub use local::LocalTransport;
pub use none::NoTransport;
pub use relay::{PortRelay, SocketRelay};
pub use ssh::{
    AgentKeys, Asked, Echo, Fingerprint, HostKey, NoPrompt, Prompt, Question, Secret, SshAsker, SshConfig, SshOptions,
    SshTransport, Timeouts, host_key, host_keys, knows_host_key, trust_host_key,
};
