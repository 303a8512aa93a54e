//! Machines out.

use std::path::Path;

use kvm_core::op::{LockKey, Plan, PlanLine};
use kvm_core::{
    DiskPath, Error, ErrorKind, Host, PoolName, Resource, Result, Secrets, View, VmSummary, VolumeInfo, VolumeName,
};
use kvm_image::Format;
use kvm_xml::Domain;
use kvm_xml::domain as xml;

use super::{PackageExport, PackageForm};
use crate::place::volume_name;
use crate::spec::VolumeRef;
use crate::step::{PackedDisk, PublishFile, WritePackage};
use crate::volume::{content, local};

/// Plans to write a machine, which is off, with its disks into one file.
///
/// Disks are read as they are on the host, with everything that they lie upon, and written complete by themselves. What no
/// package holds is listed: devices of the host, media in drives, and what a guest keeps in its firmware or its TPM.
///
/// `InvalidState` when the machine is not off; `AlreadyExists` when there is such a file; `Unsupported` when a disk is no
/// volume of a pool, is reached over the network, or its format is not written in the document.
pub async fn plan_package_export(host: &Host, vm: &VmSummary, wanted: &PackageExport) -> Result<Plan> {
    let host_info = host.hypervisor.capabilities().await?;
    content(host)?;
    refuse_used(vm)?;
    let shown = wanted.file.display().to_string();
    let partial = beside(&wanted.file, "partial")?;
    if local::exists(&wanted.file).await? {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a file {shown} already"))
            .on(Resource::File(shown))
            .during("export"));
    }
    let view = View { secrets: wanted.secrets, ..View::CONFIG };
    let document = host.hypervisor.definition(&vm.id, view).await?;
    let (mut lines, mut disks) = (Vec::new(), Vec::new());
    for disk in hard_disks(&document) {
        let (target, format) = (target(disk), known_format(disk)?);
        let volume = volume_of(host, disk).await?;
        let note = format!("{}, {format}", volume.capacity);
        lines.push(PlanLine::new("read", "volume", volume_name(&volume)).note(note));
        disks.push(PackedDisk { target, volume: VolumeRef { pool: volume.pool, volume: volume.name }, format });
    }
    lines.push(PlanLine::new("write", wanted.form.as_str(), &*shown));
    lines.extend(left_out(&document, wanted.form));
    let step = WritePackage {
        id: vm.id,
        name: vm.name.clone(),
        form: wanted.form,
        partial: partial.clone(),
        scratch: beside(&wanted.file, "disk.partial")?,
        shows_secrets: wanted.secrets == Secrets::Show,
        disks,
    };
    let publish = PublishFile { partial, file: wanted.file.clone(), replace: false };
    Ok(Plan {
        kind: "vm.export",
        title: format!("export {} on {}", vm.name, host_info.target),
        target: host_info.target.clone(),
        locks: vec![LockKey { host: host_info.host_key(), vm: vm.id }],
        lines,
        steps: vec![Box::new(step), Box::new(publish)],
        reversible: 2,
    })
}

/// A hidden file beside another one, which nobody takes for it.
fn beside(file: &Path, ending: &str) -> Result<std::path::PathBuf> {
    match file.file_name() {
        Some(name) => Ok(file.with_file_name(format!(".{}.{ending}", name.to_string_lossy()))),
        None => Err(Error::invalid("file", format!("{} names no file", file.display()))),
    }
}

/// `InvalidState` unless a machine is off, so that its disks stay as they are.
pub(crate) fn refuse_used(vm: &VmSummary) -> Result<()> {
    let state = match (vm.state.is_active(), vm.has_saved_state) {
        (false, false) => return Ok(()),
        (true, _) => vm.state.to_string(),
        (false, true) => "saved".to_owned(),
    };
    Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {state}; its disks would change on the way", vm.name))
        .on(Resource::Vm(vm.name.as_str().to_owned()))
        .with_detail("shut it down first"))
}

/// The disks that hold something: no drives, and nothing that is empty.
pub(crate) fn hard_disks(document: &Domain) -> impl Iterator<Item = &xml::Disk> {
    let disks = document.devices.iter().flat_map(|devices| &devices.disk);
    disks.filter(|disk| matches!(disk.device, None | Some(xml::DiskDevice::Disk)) && disk.source.is_some())
}

/// The name under which a disk is plugged in.
pub(crate) fn target(disk: &xml::Disk) -> String {
    disk.target.as_ref().and_then(|target| target.dev.as_ref()).map(ToString::to_string).unwrap_or_default()
}

/// What the document says, since the header of a disk is its guest's to write.
fn known_format(disk: &xml::Disk) -> Result<Format> {
    let said = disk.driver.as_ref().and_then(|driver| driver.r#type);
    match said {
        Some(xml::DiskFormat::Raw) => Ok(Format::Raw),
        Some(xml::DiskFormat::Qcow2) => Ok(Format::Qcow2),
        _ => {
            let target = target(disk);
            Err(Error::new(ErrorKind::Unsupported, format!("disk {target} is neither raw nor qcow2 by its document"))
                .on(Resource::Field("format".into()))
                .with_detail("convert it first, or write its format into the document"))
        }
    }
}

async fn volume_of(host: &Host, disk: &xml::Disk) -> Result<VolumeInfo> {
    let missing = || {
        Error::new(ErrorKind::Unsupported, format!("disk {} is no volume of an active pool", target(disk)))
            .on(Resource::Field("disk".into()))
            .with_detail("only volumes can be read; make a pool of the directory that it is in")
    };
    let source = disk.source.as_ref().ok_or_else(missing)?;
    if let (Some(pool), Some(volume)) = (&source.pool, &source.volume) {
        let found = host.storage.find_volume(&PoolName::adopt(pool)?, &VolumeName::adopt(volume)?).await?;
        found.host_path()?;
        return Ok(found);
    }
    let path = source.file.as_deref().or(source.dev.as_deref()).ok_or_else(missing)?;
    match host.storage.volume_at(&DiskPath::adopt(path)?).await {
        Err(e) if e.kind() == ErrorKind::NotFound => Err(missing().with_source(e)),
        found => found,
    }
}

/// What the package does not hold, a line for each.
fn left_out(document: &Domain, form: PackageForm) -> Vec<PlanLine> {
    let Some(devices) = &document.devices else { return Vec::new() };
    let line = |kind: &str, name: &str, why: &str| PlanLine::new("leave out", kind, name).note(why);
    let mut lines = Vec::new();
    let drives = devices.disk.iter().filter(|disk| disk.source.is_some());
    for drive in drives.filter(|disk| matches!(disk.device, Some(xml::DiskDevice::Cdrom | xml::DiskDevice::Floppy))) {
        lines.push(line("medium", &target(drive), "packages have hard disks only"));
    }
    if document.os.as_ref().is_some_and(|os| os.firmware.is_some() || os.nvram.is_some()) {
        lines.push(line("nvram", "UEFI variables", "the firmware finds what to boot by itself again"));
    }
    if !devices.tpm.is_empty() {
        lines.push(line("tpm", "state of the TPM", "keys that a guest has sealed with it are lost in the copy"));
    }
    let of_host = [(devices.hostdev.len(), "hostdev"), (devices.filesystem.len(), "filesystem")];
    if form == PackageForm::Ova {
        for (count, kind) in of_host.into_iter().filter(|(count, _)| *count > 0) {
            lines.push(line(kind, &count.to_string(), "no other host has it"));
        }
    }
    lines
}
