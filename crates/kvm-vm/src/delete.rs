//! Deleting machines: what goes, what stays, and why.

use std::collections::BTreeSet;

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{DiskPath, Error, ErrorKind, Host, Resource, Result, View, VmNotes, VmSummary, VolumeInfo};

use crate::chain::{DiskGraph, disk_graph};
use crate::copying::check_not_copied;
use crate::step::{DeleteVolume, PowerOff, Undefine, refuse_protected};

mod image;

use image::{Image, Kept, images};

/// Why a volume stays that the host reaches over the network: it is another machine's, and no host deletes such ones.
pub(crate) const ON_THE_NETWORK: &str = "reached over the network";

/// How a machine is deleted; the default deletes nothing but the machine itself, and only when it is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// What becomes of its volumes.
    pub volumes: Volumes,
    /// What happens when it runs.
    pub running: Running,
}

/// What becomes of a deleted machine's volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Volumes {
    /// They stay.
    #[default]
    Keep,
    /// Those that nobody else uses are deleted.
    Delete,
}

/// What happens to a machine that runs when it is to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Running {
    /// It is not deleted.
    #[default]
    Refuse,
    /// It is switched off first.
    PowerOff,
}

/// Plans the end of a machine.
///
/// With the definition go saved state, snapshot and checkpoint records, UEFI variables and TPM state. A volume goes
/// only when that is asked for and nothing else on the host uses it: no other machine's document, stored or live,
/// mentions it under any of its names, and no volume is an overlay of it. What is reached over the network, read-only
/// disks, CD-ROMs, backing files and what lies in no active pool stay. Each volume is looked at once more right before
/// it goes.
///
/// There is no way back: the first step is the point of no return.
///
/// `InvalidState` when the machine is protected, or runs and that was to be refused; `Busy` while it is copied; `NotFound`.
pub async fn plan_delete(host: &Host, vm: &VmSummary, options: &DeleteOptions) -> Result<Plan> {
    let host_info = host.hypervisor.capabilities().await?;
    let config = host.hypervisor.definition(&vm.id, View::CONFIG).await?;
    refuse_protected(&vm.name, &VmNotes::of(&config))?;
    check_not_copied(host, vm).await?;
    let is_running = vm.state.is_active();
    if is_running && options.running == Running::Refuse {
        return Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {}", vm.name, vm.state))
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail("shut it down first, or have it switched off"));
    }
    let mut documents = vec![config];
    if is_running {
        documents.push(host.hypervisor.definition(&vm.id, View::LIVE).await?);
    }
    let usage = disk_graph(host).await?;

    let mut lines = Vec::new();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    if is_running {
        lines.push(PlanLine::new("power off", "domain", vm.name.as_str()));
        steps.push(Box::new(PowerOff { id: vm.id, name: vm.name.clone() }));
    }
    lines.push(PlanLine::new("remove", "domain", vm.name.as_str()).note(records(host, vm, &documents).await?));
    // One that is not stored is gone with its process.
    if vm.persistent {
        steps.push(Box::new(Undefine { id: vm.id, name: vm.name.clone() }));
    }
    for image in images(&usage, &documents) {
        match verdict(&image, vm, options, &usage) {
            Verdict::Delete(volume) => {
                lines.push(image.line("remove", &format!("{} on disk", volume.allocation)));
                steps.push(Box::new(delete_with(volume, vm)));
                if let Some((line, step)) = crate::secret::forget(host, volume).await? {
                    lines.push(line);
                    steps.push(Box::new(step));
                }
            }
            Verdict::Keep(why) => lines.push(image.line("keep", &why)),
        }
    }
    if options.volumes == Volumes::Delete {
        lines.extend(usage.inactive().iter().map(|pool| {
            PlanLine::new("unknown", "pool", pool.name.as_str())
                .note("not active: nobody sees what in it uses these volumes")
        }));
    }
    Ok(Plan {
        kind: "vm.delete",
        title: format!("delete {} on {}", vm.name, host_info.target),
        target: host_info.target.clone(),
        locks: vec![LockKey { host: host_info.host_key(), vm: vm.id }],
        lines,
        steps,
        reversible: 0,
    })
}

