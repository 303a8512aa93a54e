//! What a copy moved, image by image.

use std::sync::{Arc, Mutex, PoisonError};

use kvm_core::Bytes;
use serde::Serialize;

/// What a sync, a move or a backup moved, image by image. Clones share it; it is complete when the operation has ended. What
/// another process goes on with is told there.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Noted>>);

/// What is noted so far.
#[derive(Debug, Default)]
struct Noted {
    /// The disks in the order of their steps; several are moved at a time.
    disks: Vec<String>,
    images: Vec<SyncedImage>,
}

/// An image of a sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SyncedImage {
    /// The disk's name in the guest: `vda`.
    pub disk: String,
    /// What was, or would be, moved.
    #[serde(flatten)]
    pub moved: Moved,
}

/// How much of an image was, or would be, moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// How long the image is.
    #[serde(rename = "length_bytes")]
    pub length: Bytes,
    /// How much of it the replica had not.
    #[serde(rename = "changed_bytes")]
    pub changed: Bytes,
    /// How many bytes that took on the way, after compression; zero in a dry run.
    #[serde(rename = "sent_bytes")]
    pub sent: Bytes,
    /// Whether the replica had no such image before.
    #[serde(rename = "new")]
    pub is_new: bool,
    /// Whether all of it is sent, not only what changed.
    #[serde(rename = "whole")]
    pub is_whole: bool,
    /// Whether somebody has written to the replica's image since the last sync; what they wrote is overwritten.
    #[serde(rename = "written_from_outside")]
    pub was_written: bool,
    /// Whether all of the replica's image was read to find that out, because its saved digests are not about it as it is.
    #[serde(rename = "read_in_full")]
    pub was_read: bool,
    /// How much of the source's image was not read, because a bitmap says that it has not changed.
    #[serde(rename = "spared_bytes")]
    pub spared: Bytes,
}

/// The part of a tally that one image has. Without an image it keeps nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct TallyOf {
    disk: String,
    tally: Option<Tally>,
}

impl Tally {
    /// The images that were moved so far, in the order of their steps.
    #[must_use]
    pub fn images(&self) -> Vec<SyncedImage> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut images = noted.images.clone();
        images.sort_by_key(|image| noted.disks.iter().position(|disk| *disk == image.disk));
        images
    }

    /// The part of the disk that has this path in a document: `devices.disk[vda].source`.
    pub(crate) fn of(&self, path: &str) -> TallyOf {
        let disk = disk_of(path).to_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).disks.push(disk.clone());
        TallyOf { disk, tally: Some(self.clone()) }
    }
}

impl TallyOf {
    /// Notes what was moved, in place of what an earlier attempt has noted.
    pub(crate) fn add(&self, moved: Moved) {
        let Some(Tally(noted)) = &self.tally else { return };
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.images.retain(|image| image.disk != self.disk);
        noted.images.push(SyncedImage { disk: self.disk.clone(), moved });
    }
}

/// The disk's name in the path of an element of its.
pub(crate) fn disk_of(path: &str) -> &str {
    path.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or(path, |(disk, _)| disk)
}
