//! The engine on a simulated host, from plan to world.

mod chain;
mod create;
mod delete;
mod device;
mod doctor;
mod edit;
mod find;
mod graph;
mod import;
mod names;
mod power;
mod support;
