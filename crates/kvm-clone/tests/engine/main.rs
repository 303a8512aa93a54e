//! Copies between two simulated hosts.

mod backup;
mod clone;
mod restore;
mod support;
