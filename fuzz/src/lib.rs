//! What must hold for every document, and documents to try it with.
//!
//! `text` reads arbitrary text, `document` reads documents made of the names and values of the tables, `edit` also changes
//! them. See CONTRIBUTING.md for how to run one.

#![forbid(unsafe_code)]

mod check;
mod edit;
mod generate;
mod kinds;

pub use check::{Subject, reads, stable};
pub use edit::edit;
pub use generate::document;
