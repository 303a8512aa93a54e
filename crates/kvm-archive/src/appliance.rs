//! What an OVF document says about a machine.

use kvm_core::Bytes;
use kvm_image::Format;

use crate::MemberName;

/// A machine as an OVF document describes it. Text is as it stands there, from whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The system that it was made for.
    pub system: GuestSystem,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: Bytes,
    /// What it boots with.
    pub firmware: ApplianceFirmware,
    /// Its hard disks, in the order of their controllers and their places there.
    pub disks: Vec<ApplianceDisk>,
    /// Its network devices, in their order.
    pub nics: Vec<ApplianceNic>,
    /// What else it has, in words, for people: what is not listed above is not taken over.
    pub left: Vec<String>,
}

/// The system that an appliance was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestSystem {
    /// Some Linux.
    Linux,
    /// Some Windows.
    Windows,
    /// Something else, or nothing is said.
    Other,
}

/// What an appliance boots with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplianceFirmware {
    /// BIOS; also when nothing is said.
    Bios,
    /// UEFI.
    Uefi,
    /// UEFI with Secure Boot.
    UefiSecure,
}

/// A hard disk of an appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplianceDisk {
    /// The size that the guest sees.
    pub capacity: Bytes,
    /// How it is plugged in.
    pub controller: Controller,
    /// What is on it; without it the disk is empty.
    pub file: Option<ApplianceFile>,
}

/// The file of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplianceFile {
    /// Its name.
    pub name: MemberName,
    /// Its format, as the document says.
    pub format: Format,
    /// Its length, where the document says one.
    pub length: Option<Bytes>,
    /// The bytes of the disk that are not zero, for documents that are written.
    pub populated: Option<Bytes>,
}

/// What a disk is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// IDE.
    Ide,
    /// SATA (AHCI).
    Sata,
    /// SCSI, of whatever make.
    Scsi,
    /// NVMe.
    Nvme,
}

/// A network device of an appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplianceNic {
    /// The network that it was plugged into, by the name that it had there.
    pub network: Option<String>,
    /// What the guest sees.
    pub adapter: Adapter,
}

/// The make of a network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// Made for virtual machines: VMXNET or virtio.
    Paravirtual,
    /// Intel, PCI.
    E1000,
    /// Intel, PCI express.
    E1000e,
    /// Anything else, or nothing is said.
    Other,
}
