//! Copies of virtual machines, on one host or between two that share nothing.
//!
//! [`plan_clone`] looks at both hosts, refuses what cannot work before anything is written, and gives a plan: its
//! `Display` is the dry run, an executor carries it out and can take it back, and [`decode`] makes its steps again after
//! a crash. Nothing half-made is ever a machine: the definition comes last, when all images have arrived and were read
//! once more.
//!
//! [`plan_sync`] makes a replica of a machine on another host, and brings it up to date from then on: only what changed
//! is sent, and nothing of it is applied before all has arrived. [`plan_promote`] makes a machine of its own of it, on
//! its host alone.
//!
//! Nothing here knows a backend, prints, or reads the environment.

#![forbid(unsafe_code)]

mod clone;
mod moment;
mod place;
mod replica;
mod spec;
mod step;
mod survey;
mod sync;
mod tally;
mod transfer;

pub use clone::{ClonePlan, plan_clone};
pub use replica::{
    PromotePlan, PromoteSpec, ReplicaInfo, SourceSeen, pause_replica, plan_promote, replica_of, replicas,
    resume_replica, see_source,
};
pub use spec::{CloneSpec, Compress, SyncSpec, UplinkMap, WhileRunning};
pub use step::decode;
pub use sync::{SyncPlan, plan_sync};
pub use tally::{Moved, SyncedImage, Tally};
pub use transfer::{ImageTransfer, ImageUpdate, Transferred, Updated, Watch};
