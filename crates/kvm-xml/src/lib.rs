//! libvirt's XML documents as plain Rust structs: nothing lost, nothing guessed.
//!
//! Every element is a struct with public fields, named as in the XML (`currentMemory` is `current_memory`, `type` is
//! `r#type`); where an attribute and a child element have one name, the element's ends in `_el`. What may be absent is an
//! `Option`, what may repeat is a `Vec`, what is only there or not is a `bool`; a closed set of words is an enum. So
//! libvirt's own [documentation](https://libvirt.org/format.html) holds for the fields; an element links its page, and a
//! field says here what its name does not: unit, default, range, since when, what it needs.
//!
//! ```
//! use kvm_xml::{Document, Domain};
//!
//! let mut domain = Domain::from_xml("<domain type='kvm'><name>web</name><vcpu>2</vcpu><new-thing a='1'/></domain>")?;
//! assert_eq!(domain.name.as_deref(), Some("web"));
//! domain.vcpu.get_or_insert_default().value = Some(4);
//! assert!(domain.to_xml().contains("<new-thing a='1'/>"));
//! # Ok::<(), kvm_xml::XmlError>(())
//! ```
//!
//! **Nothing is lost.** What this crate does not know stays in the `_extra` of its element, in its place, and is written
//! back: attributes, elements, comments, foreign namespaces, values that a field's type does not have. A number that was
//! written as `0x0` stays so until it is changed. Comments outside the outermost element are the one exception.
//!
//! **Nothing is guessed.** [`Document::from_xml`] is for documents from libvirt and keeps what is odd;
//! [`Document::from_xml_strict`] is for documents from people and refuses it, with the path, the line, the column and
//! what would have been valid. Both refuse what no document needs: document types, entities, more than a mebibyte, more
//! than 256 levels.
//!
//! [`rewrite()`] makes the document of a copy: a clone, a replica, a template, a machine that has moved or was restored.
//! [`diff`] says in words what differs between two documents, [`Document::redact`] takes secrets out of one, and [`Metadata`]
//! is the place for what belongs to neither libvirt nor this crate.
//!
//! With the feature `serde` every type is `Serialize` and `Deserialize` under the names of its fields.
#![forbid(unsafe_code)]

#[allow(missing_docs, reason = "a field is named after its attribute or element; its struct links libvirt's page")]
pub mod backup;
mod canonical;
#[allow(missing_docs, reason = "as above")]
pub mod capabilities;
#[allow(missing_docs, reason = "as above")]
pub mod checkpoint;
#[allow(missing_docs, reason = "as above")]
pub mod common;
mod compare;
mod diff;
mod document;
#[allow(missing_docs, reason = "as above")]
pub mod domain;
#[allow(missing_docs, reason = "as above")]
pub mod domain_capabilities;
pub mod element;
mod error;
mod extra;
pub mod form;
mod fragment;
#[allow(missing_docs, reason = "as above")]
pub mod host_interface;
pub mod leaf;
mod metadata;
#[allow(missing_docs, reason = "as above")]
pub mod network;
#[allow(missing_docs, reason = "as above")]
pub mod network_port;
#[allow(missing_docs, reason = "as above")]
pub mod node_device;
#[allow(missing_docs, reason = "as above")]
pub mod nwfilter;
mod parse;
#[allow(missing_docs, reason = "as above")]
pub mod pool;
#[allow(missing_docs, reason = "as above")]
pub mod pool_capabilities;
mod redact;
pub mod rewrite;
#[allow(missing_docs, reason = "as above")]
pub mod secret;
#[cfg(feature = "serde")]
mod serial;
#[allow(missing_docs, reason = "as above")]
pub mod snapshot;
mod tree;
mod validate;
pub mod value;
#[allow(missing_docs, reason = "as above")]
pub mod volume;
mod write;

pub use backup::DomainBackup;
pub use capabilities::Capabilities;
pub use checkpoint::DomainCheckpoint;
pub use diff::{Change, diff};
pub use document::{Document, ParseOptions, Unknown};
pub use domain::Domain;
pub use domain_capabilities::DomainCapabilities;
pub use error::XmlError;
pub use extra::Extra;
pub use fragment::Fragment;
pub use host_interface::HostInterface;
pub use metadata::Metadata;
pub use network::Network;
pub use network_port::NetworkPort;
pub use node_device::NodeDevice;
pub use nwfilter::{NetworkFilter, NetworkFilterBinding};
pub use pool::StoragePool;
pub use pool_capabilities::StoragePoolCapabilities;
pub use rewrite::rewrite;
pub use secret::Secret;
pub use snapshot::DomainSnapshot;
pub use validate::{Presence, Problem, ProblemKind, Reference, Severity, not_looked};
pub use volume::StorageVolume;
