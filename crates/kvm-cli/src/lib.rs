//! The command line of KVM Manager, as a library under the programs `kvmctl` and `kvm-clone` ([`copy`]).
//!
//! A command line becomes [`Args`]; [`run`] does what it says and prints through a [`Printer`], the only place that
//! touches the terminal. Every verb has a file of its own, and its answer is data: table, JSON and YAML are three
//! ways to write it ([`Outcome`]).
//!
//! What the verbs do is in the libraries below: this crate finds the host ([`Settings`], targets, aliases), asks before
//! something is destroyed, and turns errors into words, hints and [exit codes](exit_code).

#![forbid(unsafe_code)]

mod args;
mod backup;
mod checkpoint;
mod child;
mod clone;
mod completion;
mod connect;
pub mod copy;
mod device;
mod disk;
mod doctor;
mod environment;
mod events;
mod exit;
#[cfg(feature = "failpoints")]
mod failpoint;
mod guest;
mod help;
mod hint;
mod host;
mod interrupt;
mod list;
mod log;
mod man;
mod net;
mod nic;
mod op;
mod operation;
mod peers;
mod peripheral;
mod picture;
mod pool;
mod printer;
mod prompt;
mod prove;
mod relocate;
mod replica;
mod restore;
mod run;
mod secret;
mod session;
mod settings;
mod snap;
mod ssh;
mod sync;
mod sysprep;
mod text;
mod vm;
mod vms;
mod vol;

pub use args::{Args, Command, Format, Global, LogFormat};
pub use completion::answer_completion;
pub use connect::{Address, settle};
pub use environment::Directories;
pub use exit::{FOUND, SUCCESS, exit_code};
pub use printer::{Align, Cell, Column, Failure, Look, Outcome, Page, Printer, ProgressView, Table};
pub use run::run;
pub use session::{Connection, Session};
pub use settings::{Config, HostEntry, Settings};
