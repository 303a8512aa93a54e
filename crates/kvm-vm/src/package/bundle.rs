//! A machine's own document, with its disks in other places.

use kvm_archive::BundleIndex;
use kvm_core::{Bytes, Error, ErrorKind, Resource, Result};
use kvm_xml::Domain;
use kvm_xml::domain as xml;

use super::PackageImport;
use super::export::{hard_disks, target};
use crate::build::device::plugged_into;
use crate::create::Disk;
use crate::spec::{DiskOptions, DiskSource, DiskSpec};

/// The disks of a bundle as they are asked for, in the order of its index. Every disk that the document plugs in has to be
/// in the bundle, and the other way round.
pub(super) fn disks(
    document: &Domain,
    index: &BundleIndex,
    sizes: &[Bytes],
    wanted: &PackageImport,
) -> Result<Vec<DiskSpec>> {
    let plugged: Vec<_> = hard_disks(document).map(target).collect();
    let held: Vec<_> = index.disks().iter().map(|disk| disk.target.clone()).collect();
    if plugged != held {
        let message = "the disks in the bundle are not those of its machine; take another copy";
        return Err(Error::new(ErrorKind::Corrupt, message).on(Resource::Field("bundle".into())));
    }
    let new = |size: &Bytes| DiskSpec {
        source: DiskSource::New {
            pool: wanted.pool.clone(),
            name: None,
            size: *size,
            format: wanted.format,
            encrypt: None,
        },
        bus: None,
        cache: None,
        options: DiskOptions::default(),
    };
    Ok(sizes.iter().map(new).collect())
}

/// Puts the new volumes into the document in place of the disks of another host; drives are empty.
pub(super) fn place(document: &mut Domain, disks: &[Disk]) -> Result<()> {
    let mut disks = disks.iter();
    for described in document.devices.iter_mut().flat_map(|devices| &mut devices.disk) {
        if described.source.is_none() {
            continue;
        }
        described.backing_store = None;
        described.source = None;
        if !matches!(described.device, None | Some(xml::DiskDevice::Disk)) {
            described.r#type = Some(xml::DiskType::File);
            continue;
        }
        let Some(disk) = disks.next() else { continue };
        let path = Some(disk.at.host_path()?.as_str().to_owned());
        let (kind, source) = match disk.at.is_device() {
            true => (xml::DiskType::Block, xml::DiskSource { dev: path, ..Default::default() }),
            false => (xml::DiskType::File, xml::DiskSource { file: path, ..Default::default() }),
        };
        described.r#type = Some(kind);
        described.source = Some(source);
        described.driver.get_or_insert_default().r#type = Some(disk.format);
    }
    Ok(())
}

/// The document without what was put into it, for whoever judges what a stranger wrote.
pub(super) fn without_disks(document: &Domain) -> Domain {
    let mut document = document.clone();
    for disk in document.devices.iter_mut().flat_map(|devices| &mut devices.disk) {
        disk.source = None;
    }
    document
}

/// Plugs network devices into the networks that were said for theirs.
pub(super) fn connect(document: &mut Domain, wanted: &PackageImport) {
    for interface in document.devices.iter_mut().flat_map(|devices| &mut devices.interface) {
        let source = interface.source.as_ref();
        let said = source.and_then(|source| source.network.as_deref().or(source.bridge.as_deref())).unwrap_or("user");
        let Some(link) = wanted.mapped(said) else { continue };
        let (kind, source, virtualport) = plugged_into(link);
        *interface = xml::Interface { r#type: Some(kind), source, virtualport, ..std::mem::take(interface) };
    }
}
