//! Snapshots of machines that are there: taken, gone back to, deleted.

use std::collections::BTreeSet;

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{
    Capabilities, DiskPath, Error, ErrorKind, Host, PoolName, Resource, Result, SnapshotInfo, SnapshotName, Snapshots,
    View, VmState, VmSummary,
};
use kvm_xml::Domain;

mod create;
mod delete;
mod proof;
mod revert;
mod rule;

pub(crate) use create::plan_with_files;
pub use create::{KeepMemory, SnapshotCreate, plan_snapshot};
pub use delete::{SnapshotScope, plan_snapshot_delete};
pub use revert::plan_revert;

/// What was under way when a machine did not have the snapshot that was meant, so that a surface can say where to look.
const FIND_SNAPSHOT: &str = "find-snapshot";

/// The host's family of snapshots. `Unsupported` when it has none.
pub fn snapshots(host: &Host) -> Result<&dyn Snapshots> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host takes no snapshots");
    host.hypervisor.snapshots().ok_or_else(missing)
}

/// A snapshot of a machine. `NotFound` says which there are.
pub async fn find_snapshot(host: &Host, vm: &VmSummary, name: &SnapshotName) -> Result<SnapshotInfo> {
    let all = snapshots(host)?.list(&vm.id).await?;
    let found = all.iter().find(|snapshot| snapshot.name == *name).cloned();
    found.ok_or_else(|| missing(vm, name, &all))
}

fn missing(vm: &VmSummary, name: &SnapshotName, all: &[SnapshotInfo]) -> Error {
    let detail = match all {
        [] => "it has none".to_owned(),
        all => format!("it has {}", listed(all.iter().map(|snapshot| &snapshot.name))),
    };
    Error::new(ErrorKind::NotFound, format!("VM {} has no snapshot {name}", vm.name))
        .on(resource(vm, name))
        .during(FIND_SNAPSHOT)
        .with_detail(detail)
}

fn resource(vm: &VmSummary, name: &SnapshotName) -> Resource {
    Resource::Snapshot(format!("{}/{}", vm.name.as_str(), name.as_str()))
}

/// A machine with its snapshots.
struct Subject<'a> {
    host: &'a Host,
    info: Capabilities,
    vm: &'a VmSummary,
    /// What runs, or the next start uses.
    document: Domain,
    all: Vec<SnapshotInfo>,
}

impl<'a> Subject<'a> {
    /// Reads it. `InvalidState` when its memory is saved: that fits its disks as they are now, and no others.
    async fn read(host: &'a Host, vm: &'a VmSummary) -> Result<Self> {
        let info = host.hypervisor.capabilities().await?;
        let all = snapshots(host)?.list(&vm.id).await?;
        if vm.has_saved_state || vm.state == VmState::Saved {
            let error = Error::new(ErrorKind::InvalidState, format!("VM {} has a saved state", vm.name));
            return Err(error
                .on(Resource::Vm(vm.name.as_str().to_owned()))
                .with_detail("it fits the disks as they are now: start the VM, or discard the saved state first"));
        }
        let document = host.hypervisor.definition(&vm.id, View::LIVE).await?;
        Ok(Self { host, info, vm, document, all })
    }

    /// One of its snapshots. `NotFound`.
    fn find(&self, name: &SnapshotName) -> Result<&SnapshotInfo> {
        let found = self.all.iter().find(|snapshot| snapshot.name == *name);
        found.ok_or_else(|| missing(self.vm, name, &self.all))
    }

    fn resource(&self, name: &SnapshotName) -> Resource {
        resource(self.vm, name)
    }

    /// What stands against it.
    fn refuse(&self, name: &SnapshotName, message: &str, why: impl Into<String>) -> Error {
        let message = format!("snapshot {name} of {} {message}", self.vm.name);
        Error::new(ErrorKind::InvalidState, message).on(self.resource(name)).with_detail(why)
    }

    /// The disks that it writes to, with their images.
    fn now(&self) -> Vec<rule::Now> {
        let disks = kvm_core::disks_to_keep(&self.document);
        let image = |disk| DiskPath::adopt(&crate::device::source(disk)?).ok();
        disks.filter_map(|(name, disk)| Some((name.clone(), image(disk)?))).collect()
    }

    /// The images that it writes to.
    fn images(&self) -> Vec<DiskPath> {
        self.now().into_iter().map(|(_, path)| path).collect()
    }

    /// All images that its disks and its snapshots name.
    fn own(&self) -> BTreeSet<DiskPath> {
        let disks = self.all.iter().flat_map(|snapshot| &snapshot.disks);
        disks.flat_map(|disk| [&disk.image, &disk.overlay]).flatten().cloned().chain(self.images()).collect()
    }

    /// The pools in which these images lie: they have to look again when files come and go behind their back.
    async fn pools<'p>(&self, paths: impl IntoIterator<Item = &'p DiskPath>) -> Result<Vec<PoolName>> {
        let paths: Vec<_> = paths.into_iter().collect();
        let holds = |target: &DiskPath| paths.iter().any(|path| path.as_path().parent() == Some(target.as_path()));
        let pools = self.host.storage.pools().await?;
        let here = pools.into_iter().filter(|pool| pool.active && pool.target.as_ref().is_some_and(holds));
        Ok(here.map(|pool| pool.name).collect())
    }

    fn plan(
        &self,
        kind: &'static str,
        title: &str,
        (lines, steps): (Vec<PlanLine>, Vec<Box<dyn Step>>),
        reversible: usize,
    ) -> Plan {
        let target = self.info.target.clone();
        let locks = vec![LockKey { host: self.info.host_key(), vm: self.vm.id }];
        Plan { kind, title: format!("{title} on {target}"), target, locks, lines, steps, reversible }
    }
}

/// How a plan calls an image: as a volume where it is one.
async fn image_line(host: &Host, action: &str, path: &DiskPath) -> Result<PlanLine> {
    match host.storage.volume_at(path).await {
        Ok(volume) => Ok(PlanLine::new(action, "volume", crate::place::volume_name(&volume))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(PlanLine::new(action, "file", path.as_str())),
        Err(e) => Err(e),
    }
}

/// Names in one line.
fn listed<'n>(names: impl IntoIterator<Item = &'n SnapshotName>) -> String {
    let names: Vec<_> = names.into_iter().map(ToString::to_string).collect();
    names.join(", ")
}
