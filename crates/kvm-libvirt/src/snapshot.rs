//! Snapshots.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{
    AfterRevert, BlockJob, Clock as _, DiskPath, ErrorKind, OpenImages, Quiesce, Remove, Resource, Result, Revert,
    Risk, SnapshotInfo, SnapshotName, SnapshotPlace, SnapshotSpec, Snapshots, SystemClock, VmId,
};
use kvm_xml::{Document as _, Domain, DomainSnapshot};
use virt::domain_snapshot::DomainSnapshot as Handle;
use virt::sys;

use crate::document::{self, looked_again};
use crate::error::{LibvirtError, optional};
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::task::{Failure, Task};

mod stray;

/// libvirt names the overlay of a revert by the second in which it is made, and refuses the name of the one before.
const NEXT_NAME: Duration = Duration::from_millis(1100);

#[async_trait]
impl Snapshots for Libvirt {
    async fn list(&self, vm: &VmId) -> Result<Vec<SnapshotInfo>> {
        let vm = *vm;
        self.ask("list the snapshots of", vm_resource(&vm), move |task| list(task, &vm)).await
    }

    async fn definition(&self, vm: &VmId, name: &SnapshotName) -> Result<DomainSnapshot> {
        let (vm, name) = (*vm, name.clone());
        self.ask("read", resource(&vm.to_string(), &name), move |task| {
            let machine = machine(task, &vm, &name)?;
            let snapshot = find(&machine, &name)?.ok_or_else(|| task.not_found())?;
            document::read(task, &snapshot.xml_desc(0)?)
        })
        .await
    }

    async fn create(&self, vm: &VmId, spec: &SnapshotSpec) -> Result<()> {
        spec.check()?;
        let (vm, spec) = (*vm, spec.clone());
        self.work("take", resource(&vm.to_string(), &spec.name), move |task| {
            let machine = machine(task, &vm, &spec.name)?;
            let current: Domain = document::read(task, &machine.domain.xml_desc(0)?)?;
            let check = || match find(&machine, &spec.name)? {
                Some(_) => Err(task.already_exists().into()),
                None => can_take(task, &machine, &spec, &current),
            };
            check()?;
            let request = spec.document(&current).to_xml();
            machine
                .domain
                .create_snapshot_xml(&request, create_flags(&spec))
                .map(drop)
                .map_err(|e| looked_again(e, check, |e| not_possible(task, e)))
        })
        .await
    }

    async fn revert(&self, vm: &VmId, name: &SnapshotName, how: Revert) -> Result<()> {
        let go_back = || {
            let (vm, name) = (*vm, name.clone());
            self.work("revert to", resource(&vm.to_string(), &name), move |task| {
                let machine = machine(task, &vm, &name)?;
                let snapshot = find(&machine, &name)?.ok_or_else(|| task.not_found())?;
                snapshot.revert(revert_flags(how)).map_err(|e| cannot_go_back(task, e.into()))
            })
        };
        match go_back().await {
            Err(e) if e.kind() == ErrorKind::Unsupported && was_reverted_just_now(self, vm).await => {
                // The second that counts is one of the real clock, whatever clock an engine has.
                SystemClock.sleep(NEXT_NAME).await;
                go_back().await
            }
            result => result,
        }
    }

    async fn delete(&self, vm: &VmId, name: &SnapshotName, what: Remove) -> Result<()> {
        let (vm, name) = (*vm, name.clone());
        self.work("delete", resource(&vm.to_string(), &name), move |task| {
            let machine = machine(task, &vm, &name)?;
            let snapshot = find(&machine, &name)?.ok_or_else(|| task.not_found())?;
            let flags = match what {
                Remove::Everything => 0,
                Remove::Record => sys::VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY,
            };
            snapshot.delete(flags).map_err(|e| not_possible(task, e.into()))
        })
        .await
    }

    async fn open_images(&self, vm: &VmId) -> Result<OpenImages> {
        let vm = *vm;
        self.ask("look at the open images of", vm_resource(&vm), move |task| stray::open_images(task, &vm)).await
    }

