//! Disks: their names, buses and sources.

use super::ProblemKind::{Conflict, Duplicate};
use super::look::{self, Owners, other};
use super::{ProblemKind, Problems};
use crate::domain::{Disk, DiskBus, DiskDevice, DiskType, Domain, Iotune};
use crate::value::DiskName;

pub(super) fn check(domain: &Domain, problems: &mut Problems) {
    let (mut names, mut serials, mut wwns, mut files) = (Owners::new(), Owners::new(), Owners::new(), Owners::new());
    for (position, disk) in domain.disks().iter().enumerate() {
        let path = look::path("disk", disk, position);
        source(disk, &path, problems);
        match disk.target.as_ref().and_then(|target| target.dev.as_ref()) {
            None => problems.missing(format!("{path}.target.dev"), "a disk has a name in the guest, such as vda"),
            Some(name) => {
                target(disk, name, &path, problems);
                if let Some(owner) = names.take(name.as_str(), &path) {
                    let free = domain.free_target(disk.bus().unwrap_or(DiskBus::Virtio));
                    let message = format!("{} has this name; {free} is free", other(&owner, &path, "disk"));
                    problems.error(format!("{path}.target.dev"), Duplicate, message);
                }
            }
        }
        let mut warn = |field: &str, owner: Option<String>, what: &str| {
            if let Some(owner) = owner {
                let message = format!("{} has {what}", other(&owner, &path, "disk"));
                problems.warning(format!("{path}.{field}"), Duplicate, message);
            }
        };
        let serial = disk.serial.as_deref().and_then(|serial| serials.take(serial, &path));
        warn("serial", serial, "this serial number; guests find disks by it, so choose another");
        let wwn = disk.wwn.and_then(|wwn| wwns.take(wwn, &path));
        warn("wwn", wwn, "this name; guests find disks by it, so choose another");
        if !disk.shareable && !disk.readonly {
            let file = disk.source_path().and_then(|file| files.take(file, &path));
            warn("source", file, "this source; one would destroy the other's data, so choose another");
        }
        if let Some(tune) = &disk.iotune {
            limits(tune, &format!("{path}.iotune"), problems);
        }
    }
}

fn target(disk: &Disk, name: &DiskName, path: &str, problems: &mut Problems) {
    let at = format!("{path}.target.dev");
    let bus = disk.bus().unwrap_or(DiskBus::Virtio);
    let is_floppy = disk.device() == DiskDevice::Floppy;
    if name.partition().is_some() && name.number().is_some() {
        return problems.error(at, ProblemKind::Name, "a disk's name has no partition; leave the digits out");
    }
    if name.number().is_none() && disk.address.is_none() {
        let message = format!("libvirt cannot count with it; use a name such as {}", DiskName::nth(bus, 0));
        return problems.error(at, ProblemKind::Name, message);
    }
    match (is_floppy, name.prefix() == "fd", bus == DiskBus::Fdc) {
        (true, false, _) => return problems.error(at, Conflict, "a floppy drive is called fda or fdb; call it so"),
        (true, true, false) => {
            return problems.error(format!("{path}.target.bus"), Conflict, "a floppy drive is on the bus fdc; set it");
        }
        (false, true, _) => {
            let message = format!("only floppy drives are called so; use a name such as {}", DiskName::nth(bus, 0));
            return problems.error(at, Conflict, message);
        }
        (false, false, true) => {
            return problems.error(format!("{path}.target.bus"), Conflict, "only floppy drives are on it; use another");
        }
        _ => {}
    }
    if disk.device() == DiskDevice::Cdrom && bus == DiskBus::Virtio {
        let message = "a CD-ROM drive cannot be on virtio; use sata or scsi and a name such as sda";
        return problems.error(format!("{path}.target.bus"), Conflict, message);
    }
    if name.prefix() != DiskName::nth(bus, 0).prefix() {
        let usual = DiskName::nth(bus, name.number().unwrap_or_default());
        let message = format!("a disk on {bus} is usually called {usual}; the name misleads");
        problems.warning(at, Conflict, message);
    }
}

fn source(disk: &Disk, path: &str, problems: &mut Problems) {
    let r#type = disk.r#type.unwrap_or(DiskType::File);
    if disk.device() == DiskDevice::Lun && !matches!(r#type, DiskType::Block | DiskType::Network | DiskType::Volume) {
        let message = "a LUN is a block device; set the type to block, or the device to disk";
        problems.error(format!("{path}.device"), Conflict, message);
    }
    let has_media = matches!(disk.device(), DiskDevice::Disk | DiskDevice::Lun);
    let source = disk.source.as_ref();
    let missing = match r#type {
        DiskType::Volume => source.is_none_or(|source| source.pool.is_none() || source.volume.is_none()),
        _ if !has_media => false,
        DiskType::File => source.is_none_or(|source| source.file.is_none() && source.fdgroup.is_none()),
        DiskType::Block => source.is_none_or(|source| source.dev.is_none()),
        _ => source.is_none(),
    };
    match r#type {
        // An empty drive may be of any type.
        DiskType::Volume if source.is_none() && !has_media => {}
        DiskType::Volume if missing => {
            problems.missing(format!("{path}.source"), "a volume is named by its pool and its name; give both");
        }
        _ if missing => problems.missing(format!("{path}.source"), format!("a disk of type {type} needs one; name it")),
        _ => {}
    }
}

fn limits(tune: &Iotune, path: &str, problems: &mut Problems) {
    let is_set = |limit: &Option<u64>| limit.is_some_and(|limit| limit > 0);
    let pairs = [
        ("bytes_sec", &tune.total_bytes_sec, [&tune.read_bytes_sec, &tune.write_bytes_sec]),
        ("iops_sec", &tune.total_iops_sec, [&tune.read_iops_sec, &tune.write_iops_sec]),
        ("bytes_sec_max", &tune.total_bytes_sec_max, [&tune.read_bytes_sec_max, &tune.write_bytes_sec_max]),
        ("iops_sec_max", &tune.total_iops_sec_max, [&tune.read_iops_sec_max, &tune.write_iops_sec_max]),
    ];
    for (name, total, parts) in pairs {
        if is_set(total) && parts.into_iter().any(is_set) {
            let message = format!("total_{name} excludes read_{name} and write_{name}; keep one side");
            problems.error(path, Conflict, message);
        }
    }
}
