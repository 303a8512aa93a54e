//! A simulated host: machines, pools, networks, events and an operating system that behave, without libvirt.
//!
//! Internal, may change. It is three things at once:
//! - for tests, a host that can be held still: its clock is yours, transitions can be held and released, calls fail
//!   where you want them to;
//! - for people, a demonstration without a hypervisor (`mock:///demo`), kept between commands in a state file;
//! - for both, an honest one: it passes the same contract suite as libvirt, and a difference that is found becomes a
//!   case of that suite.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! use std::{sync::Arc, time::Duration};
//! use kvm_core::{ErrorKind, HypervisorExt as _, PowerAction, VmName, VmState};
//! use kvm_mock::{Method, Mock, TokioClock};
//!
//! let clock = Arc::new(TokioClock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()));
//! let mock = Mock::demo(clock.clone())?;
//! let host = mock.host();
//! let web = host.hypervisor.find_by_name(&VmName::parse("web-01")?).await?;
//! host.hypervisor.shutdown_and_wait(&web.id, Duration::from_secs(60), &*clock).await?;
//!
//! mock.fail_next(Method::Power, ErrorKind::Unavailable);
//! let refused = host.hypervisor.power(&web.id, PowerAction::Start).await.unwrap_err();
//! assert_eq!(refused.kind(), ErrorKind::Unavailable);
//! assert_eq!(host.hypervisor.find_by_name(&web.name).await?.state, VmState::Off);
//! # kvm_core::Result::<()>::Ok(()) }).unwrap();
//! ```
//!
//! What a machine does by itself (boot, obey a shutdown, renew a lease) is due when the clock says so, and happens when
//! somebody looks: nothing runs in the background. `mock:///PATH.yaml` begins with a scenario file; its form is shown
//! in `docs/scenarios.md`.

#![forbid(unsafe_code)]

mod agent;
mod block_job;
mod capability;
mod checkpoint;
mod clock;
mod console;
mod content;
mod demo;
mod device;
mod document;
mod event;
mod fault;
mod file;
mod filter;
mod guest;
mod helper;
mod host_device;
mod hypervisor;
mod image;
mod knob;
mod machine;
mod migration;
mod mock;
mod network;
mod picture;
mod qcow2;
mod scenario;
mod secret;
mod setup;
mod shell;
mod snapshot;
mod state;
mod stats;
mod storage;
mod transport;
mod world;

pub use agent::AgentAnswer;
pub use clock::{ManualClock, TokioClock};
pub use fault::{Call, Fault, Method};
pub use knob::FileInfo;
pub use machine::GuestAction;
pub use mock::Mock;
pub use transport::{Listener, Script};
