//! Snapshots of domains.

use crate::common::Parent;
use crate::domain::{Cpu, DiskSnapshot, DiskSource, DiskType, Domain, ImageFormat};
use crate::extra::Extra;
use crate::leaf::closed;
use kvm_xml_derive::Xml;

/// The state of a domain's disks, of its memory or of both at one moment: <https://libvirt.org/formatsnapshot.html>.
///
/// To make one, `name`, `description`, `memory` and `disks` are enough; libvirt fills in the rest.
#[derive(Clone, Default, Xml)]
#[xml(root = "domainsnapshot")]
pub struct DomainSnapshot {
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub description: Option<String>,
    #[xml(el)]
    pub state: Option<SnapshotState>,
    pub parent: Option<Parent>,
    /// In seconds since 1970.
    #[xml("creationTime", el)]
    pub creation_time: Option<i64>,
    pub memory: Option<SnapshotMemory>,
    pub disks: Option<SnapshotDisks>,
    /// The images that the domain writes to after it was reverted to an external snapshot.
    #[xml("revertDisks")]
    pub revert_disks: Option<SnapshotDisks>,
    /// The domain as it was; only its `uuid` in snapshots from before libvirt 0.9.5.
    pub domain: Option<Box<Domain>>,
    /// What the domain would have been at its next start, where that differed.
    #[xml("inactiveDomain")]
    pub inactive_domain: Option<Box<Domain>>,
    pub cookie: Option<SnapshotCookie>,
    /// 1 if it is the domain's current snapshot, else 0; only in files of libvirt's own.
    #[xml(el, max = 1)]
    pub active: Option<u8>,
    pub _extra: Extra,
}

/// Where a snapshot keeps the guest's memory; since libvirt 1.0.1.
#[derive(Clone, Default, Xml)]
pub struct SnapshotMemory {
    pub snapshot: Option<SnapshotMemoryMode>,
    pub file: Option<String>,
    pub _extra: Extra,
}

/// What a snapshot does with the domain's disks; since libvirt 0.9.5.
#[derive(Clone, Default, Xml)]
pub struct SnapshotDisks {
    pub disk: Vec<SnapshotDisk>,
    pub _extra: Extra,
}

/// What a snapshot does with one disk; `name` is the disk's target, such as `vda`, or the path of its image.
///
/// `source` and `driver` describe the new image of an external snapshot.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct SnapshotDisk {
    pub name: Option<String>,
    pub snapshot: Option<DiskSnapshot>,
    pub r#type: Option<DiskType>,
    #[xml("snapshotDeleteInProgress")]
    pub snapshot_delete_in_progress: bool,
    pub driver: Option<ImageFormat>,
    pub source: Option<DiskSource>,
    pub _extra: Extra,
}

/// What the hypervisor's driver must remember to start the domain from the snapshot. Private to libvirt: whatever else is
/// in it is kept.
#[derive(Clone, Default, Xml)]
#[xml(open)]
pub struct SnapshotCookie {
    pub cpu: Option<Cpu>,
    #[xml("slirpHelper")]
    pub slirp_helper: bool,
    pub _extra: Extra,
}

closed! {
    /// What `state` of [`DomainSnapshot`] can be.
    pub enum SnapshotState {
        Running = "running", Blocked = "blocked", Paused = "paused", Shutdown = "shutdown", Shutoff = "shutoff",
        Crashed = "crashed", DiskSnapshot = "disk-snapshot",
    }
    /// What `snapshot` of [`SnapshotMemory`] can be.
    pub enum SnapshotMemoryMode {
        No = "no", Internal = "internal", External = "external",
    }
}
