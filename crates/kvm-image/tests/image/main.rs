//! Images that no program here has made: built byte by byte, hostile ones among them.

mod build;
mod copy;
mod corpus;
mod formats;
mod graph;
mod map;
mod marks;
