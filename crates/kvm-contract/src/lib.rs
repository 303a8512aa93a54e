//! The contract that every backend keeps, as a suite of cases to run against it.
//!
//! A backend brings a [`Rig`], which makes hosts and says what a machine, a pool and a network look like there; the
//! suite does the rest. It asserts kinds of errors, states and order, never texts or timing. The rules are listed by
//! [`markdown`].
//!
//! ```no_run
//! // tests/contract.rs of a backend, with `harness = false` in its manifest
//! # struct MyRig;
//! # #[async_trait::async_trait] impl kvm_contract::Rig for MyRig {
//! #     fn time(&self) -> kvm_contract::Time { unreachable!() }
//! #     fn limit(&self) -> std::time::Duration { unreachable!() }
//! #     async fn bench(&self, _: &kvm_contract::Setup) -> kvm_core::Result<Box<dyn kvm_contract::Bench>> { unreachable!() }
//! # }
//! # const SKIPS: &str = "";
//! fn main() {
//!     let args = kvm_contract::Arguments::from_args();
//!     kvm_contract::run(MyRig, SKIPS /* include_str!("contract-skips.txt") */, &args).exit();
//! }
//! ```
//!
//! A bug that is found in one backend becomes a case here first, and then a fix in every backend.

#![forbid(unsafe_code)]

mod case;
mod cx;
mod markdown;
mod model;
mod rig;
mod run;
mod shared;
mod skip;

pub use libtest_mimic::{Arguments, Conclusion};
pub use markdown::markdown;
pub use rig::{Bench, Rig, Setup, Time, TransportBench, TransportRig, through};
pub use run::{run, run_transport};
pub use shared::{SharedHost, on_shared};
