//! Devices that come and go, and how much a machine gets: what the cases about that share.

use kvm_core::{Device, DeviceRef, Devices, Error, Existing, PowerAction, View, VmId, VolumeInfo};
use kvm_xml::Domain;
use kvm_xml::domain::{Disk, Vcpu};
use kvm_xml::value::{CpuSet, DiskName};

use crate::case::Failure;
use crate::cx::{Cx, qcow2_disk};

pub(super) mod attach;
pub(super) mod kind;
pub(super) mod resource;
pub(super) mod screen;

const DISK_BYTES: u64 = 8 << 20;

pub(super) fn facet(cx: &Cx) -> kvm_core::Result<&dyn Devices> {
    cx.family("devices", cx.hypervisor().devices())
}

/// A machine that is off, with a disk, and a volume beside it that nobody uses.
async fn off_with_spare(cx: &Cx) -> kvm_core::Result<(VmId, VolumeInfo)> {
    let (id, disk) = cx.with_disk("a").await?;
    let spare = cx.thin_volume(&disk.pool, "spare.qcow2", DISK_BYTES).await?;
    Ok((id, spare))
}

async fn running_with_spare(cx: &Cx) -> kvm_core::Result<(VmId, VolumeInfo)> {
    let (id, spare) = off_with_spare(cx).await?;
    cx.power(&id, PowerAction::Start).await?;
    Ok((id, spare))
}

/// A machine that is off, with one of two virtual CPUs plugged in.
pub(super) async fn with_two_vcpus(cx: &Cx) -> kvm_core::Result<VmId> {
    let mut document = cx.document("a")?;
    document.vcpu = Some(Vcpu { current: Some(1), value: Some(2), ..Vcpu::default() });
    cx.hypervisor().define(&document, Existing::Reject).await
}

pub(super) async fn document(cx: &Cx, id: &VmId, view: View) -> kvm_core::Result<Domain> {
    cx.hypervisor().definition(id, view).await
}

/// The targets of the disks, sorted.
async fn targets(cx: &Cx, id: &VmId, view: View) -> kvm_core::Result<Vec<String>> {
    let document = document(cx, id, view).await?;
    let disks = document.devices.iter().flat_map(|devices| &devices.disk);
    let name = |disk: &Disk| Some(disk.target.as_ref()?.dev.as_ref()?.as_str().to_owned());
    let mut targets: Vec<_> = disks.filter_map(name).collect();
    targets.sort();
    Ok(targets)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// The file behind a disk.
async fn image(cx: &Cx, id: &VmId, view: View, target: &str) -> kvm_core::Result<Option<String>> {
    let found = disk_ref(target)?.find(&document(cx, id, view).await?);
    let Some(Device::Disk(disk)) = found else { return Err(Error::internal(format!("there is no disk {target}"))) };
    Ok(disk.source.and_then(|source| source.file))
}

fn disk_name(name: &str) -> kvm_core::Result<DiskName> {
    name.parse().map_err(|e: kvm_xml::XmlError| Error::internal("no disk name").with_source(e))
}

fn disk_ref(name: &str) -> kvm_core::Result<DeviceRef> {
    disk_name(name).map(DeviceRef::Disk)
}

fn disk(volume: &VolumeInfo, target: &str) -> kvm_core::Result<Device> {
    Ok(Device::Disk(Box::new(qcow2_disk(volume.host_path()?.as_str(), target)?)))
}

pub(super) fn cpus(text: &str) -> Result<CpuSet, Failure> {
    Ok(text.parse::<CpuSet>()?)
}
