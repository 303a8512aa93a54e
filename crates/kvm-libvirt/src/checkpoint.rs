//! Checkpoints.

use async_trait::async_trait;
use kvm_core::{
    Bytes, CheckpointInfo, CheckpointSpec, Checkpoints, DiskChange, ErrorKind, Remove, Resource, Result, SnapshotName,
    VmId,
};
use kvm_xml::value::DiskName;
use kvm_xml::{Document as _, Domain, DomainCheckpoint};
use virt::sys;

use crate::document::{self, looked_again};
use crate::error::{LibvirtError, optional};
use crate::ffi::checkpoint::{Checkpoint, of_domain};
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::task::{Failure, Task};

#[async_trait]
impl Checkpoints for Libvirt {
    async fn list(&self, vm: &VmId) -> Result<Vec<CheckpointInfo>> {
        let vm = *vm;
        self.ask("list the checkpoints of", vm_resource(&vm), move |task| {
            let mut all = Vec::new();
            for xml in of_domain(&task.machine(&vm)?.domain)? {
                let document: DomainCheckpoint = document::read(task, &xml)?;
                match CheckpointInfo::read(&document) {
                    Ok(info) => all.push(info),
                    Err(e) => tracing::warn!(error = %e, "left out a record"),
                }
            }
            Ok(all)
        })
        .await
    }

    async fn create(&self, vm: &VmId, spec: &CheckpointSpec) -> Result<()> {
        let (vm, spec) = (*vm, spec.clone());
        self.work("make", resource(&vm.to_string(), &spec.name), move |task| {
            let machine = machine(task, &vm, &spec.name)?;
            let check = || match find(&machine, &spec.name)? {
                Some(_) => Err(task.already_exists().into()),
                None => Ok(()),
            };
            check()?;
            if !machine.domain.is_active()? {
                return Err(off(task).into());
            }
            let current: Domain = document::read(task, &machine.domain.xml_desc(0)?)?;
            let disks = watchable(&current);
            if disks.is_empty() {
                let message = "the VM has no disk that can remember what is written: only qcow2 can";
                return Err(task.error(ErrorKind::Unsupported, message).into());
            }
            let request = spec.document(disks).to_xml();
            Checkpoint::create(&machine.domain, &request, 0)
                .map(drop)
                .map_err(|e| looked_again(e, check, |e| not_possible(task, e)))
        })
        .await
    }

    async fn delete(&self, vm: &VmId, name: &SnapshotName, what: Remove) -> Result<()> {
        let (vm, name) = (*vm, name.clone());
        self.work("delete", resource(&vm.to_string(), &name), move |task| {
            let machine = machine(task, &vm, &name)?;
            let found = find(&machine, &name)?.ok_or_else(|| task.not_found())?;
            let flags = match what {
                Remove::Everything => 0,
                Remove::Record => sys::VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY,
            };
            if what == Remove::Everything && !machine.domain.is_active()? {
                return Err(off(task).into());
            }
            Ok(found.delete(flags)?)
        })
        .await
    }

    async fn changes(&self, vm: &VmId, name: &SnapshotName) -> Result<Vec<DiskChange>> {
        let (vm, name) = (*vm, name.clone());
        self.work("measure", resource(&vm.to_string(), &name), move |task| {
            let machine = machine(task, &vm, &name)?;
            let found = find(&machine, &name)?.ok_or_else(|| task.not_found())?;
            if !machine.domain.is_active()? {
                return Err(off(task).into());
            }
            let xml = found.document(sys::VIR_DOMAIN_CHECKPOINT_XML_SIZE).map_err(|e| not_possible(task, e))?;
            let document: DomainCheckpoint = document::read(task, &xml)?;
            let change = |disk: kvm_xml::checkpoint::CheckpointDisk| {
                Some(DiskChange { disk: disk.name?.parse().ok()?, changed: Bytes::new(disk.size?) })
            };
            Ok(document.disks.unwrap_or_default().disk.into_iter().filter_map(change).collect())
        })
        .await
    }
}

/// The disks that can remember: the others would make libvirt refuse the whole.
fn watchable(machine: &Domain) -> Vec<DiskName> {
    use kvm_xml::domain::DiskFormat;
    let is_qcow2 =
        |disk: &kvm_xml::domain::Disk| disk.driver.as_ref().and_then(|driver| driver.r#type) == Some(DiskFormat::Qcow2);
    kvm_core::disks_to_keep(machine).filter(|(_, disk)| is_qcow2(disk)).map(|(name, _)| name.clone()).collect()
}

fn off(task: &Task<'_>) -> kvm_core::Error {
    task.error(
        ErrorKind::InvalidState,
        format!("{} needs a running VM: its images are only then told", task.resource()),
    )
}

fn resource(vm: &str, name: &SnapshotName) -> Resource {
    Resource::Checkpoint(format!("{vm}/{}", name.as_str()))
}

/// Looks the machine up; errors after that are about its checkpoint again.
fn machine(task: &Task<'_>, vm: &VmId, name: &SnapshotName) -> Result<Machine, Failure> {
    task.about(vm_resource(vm));
    let machine = task.machine(vm)?;
    task.about(resource(&machine.domain.name()?, name));
    Ok(machine)
}

fn find(machine: &Machine, name: &SnapshotName) -> Result<Option<Checkpoint>, LibvirtError> {
    optional(Checkpoint::find(&machine.domain, name.as_str()))
}

/// What libvirt says about images that cannot remember comes as several numbers.
fn not_possible(task: &Task<'_>, e: LibvirtError) -> Failure {
    let refuses = [
        sys::VIR_ERR_OPERATION_INVALID,
        sys::VIR_ERR_OPERATION_UNSUPPORTED,
        sys::VIR_ERR_CONFIG_UNSUPPORTED,
        sys::VIR_ERR_INVALID_ARG,
    ];
    if refuses.into_iter().any(|code| e.is(code)) && !task.session().is_lost() {
        let message = format!("the disks or the driver do not allow {}", task.resource());
        return task.error(ErrorKind::Unsupported, message).with_source(e).into();
    }
    e.into()
}