    async fn leave_overlay(&self, vm: &VmId, overlay: &DiskPath) -> Result<Option<BlockJob>> {
        let (vm, overlay) = (*vm, overlay.clone());
        self.work("take out of an overlay", vm_resource(&vm), move |task| stray::leave(task, &vm, &overlay)).await
    }
}

fn create_flags(spec: &SnapshotSpec) -> u32 {
    let mut flags = 0;
    if let SnapshotPlace::External { memory, .. } = &spec.place {
        flags |= sys::VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;
        if memory.is_none() {
            flags |= sys::VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY;
        }
    }
    if spec.quiesce == Quiesce::Yes {
        flags |= sys::VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE;
    }
    flags
}

fn revert_flags(how: Revert) -> u32 {
    let then = match how.then {
        AfterRevert::AsItWas => 0,
        AfterRevert::Running => sys::VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING,
        AfterRevert::Paused => sys::VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED,
    };
    let risk = match how.risk {
        Risk::Refuse => 0,
        Risk::Take => sys::VIR_DOMAIN_SNAPSHOT_REVERT_FORCE,
    };
    then | risk
}

/// What has to be so before libvirt is asked, which has no number of its own for it.
fn can_take(task: &Task<'_>, machine: &Machine, spec: &SnapshotSpec, current: &Domain) -> Result<(), Failure> {
    let memory = match &spec.place {
        SnapshotPlace::Internal => return Ok(()),
        SnapshotPlace::External { overlays, memory } => {
            let names: Vec<_> = kvm_core::disks_to_keep(current).map(|(name, _)| name).collect();
            if let Some(overlay) = overlays.iter().find(|overlay| !names.contains(&&overlay.disk)) {
                let message = format!("the VM has no disk {} that a snapshot can keep", overlay.disk);
                return Err(task.error(ErrorKind::NotFound, message).into());
            }
            for path in overlays.iter().map(|overlay| &overlay.path).chain(memory) {
                if is_volume(task, path)? {
                    let message = format!("there is a file {path} already");
                    return Err(task.error(ErrorKind::AlreadyExists, message).into());
                }
            }
            memory
        }
    };
    let needs_guest = memory.is_some() || spec.quiesce == Quiesce::Yes;
    if needs_guest && !machine.domain.is_active()? { Err(task.not_running().into()) } else { Ok(()) }
}

/// Whether a pool knows a file there. What no pool has looked at is for libvirt to find.
fn is_volume(task: &Task<'_>, path: &DiskPath) -> Result<bool, LibvirtError> {
    let found = task.connection().lookup_storage_vol_by_path(path.as_str());
    Ok(optional(found)?.is_some())
}

/// Whether the machine writes to an overlay that a revert made within this second: the name says when.
async fn was_reverted_just_now(libvirt: &Libvirt, vm: &VmId) -> bool {
    use kvm_core::{Hypervisor, View};
    let Ok(document) = Hypervisor::definition(libvirt, vm, View::LIVE).await else { return false };
    let now = SystemClock.now().as_second();
    let made = |file: &str| file.rsplit('.').next().and_then(|end| end.parse::<i64>().ok());
    kvm_core::disks_to_keep(&document)
        .filter_map(|(_, disk)| made(disk.source.as_ref()?.file.as_deref()?))
        .any(|second| (now - 2..=now).contains(&second))
}

fn resource(vm: &str, name: &SnapshotName) -> Resource {
    Resource::Snapshot(format!("{vm}/{}", name.as_str()))
}

/// Looks the machine up; errors after that are about its snapshot again.
fn machine(task: &Task<'_>, vm: &VmId, name: &SnapshotName) -> Result<Machine, Failure> {
    task.about(vm_resource(vm));
    let machine = task.machine(vm)?;
    task.about(resource(&machine.domain.name()?, name));
    Ok(machine)
}

fn find(machine: &Machine, name: &SnapshotName) -> Result<Option<Handle>, LibvirtError> {
    optional(virt::domain::Domain::lookup_snapshot_by_name(&machine.domain, name.as_str(), 0))
}

