//! What must hold for every document, and documents to try it with.
//!
//! `text` reads arbitrary text, `document` reads documents made of the names and values of the tables, `edit` also changes
//! them. See CONTRIBUTING.md for how to run one.

#![forbid(unsafe_code)]

mod check;
mod edit;
mod generate;

pub use check::{Subject, reads, stable};
pub use edit::edit;
pub use generate::document;

/// Calls a generic function for the kind of document that a number stands for.
#[macro_export]
macro_rules! for_kind {
    ($number:expr, $function:ident($($argument:expr),*)) => {
        match $number % 6 {
            0..=1 => $function::<kvm_xml::Domain>($($argument),*),
            2 => $function::<kvm_xml::Network>($($argument),*),
            3 => $function::<kvm_xml::StoragePool>($($argument),*),
            4 => $function::<kvm_xml::StorageVolume>($($argument),*),
            _ if $number % 12 < 6 => $function::<kvm_xml::Capabilities>($($argument),*),
            _ => $function::<kvm_xml::DomainCapabilities>($($argument),*),
        }
    };
}
