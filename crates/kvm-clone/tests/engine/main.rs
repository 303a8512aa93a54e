//! Copies between two simulated hosts.

mod backup;
mod clone;
mod linked;
mod moving;
mod replace;
mod prove;
mod replica;
mod restore;
mod support;
mod sync;
