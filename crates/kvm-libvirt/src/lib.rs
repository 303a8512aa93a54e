//! The real backend on libvirt.
//!
//! [`Libvirt::connect`] opens a [`Target`](kvm_core::Target) and gives one value that implements
//! [`Hypervisor`](kvm_core::Hypervisor) with all its facets, [`Storage`](kvm_core::Storage) and
//! [`Networks`](kvm_core::Networks):
//!
//! ```no_run
//! use kvm_core::{ConnectOptions, Hypervisor, Target, VmFilter};
//! use kvm_libvirt::{Config, Libvirt};
//!
//! # async fn example() -> kvm_core::Result<()> {
//! let target = Target::parse("qemu:///system")?;
//! let libvirt = Libvirt::connect(&target, &ConnectOptions::default(), Config::default()).await?;
//! for vm in Hypervisor::list(&*libvirt, &VmFilter::all()).await? {
//!     tracing::info!(name = %vm.name, state = %vm.state, "a machine");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A host over SSH is opened by [`Libvirt::connect_through`], with a socket of this machine that leads there: libvirt's own
//! ways over SSH run programs and keep their own book of who is trusted.
//!
//! # What happens underneath
//!
//! libvirt's calls block, cannot be cancelled, and leave their error in the thread. So each connection has a few
//! threads of its own; a call runs on one of them, reads its error there, and answers within a deadline. A call that
//! does not come back costs its thread and its connection, which are replaced, a few times at most.
//!
//! There are two connections to a host, one for questions and one for long jobs; only the test driver, whose state
//! dies with its connection, has one. A lost connection is opened again by the next call, and in the background while
//! anybody listens to events: their stream says [`Disconnected`](kvm_core::Event::Disconnected) and
//! [`Resynced`](kvm_core::Event::Resynced). When the last handle is dropped, threads and connections end; one thread
//! of the process stays, which runs libvirt's event loop. A program calls [`settle`] before it ends.
//!
//! Every error is of one kind of [`kvm_core::ErrorKind`] with words of our own; libvirt's words are its source, a
//! [`LibvirtError`]. Where libvirt's number leaves open what went wrong, this crate looks again at what is true, and
//! never reads the text.
//!
//! Threads are real, so time is too: a paused clock of tokio makes calls time out.

#![deny(unsafe_op_in_unsafe_fn)]

mod block_job;
mod busy;
mod capability;
mod checkpoint;
mod config;
mod connect;
mod console;
mod content;
mod definition;
mod device;
mod document;
mod error;
mod event;
mod ffi;
mod filter;
mod guest;
mod host_device;
mod hub;
mod hypervisor;
mod lane;
mod libvirt;
mod machine;
mod migration;
mod monitor;
mod network;
mod pool;
mod power;
mod secret;
mod serial;
mod session;
mod setup;
mod snapshot;
mod stats;
mod storage;
mod task;
mod transfer;
mod volume;
mod withdrawn;

pub use busy::settle;
pub use config::{Config, Keepalive};
pub use error::LibvirtError;
pub use libvirt::Libvirt;
