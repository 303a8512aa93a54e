//! A machine that is copied while it runs: everybody sees that, and one copies it at a time.

use kvm_core::op::Plan;
use kvm_core::{
    Description, Error, ErrorKind, Host, Quiesce, Resource, Result, SnapshotInfo, SnapshotKind, SnapshotName, VmName,
    VmSummary,
};

use crate::snapshot::{KeepMemory, SnapshotCreate, plan_with_files};

/// The snapshot that holds a running machine for as long as it is copied. A machine has one of a name, so of several programs,
/// on whichever computers, one holds it.
pub const COPYING: &str = "kvm-manager-copy";

/// Plans to hold a running machine for a copy. The overlays are called after `token`, which is another one for each copy, and
/// so that whoever comes back after a crash knows them for their own. `Busy` when somebody holds it; else as
/// [`plan_snapshot`](crate::plan_snapshot).
pub async fn plan_hold(
    host: &Host,
    vm: &VmSummary,
    quiesce: Quiesce,
    description: Description,
    token: &str,
) -> Result<Plan> {
    let wanted = SnapshotCreate {
        name: SnapshotName::parse(COPYING)?,
        description: Some(description),
        kind: Some(SnapshotKind::External),
        memory: KeepMemory::No,
        quiesce,
    };
    plan_with_files(host, vm, &wanted, token).await
}

/// `Busy` when a machine is held for a copy, and so has to stay as it is.
pub async fn check_not_copied(host: &Host, vm: &VmSummary) -> Result<()> {
    let Some(snapshots) = host.hypervisor.snapshots() else { return Ok(()) };
    let all = snapshots.list(&vm.id).await?;
    match all.iter().find(|snapshot| snapshot.name.as_str() == COPYING) {
        Some(held) => Err(is_copied(&vm.name, held)),
        None => Ok(()),
    }
}

/// Somebody else holds it.
pub(crate) fn is_copied(vm: &VmName, held: &SnapshotInfo) -> Error {
    let since = held.created.map(|at| format!(" since {at}")).unwrap_or_default();
    Error::new(ErrorKind::Busy, format!("VM {vm} is being copied{since}"))
        .on(Resource::Vm(vm.as_str().to_owned()))
        .during("copy-machine")
        .with_detail(format!("snapshot {COPYING} holds it until the copy is done"))
}
