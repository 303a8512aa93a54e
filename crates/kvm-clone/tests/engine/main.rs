//! Copies between two simulated hosts.

mod clone;
mod replica;
mod support;
mod sync;
