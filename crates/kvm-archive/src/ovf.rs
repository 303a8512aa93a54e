//! OVF documents: DMTF's "Open Virtualization Format" (DSP0243), versions 1 and 2, as VMware, VirtualBox and others write
//! them.

mod read;
mod write;

pub use read::read_ovf;
pub use write::write_ovf;

/// The longest document that is read, in bytes.
pub const OVF_MAX: u64 = 1 << 20;

/// Kinds of resource, by CIM's `ResourceType`.
mod resource {
    pub(super) const CPU: u32 = 3;
    pub(super) const MEMORY: u32 = 4;
    pub(super) const IDE: u32 = 5;
    pub(super) const SCSI: u32 = 6;
    pub(super) const ETHERNET: u32 = 10;
    pub(super) const FLOPPY: u32 = 14;
    pub(super) const CD: u32 = 15;
    pub(super) const DVD: u32 = 16;
    pub(super) const DISK: u32 = 17;
    pub(super) const STORAGE: u32 = 20;
}
