//! Sessions with the helper in this process, over pipes.

mod copy;
mod directory;
mod fault;
mod marks;
mod peer;
mod place;
mod scan;
mod update;
