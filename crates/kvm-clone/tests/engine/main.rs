//! Copies between two simulated hosts.

mod backup;
mod clone;
mod hold;
mod linked;
mod moving;
mod parallel;
mod prove;
mod race;
mod replace;
mod replica;
mod restore;
mod rot;
mod sealed;
mod support;
mod sync;
mod sysprep;
mod tpm;
mod unsealed;
