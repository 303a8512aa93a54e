//! Devices of a host: what they are, what has to go with them, and which machine has them.

use std::fmt;
use std::str::FromStr;

use kvm_core::{
    Bytes, Error, ErrorKind, Host, HostDeviceName, HostDevices, MdevId, PciAddress, Result, UsbAddress, UsbId, VmId,
    VmName,
};
use serde::{Serialize, Serializer};

mod assign;
mod class;
mod mediated;
mod needs;
mod read;
mod users;

pub(crate) use assign::{GroupScope, assign};
pub use class::DeviceClass;
pub use mediated::{create_mediated, delete_mediated, find_unused_mediated};

/// A device of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostDevice {
    /// What the host calls it.
    pub name: HostDeviceName,
    /// What kind of device it is.
    #[serde(rename = "type")]
    pub kind: HostDeviceKind,
    /// Where it is.
    pub address: Option<HostAddress>,
    /// What it does: of PCI devices.
    pub class: Option<DeviceClass>,
    /// Who made it.
    pub vendor: Option<DeviceIdentity>,
    /// What it is.
    pub product: Option<DeviceIdentity>,
    /// The host's driver in use.
    pub driver: Option<String>,
    /// The device above it.
    pub parent: Option<String>,
    /// The NUMA node of the host that it is next to.
    pub numa_node: Option<u32>,
    /// The IOMMU group: what can only be given away together. `None` where the IOMMU is off, and for what is in none.
    pub iommu_group: Option<IommuMembers>,
    /// Of a physical function: its virtual functions.
    pub virtual_functions: Option<VirtualFunctions>,
    /// Of a virtual function: the physical function that it is a part of.
    pub physical_function: Option<PciAddress>,
    /// What mediated devices can be made out of it.
    pub mediated_types: Vec<MdevChoice>,
    /// Of a mediated device: its type.
    pub mediated_type: Option<String>,
    /// Of a disk: its size.
    #[serde(rename = "size_bytes")]
    pub size: Option<Bytes>,
    /// Machines whose documents name it, sorted by name.
    pub used_by: Vec<DeviceUser>,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HostDeviceKind {
    /// A function on the PCI bus.
    Pci,
    /// A device on a USB bus.
    Usb,
    /// A mediated device.
    Mdev,
    /// A network interface.
    Net,
    /// A disk or a drive.
    Storage,
    /// A SCSI host, target or unit.
    Scsi,
    /// A node of the graphics system.
    Drm,
    /// The host itself, and what this version does not tell apart.
    Other,
}

impl HostDeviceKind {
    /// All kinds, in the order of lists.
    pub const ALL: [Self; 8] =
        [Self::Pci, Self::Usb, Self::Mdev, Self::Net, Self::Storage, Self::Scsi, Self::Drm, Self::Other];

    /// The word in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pci => "pci",
            Self::Usb => "usb",
            Self::Mdev => "mdev",
            Self::Net => "net",
            Self::Storage => "storage",
            Self::Scsi => "scsi",
            Self::Drm => "drm",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for HostDeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for HostDeviceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            let text = kvm_core::text::printable_within(text, 48);
            Error::invalid("type", format!("no such type of device: {text}"))
                .with_detail(format!("one of {}", known.join(", ")))
        })
    }
}

/// Where a device of a host is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostAddress {
    /// On the PCI bus.
    Pci(PciAddress),
    /// On a USB bus, and what it is.
    Usb(UsbAddress, Option<UsbId>),
    /// A mediated device, by its uuid.
    Mdev(MdevId),
    /// A network interface, by its name.
    Net(String),
    /// A block device, by its path.
    Block(String),
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(f),
            Self::Usb(address, _) => address.fmt(f),
            Self::Mdev(id) => id.fmt(f),
            Self::Net(text) | Self::Block(text) => f.pad(text),
        }
    }
}

impl Serialize for HostAddress {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A vendor or a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceIdentity {
    /// Its number, four hexadecimal digits.
    pub id: Option<String>,
    /// Its name, where the host knows it.
    pub name: Option<String>,
}

/// An IOMMU group, as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IommuMembers {
    /// The number of the group.
    pub number: u32,
    /// The members beside the device itself.
    pub others: Vec<GroupMember>,
}

/// A device of the same IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupMember {
    /// Where it is.
    pub address: PciAddress,
    /// What it is, as far as the host tells.
    pub product: Option<String>,
    /// What it does.
    pub class: Option<DeviceClass>,
    /// The host's driver in use.
    pub driver: Option<String>,
}

/// The virtual functions of a physical one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VirtualFunctions {
    /// How many there can be.
    pub max: Option<u32>,
    /// Those that there are.
    pub addresses: Vec<PciAddress>,
}

/// What can be made out of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MdevChoice {
    /// The type, in the vendor's words.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// How many more can be made.
    pub available: Option<u32>,
}

/// A machine that has a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceUser {
    /// The name of the machine.
    pub vm: VmName,
    /// Its uuid.
    pub id: VmId,
    /// Whether it runs with the device; else it gets it when it starts.
    pub running: bool,
}

/// Lists the devices of a host by kind and address, with the machines that have them. `Unsupported` when the host does not tell
/// of devices.
pub async fn host_devices(host: &Host) -> Result<Vec<HostDevice>> {
    let mut devices = documents(host).await?;
    let uses = users::uses(host).await?;
    for device in &mut devices {
        device.used_by = users::of(device.address.as_ref(), &uses);
    }
    Ok(devices)
}

/// As [`host_devices`], but without looking at machines: nobody uses anything.
pub(crate) async fn documents(host: &Host) -> Result<Vec<HostDevice>> {
    Ok(read::devices(&facet(host)?.list().await?))
}

/// The family, or an error that says that there is none.
pub(crate) fn facet(host: &Host) -> Result<&dyn HostDevices> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host does not tell of its devices");
    host.hypervisor.host_devices().ok_or_else(missing)
}
