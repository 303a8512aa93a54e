//! Ways to a host's operating system: its programs, sockets and files.
//!
//! [`LocalTransport`] is this machine itself, [`SshTransport`] another one, and [`NoTransport`] a host of which only the
//! hypervisor is reached. They implement [`kvm_core::Transport`], so that whatever is written against the trait works the
//! same wherever the host is.
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

mod local;
mod none;
mod ssh;

pub use local::LocalTransport;
pub use none::NoTransport;
pub use ssh::{
    AgentKeys, Asked, Echo, HostKey, NoPrompt, Prompt, Question, Secret, SshAsker, SshConfig, SshOptions, SshTransport,
    Timeouts, host_key, trust_host_key,
};
