//! Disks: where they lie, what is below them, what they are called, what is in a drive.

use super::draft::{Draft, File};
use super::facts::{Content, Location};
use super::policy::{Chain, Files, Media, Serial};
use super::told::{How, Reason, Refusal, RewriteError, Warning};
use crate::compare::unknown_value;
use crate::diff::item_path;
use crate::domain::{BackingStore, Disk, DiskDevice, DiskFormat, DiskSource, DiskType, ImageFormat};
use crate::element::Element;
use crate::value::Wwn;

/// What has to be done about a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    /// A drive, or a disk without a source.
    Drive,
    /// A device of the host, see the rules for those.
    HostDevice,
    /// Used by several machines, or only read: not copied.
    Shared,
    /// On a server.
    Network,
    /// The machine's own.
    Own(Location),
}

pub(super) fn is_host_device(disk: &Disk) -> bool {
    matches!(disk.r#type, Some(DiskType::Nvme | DiskType::Vhostvdpa | DiskType::Vhostuser))
}

pub(super) fn is_removable(disk: &Disk) -> bool {
    matches!(disk.device(), DiskDevice::Cdrom | DiskDevice::Floppy)
}

fn role(disk: &Disk, path: &str) -> Result<Role, RewriteError> {
    let unknown = |field: &str, value: &str| {
        let problem = format!("'{value}' is not known, so neither is where the data lie");
        Err(RewriteError::new(
            Refusal::Unknown,
            format!("{path}.{field}"),
            problem,
            "take the disk out, or keep all disks as they are",
        ))
    };
    for key in ["device", "type"] {
        if let Some(value) = disk.shape().position(key).and_then(|index| unknown_value(disk, index)) {
            return unknown(key, value);
        }
    }
    let kind = disk.r#type.unwrap_or(DiskType::File);
    Ok(match &disk.source {
        _ if is_host_device(disk) => Role::HostDevice,
        _ if is_removable(disk) => Role::Drive,
        None => Role::Drive,
        Some(_) if disk.readonly || disk.shareable || kind == DiskType::Dir => Role::Shared,
        Some(_) if kind == DiskType::Network => Role::Network,
        Some(source) => Location::of(kind, source).map_or(Role::Drive, Role::Own),
    })
}

pub(super) fn disks(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    if draft.policy.disks == Files::Keep {
        return Ok(());
    }
    let mut own = Vec::new();
    for (index, disk) in draft.source.disks().iter().enumerate() {
        let path = item_path("devices.disk", disk, index);
        match role(disk, &path)? {
            Role::Drive | Role::HostDevice => {}
            Role::Shared => reach(draft, disk.source.as_ref(), &path, "make it reachable there, or take the disk out")?,
            Role::Network => network(draft, disk, &path)?,
            Role::Own(location) => own.push((index, path, location)),
        }
    }
    match draft.policy.chain {
        Chain::Flatten => flatten(draft, &own),
        Chain::Overlay => overlay(draft, &own)?,
        Chain::Keep => below(draft, &own)?,
    }
    let how = match draft.policy.chain {
        Chain::Flatten => How::Flattened,
        Chain::Overlay => How::Overlay,
        Chain::Keep => How::AsIs,
    };
    for (index, path, from) in &own {
        let path = format!("{path}.source");
        let to = draft.place(&File { content: Content::Disk, path: &path, from, files: draft.policy.disks, how })?;
        let disk = &mut draft.domain.devices_mut().disk[*index];
        to.put(&mut disk.r#type, disk.source.get_or_insert_default());
    }
    draft.record(Reason::Placed);
    nvdimms(draft)
}

fn reach(draft: &Draft<'_, '_>, source: Option<&DiskSource>, path: &str, fix: &str) -> Result<(), RewriteError> {
    match source {
        Some(source) if !(draft.facts.reaches)(source) => {
            let problem = format!("the target does not reach {}", describe(source));
            Err(RewriteError::new(Refusal::Unreachable, format!("{path}.source"), problem, fix))
        }
        _ => Ok(()),
    }
}

fn network(draft: &Draft<'_, '_>, disk: &Disk, path: &str) -> Result<(), RewriteError> {
    reach(draft, disk.source.as_ref(), path, "give the target access to the server; disks on servers are not copied")?;
    if draft.policy.makes_another_machine() {
        let problem = "two machines would write to one disk on a server";
        let fix = "copy it with the tools of the server, or mark it readonly or shareable";
        return Err(RewriteError::new(Refusal::TwoWriters, format!("{path}.source"), problem, fix));
    }
    Ok(())
}

fn flatten(draft: &mut Draft<'_, '_>, own: &[(usize, String, Location)]) {
    for (index, ..) in own {
        let disk = &mut draft.domain.devices_mut().disk[*index];
        disk.backing_store = None;
        if let Some(source) = &mut disk.source {
            source.data_store = None;
        }
    }
    draft.record(Reason::Flattened);
}

fn overlay(draft: &mut Draft<'_, '_>, own: &[(usize, String, Location)]) -> Result<(), RewriteError> {
    for (index, path, _) in own {
        reach(draft, draft.source.disks()[*index].source.as_ref(), path, "copy the disk in full")?;
        let disk = &mut draft.domain.devices_mut().disk[*index];
        let Some(source) = &mut disk.source else { continue };
        if disk.encryption.is_some() || source.encryption.is_some() {
            let problem = "an encrypted disk cannot lie below another one that is not";
            return Err(RewriteError::new(Refusal::Unsupported, format!("{path}.source"), problem, "copy it in full"));
        }
        let driver = disk.driver.get_or_insert_default();
        let base = BackingStore {
            r#type: Some(disk.r#type.unwrap_or(DiskType::File)),
            format: Some(ImageFormat { r#type: driver.r#type.or(Some(DiskFormat::Raw)), ..Default::default() }),
            source: Some(std::mem::take(source)),
            backing_store: disk.backing_store.take(),
            ..Default::default()
        };
        disk.backing_store = Some(Box::new(base));
        driver.r#type = Some(DiskFormat::Qcow2);
    }
    draft.record(Reason::Overlay);
    Ok(())
}

/// Places the images below and beside, each under its own name.
fn below(draft: &mut Draft<'_, '_>, own: &[(usize, String, Location)]) -> Result<(), RewriteError> {
    for (index, path, _) in own {
        // Out of the draft, as finding a place needs the whole of it.
        let mut disk = std::mem::take(&mut draft.domain.devices_mut().disk[*index]);
        let placed = place_data(draft, disk.source.as_mut(), path)
            .and_then(|()| place_chain(draft, disk.backing_store.as_deref_mut(), path));
        draft.domain.devices_mut().disk[*index] = disk;
        placed?;
    }
    draft.record(Reason::Placed);
    Ok(())
}

fn place_chain(
    draft: &mut Draft<'_, '_>,
    mut image: Option<&mut BackingStore>,
    path: &str,
) -> Result<(), RewriteError> {
    let mut path = path.to_owned();
    while let Some(BackingStore { r#type, source, backing_store, .. }) = image {
        path.push_str(".backing_store");
        place_data(draft, source.as_mut(), &path)?;
        place_image(draft, Content::Backing, r#type, source.as_mut(), &path)?;
        image = backing_store.as_deref_mut();
    }
    Ok(())
}

/// The file in which a qcow2 image keeps its data.
fn place_data(draft: &mut Draft<'_, '_>, source: Option<&mut DiskSource>, path: &str) -> Result<(), RewriteError> {
    let Some(store) = source.and_then(|source| source.data_store.as_deref_mut()) else { return Ok(()) };
    let path = format!("{path}.source.data_store");
    place_image(draft, Content::DataStore, &mut store.r#type, store.source.as_deref_mut(), &path)
}

fn place_image(
    draft: &mut Draft<'_, '_>,
    content: Content,
    kind: &mut Option<DiskType>,
    source: Option<&mut DiskSource>,
    path: &str,
) -> Result<(), RewriteError> {
    let Some(source) = source else { return Ok(()) };
    let Some(from) = Location::of(kind.unwrap_or(DiskType::File), source) else {
        return reach(draft, Some(source), path, "flatten the disk");
    };
    let (path, files) = (format!("{path}.source"), draft.policy.disks);
    let to = draft.place(&File { content, path: &path, from: &from, files, how: How::AsIs })?;
    to.put(kind, source);
    Ok(())
}

/// Memory modules that keep their content in a file.
fn nvdimms(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    let modules = draft.source.devices.as_ref().map_or(&[][..], |devices| &devices.memory);
    for (index, module) in modules.iter().enumerate() {
        let Some(file) = module.source.as_ref().and_then(|source| source.path.clone()) else { continue };
        let from = if file.starts_with("/dev/") { Location::Block(file) } else { Location::File(file) };
        let path = format!("{}.source", item_path("devices.memory", module, index));
        let files = draft.policy.disks;
        let to = draft.place(&File { content: Content::Nvdimm, path: &path, from: &from, files, how: How::AsIs })?;
        let (Location::File(file) | Location::Block(file)) = to else {
            let problem = "an NVDIMM cannot lie in a pool";
            return Err(RewriteError::new(Refusal::Facts, path, problem, "give a path"));
        };
        if let Some(source) = &mut draft.domain.devices_mut().memory[index].source {
            source.path = Some(file);
        }
    }
    draft.record(Reason::Placed);
    Ok(())
}

pub(super) fn serials(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    if draft.policy.serial == Serial::Keep {
        return Ok(());
    }
    for index in 0..draft.source.disks().len() {
        let disk = &mut draft.domain.devices_mut().disk[index];
        let shared = disk.readonly || disk.shareable || is_removable(disk);
        if shared || (disk.serial.is_none() && disk.wwn.is_none()) {
            continue;
        }
        let path = item_path("devices.disk", disk, index);
        let (serial, wwn) = match (draft.policy.serial, draft.facts.uuid) {
            (Serial::New, Some(uuid)) => derived(uuid.as_u128(), disk.target_name().unwrap_or_default()),
            (Serial::New, None) => {
                let problem = "a new serial number is made of the new uuid, and there is none";
                return Err(RewriteError::new(
                    Refusal::Facts,
                    format!("{path}.serial"),
                    problem,
                    "give a uuid, or drop the serial number",
                ));
            }
            (Serial::Keep | Serial::Drop, _) => (None, None),
        };
        disk.serial = disk.serial.take().and(serial);
        disk.wwn = disk.wwn.take().and(wwn);
        draft.warnings.push(Warning::DiskSerial { path });
    }
    draft.record(Reason::Identity);
    Ok(())
}

/// A serial number of the 20 characters that virtio carries, and a world wide name of the kind that anyone may assign.
fn derived(uuid: u128, target: &str) -> (Option<String>, Option<Wwn>) {
    const LONGEST: usize = 20;
    let hex = format!("{uuid:032x}");
    let room = LONGEST.saturating_sub(target.len() + 1).max(8);
    let serial = format!("{}-{target}", &hex[..room]);
    // FNV-1a, so that the disks of one machine differ.
    let hash = target
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let bits = (uuid as u64) ^ ((uuid >> 64) as u64) ^ hash;
    (Some(serial), Some(Wwn(0x3 << 60 | bits >> 4)))
}

pub(super) fn media(draft: &mut Draft<'_, '_>) {
    if draft.policy.media == Media::Keep {
        return;
    }
    let devices = draft.domain.devices.iter_mut();
    for (index, disk) in devices.flat_map(|devices| &mut devices.disk).enumerate() {
        let Some(source) = disk.source.as_ref().filter(|_| is_removable(disk) && !is_host_device(disk)) else {
            continue;
        };
        let asked = draft.policy.media == Media::Eject;
        if !asked && (draft.facts.reaches)(source) {
            continue;
        }
        let path = item_path("devices.disk", disk, index);
        draft.warnings.push(Warning::Ejected { path, medium: describe(source) });
        // An empty drive is one of type file; the others need a source.
        if disk.r#type.is_some_and(|kind| kind != DiskType::File && kind != DiskType::Block) {
            disk.r#type = Some(DiskType::File);
        }
        (disk.source, disk.backing_store, disk.auth, disk.encryption) = (None, None, None, None);
    }
    draft.record(Reason::Ejected);
}

/// A source in a few words.
pub(super) fn describe(source: &DiskSource) -> String {
    let path = [&source.file, &source.dev, &source.dir, &source.path].into_iter().flatten().next();
    match (path, source.protocol, &source.pool) {
        (Some(path), _, _) => path.clone(),
        (None, Some(protocol), _) => format!("{protocol}:{}", source.name.as_deref().unwrap_or_default()),
        (None, None, Some(pool)) => format!("{pool}/{}", source.volume.as_deref().unwrap_or_default()),
        (None, None, None) => "its source".to_owned(),
    }
}
