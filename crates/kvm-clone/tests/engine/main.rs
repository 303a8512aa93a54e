//! Copies between two simulated hosts.

mod backup;
mod clone;
mod replica;
mod restore;
mod support;
mod sync;
