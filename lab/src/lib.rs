//! What a test needs to use the lab: a real libvirt host for itself alone, and `kvmctl`.
//!
//! A test is a function on a [`LabHost`]:
//!
//! ```no_run
//! # async fn doc() {
//! kvm_lab::on_a_host(async |host| {
//!     let before = host.stock().await;
//!     let name = host.unique("web");
//!     host.kvmctl().ok(&["vm", "create", &name, "--disk", "64M"]).await;
//!     host.kvmctl().ok(&["vm", "delete", &name, "--delete-volumes", "--yes"]).await;
//!     host.assert_as(&before).await;
//! });
//! # }
//! ```
//!
//! The host is nobody else's until the test ends. Then, also after a failure, its daemons run again and what was not
//! there before is deleted.
//!
//! Without a lab a test fails and says how to bring one up. The functions panic, as assertions do, with all that is
//! known about what went wrong.

#![forbid(unsafe_code)]

mod frame;
mod host;
mod iscsi;
mod kvmctl;
mod lab;
mod own;
mod program;
mod stock;
mod wait;

pub use frame::{on_a_host, on_a_host_within, on_two_hosts};
pub use host::LabHost;
pub use iscsi::TARGET;
pub use kvmctl::Kvmctl;
pub use lab::Lab;
pub use own::Own;
pub use program::{Ended, Program, Running};
pub use stock::Stock;
pub use wait::{eventually, moment_passes, within};
