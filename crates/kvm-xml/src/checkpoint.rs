//! Checkpoints of domains.

use crate::common::Parent;
use crate::domain::Domain;
use crate::extra::Extra;
use crate::leaf::closed;
use kvm_xml_derive::Xml;

/// A moment from which on a domain's disks remember what has changed: <https://libvirt.org/formatcheckpoint.html>;
/// since libvirt 5.6.0.
///
/// To make one, `name`, `description` and `disks` are enough; libvirt fills in the rest.
#[derive(Clone, Default, Xml)]
#[xml(root = "domaincheckpoint")]
pub struct DomainCheckpoint {
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub description: Option<String>,
    pub parent: Option<Parent>,
    /// In seconds since 1970.
    #[xml("creationTime", el)]
    pub creation_time: Option<u64>,
    pub disks: Option<CheckpointDisks>,
    pub domain: Option<Box<Domain>>,
    pub _extra: Extra,
}

/// Which disks take part in a checkpoint; all of them if there is no such element.
#[derive(Clone, Default, Xml)]
pub struct CheckpointDisks {
    pub disk: Vec<CheckpointDisk>,
    pub _extra: Extra,
}

/// Whether and how one disk takes part; `name` is the disk's target, such as `vda`, or the path of its image.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct CheckpointDisk {
    pub name: Option<String>,
    pub checkpoint: Option<CheckpointMode>,
    /// The name of the bitmap in the image; the checkpoint's own unless given.
    pub bitmap: Option<String>,
    /// About how many bytes have changed since the checkpoint; only when asked for.
    pub size: Option<u64>,
    pub _extra: Extra,
}

closed! {
    /// What `checkpoint` of [`CheckpointDisk`] can be.
    pub enum CheckpointMode {
        No = "no", Bitmap = "bitmap",
    }
}
