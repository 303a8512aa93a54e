//! One machine as a bundle of independent parts.

use std::sync::Arc;

use crate::{Hypervisor, Networks, Storage, Transport};

/// One host as a bundle of independent parts.
///
/// Engines take a `&Host`; a surface builds one from a backend. Swapping a part is a struct update:
///
/// ```
/// # use std::sync::Arc; use kvm_core::{Host, Storage};
/// fn with_storage(host: &Host, storage: Arc<dyn Storage>) -> Host {
///     Host { storage, ..host.clone() }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Host {
    /// Machines.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Pools and volumes.
    pub storage: Arc<dyn Storage>,
    /// Virtual networks.
    pub networks: Arc<dyn Networks>,
    /// The operating system.
    pub transport: Arc<dyn Transport>,
}
