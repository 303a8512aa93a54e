//! The simulated host keeps the contract.
#![allow(missing_docs, reason = "tests")]

#[path = "rig/world.rs"]
mod world;

use kvm_contract::Arguments;

fn main() {
    kvm_contract::run(world::MockRig, include_str!("contract-skips.txt"), &Arguments::from_args()).exit();
}
