//! Devices of the host itself: what there is, and devices that are made out of others.

use std::fmt;

use async_trait::async_trait;
use kvm_xml::NodeDevice;

use crate::{HostDeviceName, Result};

mod address;
mod given;
mod mediated;

pub use address::{MdevId, PciAddress, UsbAddress, UsbId};
pub use given::HostDeviceRef;
pub use mediated::MdevSpec;

/// Devices of a host: <https://libvirt.org/formatnode.html>.
///
/// `Unavailable` and `Timeout` are as in [`Hypervisor`](crate::Hypervisor).
#[async_trait]
pub trait HostDevices: fmt::Debug + Send + Sync {
    /// Lists the documents of all devices, sorted by name. They form a tree: all but its root name the one above them, which
    /// is listed, too.
    async fn list(&self) -> Result<Vec<NodeDevice>>;

    /// Gives the document of one device. `NotFound`.
    async fn find(&self, device: &HostDeviceName) -> Result<NodeDevice>;

    /// Makes a mediated device out of another one; it is gone when the host restarts.
    ///
    /// `NotFound` when there is no such parent, `AlreadyExists` when there is a mediated device of the uuid, `InvalidInput`
    /// when the parent makes no device of this type, `InvalidState` when it has made all that it can.
    async fn create(&self, spec: &MdevSpec) -> Result<HostDeviceName>;

    /// Takes a mediated device away. `NotFound` when there is no such device, `Unsupported` for a device of any other kind:
    /// what is real stays.
    async fn delete(&self, device: &HostDeviceName) -> Result<()>;
}
