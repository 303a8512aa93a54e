//! Machines in files: appliances (OVA, or an OVF document beside its disks) and bundles (`.tar.zst`).
//!
//! - **Read**: [`Package::open`] takes any of them, verifies what can be verified, and gives the machine ([`Machine`]) and
//!   what is in each file ([`Content`]).
//! - **Write**: [`write_ova`] and [`write_bundle`] make one file of a description and disks.
//!
//! What is read may be from anybody. Names in an archive are never used as names on this machine: what has to be unpacked
//! goes into files without a name, so a package can reach nothing outside of itself, and nothing is left however the program
//! ends. Links, devices, two members under one name, members that nothing mentions, lengths that differ from what was
//! declared, documents with a document type or entities: each is an error that says so. The disks are not judged here; that
//! is for whoever opens them, with `kvm_image::check`.
//!
//! What an OVF document says about hardware is read into an [`Appliance`]: CPUs, memory, disks and their controllers, network
//! devices, firmware. The rest is left, since nothing on a host of another kind could use it.

#![forbid(unsafe_code)]

mod appliance;
mod archive;
mod bundle;
mod content;
mod digest;
mod manifest;
mod member;
mod ovf;
mod package;
mod write;
mod xml;

pub use appliance::{
    Adapter, Appliance, ApplianceDisk, ApplianceFile, ApplianceFirmware, ApplianceNic, Controller, GuestSystem,
};
pub use archive::MEMBERS_MAX;
pub use bundle::{BundleDisk, BundleIndex};
pub use content::Content;
pub use digest::{Algorithm, Digest, Hasher};
pub use manifest::Manifest;
pub use member::MemberName;
pub use ovf::{OVF_MAX, read_ovf, write_ovf};
pub use package::{Machine, Package, Watch, unwatched};
pub use write::{BundleImage, write_bundle, write_ova};
