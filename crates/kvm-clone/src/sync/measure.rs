//! What a sync would send, found out without sending it.

use kvm_core::{Bytes, DiskPath, Host, Result};
use kvm_wire::Access;
use kvm_xml::rewrite::{Content, Copy};

use crate::place::{Images, Own};
use crate::spec::Compress;
use crate::tally::{Moved, SyncedImage, disk_of};
use crate::transfer::{Changed, ImageUpdate};

/// An image whose part of a sync can be measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) disk: String,
    /// Whether all of it goes over, not only what changed.
    pub(super) is_whole: bool,
    how: How,
}

#[derive(Debug)]
enum How {
    /// All of it goes over.
    Whole { length: Bytes, allocated: Bytes, is_new: bool },
    /// What differs.
    Changed { from: DiskPath, to: DiskPath, root: Option<String> },
    /// Nobody knows before it is put together.
    Unknown,
}

impl Measured {
    /// An image that goes over in whole, to where none is.
    pub(super) fn whole(copy: &Copy, images: &Images) -> Option<Self> {
        Self::of(copy, images, |own| How::Whole { length: own.stored, allocated: own.volume.allocation, is_new: true })
    }

    /// An image that goes over in whole, in place of another.
    pub(super) fn replaced(copy: &Copy, images: &Images) -> Option<Self> {
        Self::of(copy, images, |own| How::Whole { length: own.stored, allocated: own.volume.allocation, is_new: false })
    }

    /// An image of which goes over what changed.
    pub(super) fn changed(disk: &str, from: DiskPath, to: DiskPath, root: Option<String>) -> Self {
        Self { disk: disk.to_owned(), is_whole: false, how: How::Changed { from, to, root } }
    }

    fn of(copy: &Copy, images: &Images, how: impl FnOnce(&Own) -> How) -> Option<Self> {
        let own = images.get(&copy.from).filter(|_| copy.content == Content::Disk)?;
        let how = if own.volume.backing.is_some() { How::Unknown } else { how(own) };
        Some(Self { disk: disk_of(&copy.path).to_owned(), is_whole: true, how })
    }

    /// An image of which goes over what changed, but that has to be put together first.
    pub(super) fn unknown(disk: &str) -> Self {
        Self { disk: disk.to_owned(), is_whole: false, how: How::Unknown }
    }

    pub(super) async fn measure(&self, source: &Host, target: &Host) -> Result<Option<SyncedImage>> {
        let moved = match &self.how {
            How::Unknown => return Ok(None),
            How::Whole { length, allocated, is_new } => {
                Moved { length: *length, changed: *allocated, is_new: *is_new, is_whole: true, ..Moved::default() }
            }
            How::Changed { from, to, root } => {
                let (source, target) = (&*source.transport, &*target.transport);
                let (limit, compression, resume) = (None, Compress::Auto, false);
                let update = ImageUpdate { source, from, is_qcow2: false, target, to, limit, compression, resume };
                let Changed { length, changed, there, was_read, .. } = update.measure(Access::Shared).await?;
                let was_written = root.as_ref().zip(there).is_some_and(|(then, now)| *then != now.to_string());
                Moved { length, changed, was_written, was_read, ..Moved::default() }
            }
        };
        Ok(Some(SyncedImage { disk: self.disk.clone(), moved }))
    }
}