/// What goes of a machine's images when the machine itself goes to another host, for a plan in which the definition goes
/// first: of those that were copied, the ones that nobody else uses. The lines tell what stays, and why.
///
/// Each is looked at once more right before it goes, and stays when somebody uses it by then.
pub async fn plan_images_left(
    host: &Host,
    vm: &VmSummary,
    copied: &BTreeSet<DiskPath>,
) -> Result<(Vec<PlanLine>, Vec<Box<dyn Step>>)> {
    let documents = [host.hypervisor.definition(&vm.id, View::CONFIG).await?];
    let usage = disk_graph(host).await?;
    let options = DeleteOptions { volumes: Volumes::Delete, ..DeleteOptions::default() };
    let mut lines = Vec::new();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    for image in images(&usage, &documents) {
        match verdict(&image, vm, &options, &usage) {
            Verdict::Delete(volume) if volume.path.as_ref().is_some_and(|path| copied.contains(path)) => {
                lines.push(image.line("remove", &format!("{} on disk", volume.allocation)));
                steps.push(Box::new(delete_with(volume, vm)));
            }
            Verdict::Delete(_) => lines.push(image.line("keep", "not copied")),
            Verdict::Keep(why) => lines.push(image.line("keep", &why)),
        }
    }
    Ok((lines, steps))
}

fn delete_with(volume: &VolumeInfo, vm: &VmSummary) -> DeleteVolume {
    DeleteVolume {
        pool: volume.pool.clone(),
        volume: volume.name.clone(),
        path: volume.path.clone(),
        size: volume.capacity,
        vm: Some(vm.id),
    }
}

enum Verdict<'a> {
    Delete(&'a VolumeInfo),
    Keep(String),
}

fn verdict<'a>(image: &'a Image, vm: &VmSummary, options: &DeleteOptions, usage: &DiskGraph) -> Verdict<'a> {
    let users = usage.users(&image.name, Some(&vm.id)).objection();
    let with_users = |why: String| match &users {
        Some(users) => format!("{why}, also {users}"),
        None => why,
    };
    match (&image.kept, &image.volume) {
        (Some(Kept::Below), _) => Verdict::Keep(users.unwrap_or_else(|| "backing file".into())),
        (Some(Kept::Fixed(why)), _) => Verdict::Keep(with_users((*why).to_owned())),
        (None, None) => Verdict::Keep(with_users("in no active pool".into())),
        (None, Some(_)) if users.is_some() => Verdict::Keep(users.unwrap_or_default()),
        (None, Some(volume)) => match options.volumes {
            Volumes::Delete => Verdict::Delete(volume),
            Volumes::Keep => Verdict::Keep(format!("{} on disk", volume.allocation)),
        },
    }
}

/// What goes with a definition, in words.
async fn records(host: &Host, vm: &VmSummary, documents: &[kvm_xml::Domain]) -> Result<String> {
    let mut records = vec!["definition".to_owned()];
    if vm.has_saved_state {
        records.push("saved state".into());
    }
    if let Some(snapshots) = host.hypervisor.snapshots() {
        records.extend(counted(snapshots.list(&vm.id).await?.len(), "snapshot record"));
    }
    if let Some(checkpoints) = host.hypervisor.checkpoints() {
        records.extend(counted(checkpoints.list(&vm.id).await?.len(), "checkpoint record"));
    }
    let any = |has: fn(&kvm_xml::Domain) -> bool| documents.iter().any(has);
    if any(|d| d.os.as_ref().is_some_and(|os| os.nvram.is_some())) {
        records.push("NVRAM".into());
    }
    if any(|d| d.devices.as_ref().is_some_and(|devices| !devices.tpm.is_empty())) {
        records.push("TPM state".into());
    }
    Ok(records.join(", "))
}

fn counted(count: usize, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    }
}
