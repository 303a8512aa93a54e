//! The engine on a simulated host, from plan to world.

mod block_job;
mod chain;
mod create;
mod delete;
mod device;
mod doctor;
mod edit;
mod find;
mod foreign;
mod forward;
mod graph;
mod guest;
mod host_device;
mod import;
mod migrate;
mod names;
mod network;
mod package;
mod passthrough;
mod peripheral;
mod pool;
mod power;
mod secret;
mod snapshot;
mod support;
mod volume;
