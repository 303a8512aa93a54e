//! Records beside a machine: snapshots and checkpoints.

use std::collections::HashMap;

use async_trait::async_trait;
use kvm_core::{
    CheckpointInfo, Checkpoints, Description, ErrorKind, Resource, Result, SnapshotInfo, SnapshotName, Snapshots, VmId,
};
use virt::domain::Domain;
use virt::domain_snapshot::DomainSnapshot;
use virt::sys;

use crate::document::{self, looked_again};
use crate::error::{LibvirtError, optional};
use crate::ffi::checkpoint;
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::task::{Failure, Task};

#[async_trait]
impl Snapshots for Libvirt {
    async fn list(&self, vm: &VmId) -> Result<Vec<SnapshotInfo>> {
        let vm = *vm;
        self.ask("list the snapshots of", vm_resource(&vm), move |task| list(task, &vm)).await
    }

    async fn create(&self, vm: &VmId, name: &SnapshotName, description: Option<&Description>) -> Result<()> {
        let (vm, name) = (*vm, name.clone());
        let request = document::snapshot_request(name.as_str(), description.map(AsRef::as_ref));
        self.work("take", snapshot_resource(&vm.to_string(), &name), move |task| {
            let machine = machine(task, &vm, &name)?;
            let check = || match find(&machine, &name)? {
                Some(_) => Err(task.already_exists().into()),
                None => Ok(()),
            };
            check()?;
            machine
                .domain
                .create_snapshot_xml(&request, 0)
                .map(drop)
                .map_err(|e| looked_again(e, check, |e| not_possible(task, e)))
        })
        .await
    }

    async fn delete(&self, vm: &VmId, name: &SnapshotName) -> Result<()> {
        let (vm, name) = (*vm, name.clone());
        self.work("delete", snapshot_resource(&vm.to_string(), &name), move |task| {
            let machine = machine(task, &vm, &name)?;
            let snapshot = find(&machine, &name)?.ok_or_else(|| task.not_found())?;
            Ok(snapshot.delete(0)?)
        })
        .await
    }
}

#[async_trait]
impl Checkpoints for Libvirt {
    async fn list(&self, vm: &VmId) -> Result<Vec<CheckpointInfo>> {
        let vm = *vm;
        self.ask("list the checkpoints of", vm_resource(&vm), move |task| {
            let records = checkpoint::of_domain(&task.machine(&vm)?.domain)?;
            // Names of checkpoints follow the same rules as those of snapshots.
            Ok(records
                .into_iter()
                .filter_map(|record| {
                    Some(CheckpointInfo {
                        name: speakable(&record.name)?,
                        parent: record.parent.as_deref().and_then(speakable),
                    })
                })
                .collect())
        })
        .await
    }
}

fn snapshot_resource(vm: &str, name: &SnapshotName) -> Resource {
    Resource::Snapshot(format!("{vm}/{}", name.as_str()))
}

/// Looks the machine up; errors after that are about its snapshot again.
fn machine(task: &Task<'_>, vm: &VmId, name: &SnapshotName) -> Result<Machine, Failure> {
    task.about(vm_resource(vm));
    let machine = task.machine(vm)?;
    task.about(snapshot_resource(&machine.domain.name()?, name));
    Ok(machine)
}

fn find(machine: &Machine, name: &SnapshotName) -> Result<Option<DomainSnapshot>, LibvirtError> {
    optional(Domain::lookup_snapshot_by_name(&machine.domain, name.as_str(), 0))
}

/// What libvirt says about a snapshot that a machine's disks or firmware do not allow comes as several numbers.
fn not_possible(task: &Task<'_>, e: LibvirtError) -> Failure {
    let refuses = [sys::VIR_ERR_OPERATION_INVALID, sys::VIR_ERR_OPERATION_UNSUPPORTED, sys::VIR_ERR_CONFIG_UNSUPPORTED];
    if refuses.into_iter().any(|code| e.is(code)) && !task.session().is_lost() {
        let message = format!("the disks or the firmware do not allow {}", task.resource());
        return task.error(ErrorKind::Unsupported, message).with_source(e).into();
    }
    e.into()
}

/// A record whose name nobody may speak is left out.
fn speakable(name: &str) -> Option<SnapshotName> {
    SnapshotName::adopt(name).inspect_err(|e| tracing::warn!(error = %e, "left out a record")).ok()
}

fn list(task: &Task<'_>, vm: &VmId) -> Result<Vec<SnapshotInfo>, Failure> {
    let machine = task.machine(vm)?;
    let mut all = Vec::new();
    for snapshot in machine.domain.list_all_snapshots(0)? {
        // Each may have gone in the meantime.
        if let Some(info) = optional(describe(&snapshot))?.flatten() {
            all.push(info);
        }
    }
    Ok(parents_first(all))
}

fn describe(snapshot: &DomainSnapshot) -> Result<Option<SnapshotInfo>, LibvirtError> {
    let Some(name) = speakable(&snapshot.name()?) else { return Ok(None) };
    // A root's parent is an error of the same kind as a snapshot that is gone.
    let parent = match optional(snapshot.parent(0))? {
        Some(parent) => speakable(&parent.name()?),
        None => None,
    };
    let description = document::snapshot_description(&snapshot.xml_desc(0)?);
    Ok(Some(SnapshotInfo { name, parent, current: snapshot.is_current(0)?, description }))
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
