//! Copies between two simulated hosts.

mod clone;
mod support;
