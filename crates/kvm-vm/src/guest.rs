//! The system inside a running machine, through its guest agent.
//!
//! [`Agent`] speaks QEMU's guest agent protocol over [`Guest::ask_agent`]. Guests are not trusted: an answer that is
//! too large, too deep, too long or of another form than the protocol's is `Corrupt`, a number that cannot be is
//! unknown, and nothing that a guest says is taken for the name of another machine.
//!
//! Every call can give `InvalidState` (the machine does not run, or the agent says that it could not do it; its words
//! are the detail), `Unavailable` (no agent answers), `Timeout`, `Unsupported` (the agent does not know the command, or
//! may not do it now), `Corrupt` and `NotFound`. Methods name only what they add.
//!
//! ```no_run
//! # async fn example(host: &kvm_core::Host, vm: &kvm_core::VmId) -> kvm_core::Result<()> {
//! use std::sync::Arc;
//! use std::time::Duration;
//! use kvm_core::SystemClock;
//! use kvm_vm::guest::{Agent, ExecSpec};
//!
//! let agent = Agent::new(host, vm, Arc::new(SystemClock))?;
//! let uptime = agent.exec(&ExecSpec::new("uptime", Vec::<String>::new())?, Duration::from_secs(10)).await?;
//! let frozen = agent.freeze(Duration::from_secs(30)).await?;
//! // … copy its disks …
//! frozen.thaw().await?;
//! # Ok(()) }
//! ```

use std::sync::Arc;
use std::time::Duration;

use kvm_core::{AgentCommand, Clock, Error, ErrorKind, Guest, Host, Hypervisor, Result, VmId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

mod account;
mod bounded;
mod exec;
mod file;
mod freeze;
mod fs;
mod info;
mod network;
mod path;
mod time;
mod vcpu;

pub use account::{AuthorizedKey, GuestUser, PasswordForm, Reset};
pub use exec::{End, ExecOutcome, ExecSpec};
pub use file::{GuestFile, OpenMode};
pub use freeze::{FreezeState, Frozen};
pub use fs::{FileSystem, Trimmed};
pub use info::{AgentInfo, LoggedIn, OsInfo, TimeZone};
pub use network::{GuestInterface, InterfaceAddress};
pub use path::GuestPath;
pub use vcpu::GuestVcpu;

/// How long an agent may take for what it knows or does at once.
const QUICK: Duration = Duration::from_secs(5);
/// How long it may take for what waits for disks.
const SLOW: Duration = Duration::from_secs(60);

/// The guest agent of one machine. Clones speak to the same agent.
#[derive(Clone, Debug)]
pub struct Agent {
    hypervisor: Arc<dyn Hypervisor>,
    vm: VmId,
    clock: Arc<dyn Clock>,
}

/// What a command returns that returns nothing: an object.
#[derive(serde::Deserialize)]
struct Nothing {}

impl Agent {
    /// The agent of a machine; nothing is asked yet. `Unsupported` when the backend knows nothing of guests.
    pub fn new(host: &Host, vm: &VmId, clock: Arc<dyn Clock>) -> Result<Self> {
        facet(&*host.hypervisor)?;
        Ok(Self { hypervisor: Arc::clone(&host.hypervisor), vm: *vm, clock })
    }

    /// Asks the agent whether it is there.
    pub async fn ping(&self) -> Result<()> {
        self.ask("guest-ping", &(), QUICK).await.map(|Nothing {}| ())
    }

    /// Sends a command and reads what it returns.
    async fn ask<T: DeserializeOwned>(&self, name: &str, arguments: &impl Serialize, limit: Duration) -> Result<T> {
        let command = AgentCommand::new(name, arguments)?;
        let answer = facet(&*self.hypervisor)?.ask_agent(&self.vm, &command, limit).await;
        answer.and_then(|answer| answer.read()).map_err(|e| e.during("ask-agent"))
    }

    /// Sends a command that returns nothing of interest.
    async fn tell(&self, name: &str, arguments: &impl Serialize, limit: Duration) -> Result<()> {
        self.ask(name, arguments, limit).await.map(|serde::de::IgnoredAny| ())
    }

    /// Asks the guest to shut down, and waits until the machine is off: the agent of a guest that obeys cannot answer.
    ///
    /// `Timeout` when it is not off in time; it may still obey.
    pub async fn shutdown(&self, timeout: Duration) -> Result<()> {
        use kvm_core::{HypervisorExt as _, VmState};
        let told = self.tell("guest-shutdown", &json!({ "mode": "powerdown" }), QUICK).await;
        match told {
            // What became of it is seen by looking.
            Err(e) if !matches!(e.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) => return Err(e),
            _ => {}
        }
        match self.hypervisor.wait_for(&self.vm, &[VmState::Off], timeout, &*self.clock).await {
            // A transient machine is gone when it is off.
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

fn facet(hypervisor: &dyn Hypervisor) -> Result<&dyn Guest> {
    hypervisor.guest().ok_or_else(|| Error::new(ErrorKind::Unsupported, "this host knows nothing of its guests"))
}

/// An answer of the right form that cannot be true.
fn implausible(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the guest agent answered {why}"))
}