/// What libvirt says about a snapshot that a machine's disks or firmware do not allow comes as several numbers.
fn not_possible(task: &Task<'_>, e: LibvirtError) -> Failure {
    let refuses = [sys::VIR_ERR_OPERATION_INVALID, sys::VIR_ERR_OPERATION_UNSUPPORTED, sys::VIR_ERR_CONFIG_UNSUPPORTED];
    if refuses.into_iter().any(|code| e.is(code)) && !task.session().is_lost() {
        let message = format!("the disks, the firmware or the other snapshots do not allow {}", task.resource());
        return task.error(ErrorKind::Unsupported, message).with_source(e).into();
    }
    e.into()
}

/// The same for a revert, which fails for more reasons: libvirt has a number for the risk, and none for an image that is
/// not there or that bitmaps watch.
fn cannot_go_back(task: &Task<'_>, e: LibvirtError) -> Failure {
    if task.session().is_lost() {
        return e.into();
    }
    match e.os_error() {
        _ if e.is(sys::VIR_ERR_SNAPSHOT_REVERT_RISKY) => {
            let message = "the guest may not find the same machine after the revert";
            task.error(ErrorKind::InvalidState, message).with_source(e).into()
        }
        Some(libc::ENOENT) => {
            task.error(ErrorKind::InvalidState, "a file of the snapshot is not there").with_source(e).into()
        }
        _ if e.is(sys::VIR_ERR_OPERATION_FAILED) => {
            let message = format!("the images do not allow to revert to {}", task.resource());
            task.error(ErrorKind::Unsupported, message).with_source(e).into()
        }
        _ => not_possible(task, e),
    }
}

fn list(task: &Task<'_>, vm: &VmId) -> Result<Vec<SnapshotInfo>, Failure> {
    let machine = task.machine(vm)?;
    let mut all = Vec::new();
    for snapshot in machine.domain.list_all_snapshots(0)? {
        // Each may have gone in the meantime.
        let read = optional(snapshot.xml_desc(0).and_then(|xml| Ok((xml, snapshot.is_current(0)?))))?;
        let Some((xml, current)) = read else { continue };
        match SnapshotInfo::read(&document::read(task, &xml)?, current) {
            Ok(info) => all.push(info),
            // A record whose name nobody may speak is left out.
            Err(e) => tracing::warn!(error = %e, "left out a record"),
        }
    }
    Ok(parents_first(all))
}

/// Orders by depth, then by name. (Not every driver knows libvirt's flag for it.)
fn parents_first(mut all: Vec<SnapshotInfo>) -> Vec<SnapshotInfo> {
    let parents: HashMap<_, _> = all.iter().map(|s| (s.name.clone(), s.parent.clone())).collect();
    all.sort_by_cached_key(|snapshot| {
        let ancestors = std::iter::successors(snapshot.parent.as_ref(), |name| parents.get(*name)?.as_ref());
        // Records that somebody broke may form a circle.
        (ancestors.take(parents.len()).count(), snapshot.name.clone())
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(records: &[(&str, Option<&str>)]) -> Vec<String> {
        let name = |text: &str| SnapshotName::parse(text).unwrap();
        let record = |&(own, parent): &(&str, Option<&str>)| SnapshotInfo {
            name: name(own),
            parent: parent.map(name),
            current: false,
            description: None,
            created: None,
            state: kvm_core::VmState::Off,
            memory: None,
            memory_file: None,
            disks: Vec::new(),
        };
        let all = records.iter().map(record).collect();
        parents_first(all).into_iter().map(|s| s.name.as_str().to_owned()).collect()
    }

    #[test]
    fn parents_come_before_their_children() {
        let records = [("a", Some("b")), ("b", Some("c")), ("c", None), ("d", Some("c"))];
        assert_eq!(ordered(&records), ["c", "b", "d", "a"]);
    }

    #[test]
    fn records_in_a_circle_or_without_their_parent_are_listed_all_the_same() {
        assert_eq!(ordered(&[("a", Some("b")), ("b", Some("a"))]).len(), 2);
        assert_eq!(ordered(&[("a", Some("gone"))]), ["a"]);
    }
}
