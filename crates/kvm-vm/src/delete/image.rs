//! The images of a machine that is to be deleted.

use std::collections::BTreeSet;

use kvm_core::VolumeInfo;
use kvm_core::op::PlanLine;
use kvm_image::graph::Name;
use kvm_xml::Domain;
use kvm_xml::domain::{Disk, DiskDevice, DiskSource};

use super::ON_THE_NETWORK;
use crate::chain::{DiskGraph, normal, path_key, volume_key};
use crate::place::volume_name;

/// An image that a machine uses.
#[derive(Debug)]
pub(super) struct Image {
    /// How the graph calls it.
    pub(super) name: Name,
    /// What the host knows of it, when it is a volume of an active pool.
    pub(super) volume: Option<VolumeInfo>,
    /// Why it stays in any case.
    pub(super) kept: Option<Kept>,
}

/// Why an image stays, whoever else uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The machine cannot write to it, so it was not made for the machine.
    Fixed(&'static str),
    /// Another image is an overlay of it.
    Below,
}

impl Image {
    pub(super) fn line(&self, action: &str, note: &str) -> PlanLine {
        match (&self.volume, &self.name) {
            (Some(volume), _) => PlanLine::new(action, "volume", volume_name(volume)),
            (None, Name::Path { path }) => PlanLine::new(action, "file", path.as_str()),
            (None, name) => PlanLine::new(action, "image", name.to_string()),
        }
        .note(note)
    }
}

/// All images of a machine, each once: those of its disks first, then what is below them.
pub(super) fn images(graph: &DiskGraph, documents: &[Domain]) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    let devices = documents.iter().filter_map(|d| d.devices.as_ref());
    for disk in devices.flat_map(|devices| &devices.disk) {
        let Some((name, volume)) = find(graph, disk.source.as_ref()) else { continue };
        let is_distant = volume.is_some_and(|volume| volume.path.is_none());
        let kept = kept(disk).or(is_distant.then_some(Kept::Fixed(ON_THE_NETWORK)));
        match images.iter_mut().find(|image| image.name == name) {
            // One view of the machine says what the other does not: whatever keeps it counts.
            Some(image) => image.kept = image.kept.or(kept),
            None => images.push(Image { name, volume: volume.cloned(), kept }),
        }
    }
    let disks: BTreeSet<usize> = images.iter().filter_map(|image| graph.graph().find(&image.name)).collect();
    for below in graph.graph().below(disks.iter().copied()).into_iter().filter(|below| !disks.contains(below)) {
        let volume = graph.volume(below).cloned();
        let named = graph.graph().images()[below].names.iter().find(|name| matches!(name, Name::Path { .. }));
        if let Some(name) = volume.as_ref().map(name_of).or_else(|| named.cloned()) {
            images.push(Image { name, volume, kept: Some(Kept::Below) });
        }
    }
    images
}

/// Why a disk's image stays in any case.
fn kept(disk: &Disk) -> Option<Kept> {
    match disk.device {
        Some(DiskDevice::Floppy) => Some(Kept::Fixed("removable")),
        Some(DiskDevice::Lun) => Some(Kept::Fixed("a device of the host")),
        Some(DiskDevice::Cdrom) => Some(Kept::Fixed("read-only")),
        _ => disk.readonly.then_some(Kept::Fixed("read-only")),
    }
}

/// Where a disk's data is; `None` for empty drives and for what is on the network and of no pool.
fn find<'a>(graph: &'a DiskGraph, source: Option<&DiskSource>) -> Option<(Name, Option<&'a VolumeInfo>)> {
    let source = source?;
    if let (Some(pool), Some(volume)) = (&source.pool, &source.volume) {
        return graph.volume_named(pool, volume).map(|volume| (name_of(volume), Some(volume)));
    }
    let path = source.file.as_ref().or(source.dev.as_ref()).filter(|path| path.starts_with('/'))?;
    let path = normal(path);
    let volume = graph.volume_at(&path);
    Some((Name::path(path), volume))
}

/// One of several names: the path, if there is one.
fn name_of(volume: &VolumeInfo) -> Name {
    volume.path.as_ref().map_or_else(|| volume_key(volume), path_key)
}
