//! The contract of a host's network filters.

use std::fmt;

use async_trait::async_trait;
use kvm_xml::NetworkFilter;

use crate::{Existing, FilterName, Result};

/// Network filters: what the devices that name one may send and receive.
///
/// `Unavailable` and `Timeout` are as in [`Hypervisor`](crate::Hypervisor).
#[async_trait]
pub trait Filters: fmt::Debug + Send + Sync {
    /// Lists all filters, sorted by name.
    async fn list(&self) -> Result<Vec<FilterName>>;

    /// Gives a filter's document. `NotFound`.
    async fn definition(&self, filter: &FilterName) -> Result<NetworkFilter>;

    /// Stores a filter's document; one that replaces another keeps its uuid, and devices that are behind it notice at
    /// once. `AlreadyExists` when the name is taken and may not be replaced; `InvalidInput`.
    async fn define(&self, doc: &NetworkFilter, existing: Existing) -> Result<()>;

    /// Forgets a filter. `NotFound`; `InvalidState` when a device of a running machine is behind it.
    async fn undefine(&self, filter: &FilterName) -> Result<()>;
}
