//! Forgetting machines.

use kvm_core::{ErrorKind, Keep, PowerAction, SnapshotSpec, VmState};

use crate::case::{cases, refused, same};
use crate::cx::Cx;

cases! { CASES in "undefine" on Cx;
    /// A machine that was undefined is gone, and its name and uuid are free.
    async fn what_is_undefined_is_gone(cx) {
        let id = cx.defined("a").await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        refused(cx.find(&id).await, ErrorKind::NotFound)?;
        same("defined again", cx.defined("a").await?, id)
    }

    /// A machine that is not there cannot be undefined.
    async fn what_is_not_there_is_not_undefined(cx) {
        refused(cx.hypervisor().undefine(&cx.id("absent"), Keep::NOTHING).await, ErrorKind::NotFound)?;
        let id = cx.defined("a").await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        refused(cx.hypervisor().undefine(&id, Keep::NOTHING).await, ErrorKind::NotFound)
    }

    /// A machine that runs or is paused cannot be undefined, and stays as it is.
    async fn what_runs_is_not_undefined(cx) {
        for state in [VmState::Running, VmState::Paused] {
            let id = cx.in_state(state.as_str(), state).await?;
            refused(cx.hypervisor().undefine(&id, Keep::NOTHING).await, ErrorKind::InvalidState)?;
            same("state", cx.state(&id).await?, state)?;
            same("persistent", cx.find(&id).await?.persistent, true)?;
        }
        Ok(())
    }

    /// A saved state goes with its machine: defined again, it boots.
    async fn a_saved_state_goes_with_its_machine(cx) {
        let id = cx.in_state("a", VmState::Saved).await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        cx.defined("a").await?;
        same("state", cx.state(&id).await?, VmState::Off)?;
        same("saved state", cx.find(&id).await?.has_saved_state, false)
    }

    /// Snapshot records go with their machine.
    async fn snapshot_records_go_with_their_machine(cx) {
        let (id, _) = cx.with_disk("a").await?;
        let snapshots = cx.family("snapshots", cx.hypervisor().snapshots())?;
        snapshots.create(&id, &SnapshotSpec::internal(cx.snapshot_name("first")?)).await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        cx.defined("a").await?;
        same("snapshots", snapshots.list(&id).await?, vec![])
    }

    /// Disks are never touched.
    async fn disks_stay(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        same("the volume", cx.storage().find_volume(&disk.pool, &disk.name).await?.path, disk.path)
    }

    /// State can be kept also of a machine that has none.
    async fn keeping_state_that_is_not_there_succeeds(cx) {
        let id = cx.running("a").await?;
        cx.power(&id, PowerAction::PowerOff).await?;
        cx.hypervisor().undefine(&id, Keep::STATE).await?;
        refused(cx.find(&id).await, ErrorKind::NotFound)
    }
}
