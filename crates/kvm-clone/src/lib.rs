//! Copies of virtual machines, on one host or between two that share nothing.
//!
//! [`plan_clone`] looks at both hosts, refuses what cannot work before anything is written, and gives a plan: its
//! `Display` is the dry run, an executor carries it out and can take it back, and [`decode`] makes its steps again after
//! a crash. Nothing half-made is ever a machine: the definition comes last, when all images have arrived and were read
//! once more.
//!
//! Nothing here knows a backend, prints, or reads the environment.

#![forbid(unsafe_code)]

mod clone;
mod moment;
mod place;
mod spec;
mod step;
mod survey;
mod transfer;

pub use clone::{ClonePlan, plan_clone};
pub use spec::{CloneSpec, Compress, UplinkMap, WhileRunning};
pub use step::decode;
pub use transfer::{ImageTransfer, Transferred, Watch};
