//! What stands in the way of a move.

use kvm_core::{Error, ErrorKind, ReplicaState, Replication, Resource, Result, VmNotes, VmSummary};

use super::{MoveSpec, WhileMoving};

/// `InvalidState` when the machine cannot move as it is.
pub(super) fn check_state(vm: &VmSummary, spec: &MoveSpec, records: usize) -> Result<()> {
    let refuse = |why: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, why)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    if !vm.persistent {
        return refuse(format!("VM {} is gone when it stops", vm.name), "to move it while it runs: kvmctl vm migrate");
    }
    if vm.has_saved_state {
        let fix = "start it, and move it when it is off, or while it runs: kvmctl vm migrate";
        return refuse(format!("VM {} is saved: its disks alone are not all of it", vm.name), fix);
    }
    if vm.state.is_active() && spec.running == WhileMoving::Refuse {
        let fix = "to move it while it runs: kvmctl vm migrate; to have it off for the time of the move: --shutdown or --power-off";
        return refuse(format!("VM {} is {}", vm.name, vm.state), fix);
    }
    if records > 0 && !spec.leave_snapshots {
        let fix = "delete them: kvmctl snap delete; or leave their records behind: --leave-snapshots";
        return refuse(format!("VM {} has snapshots or checkpoints, which do not go along", vm.name), fix);
    }
    Ok(())
}

/// `InvalidState` when its own document says that it is somebody else's.
pub(super) fn check_notes(vm: &VmSummary, notes: &VmNotes) -> Result<()> {
    let refuse = |why: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, why)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    if let Some(moving) = &notes.moving {
        let fix = "finish that move where it was begun: kvmctl op list --open, kvmctl op resume";
        return refuse(format!("VM {} is in the middle of a move, to or from {}", vm.name, moving.other), fix);
    }
    match &notes.replication {
        Some(Replication::Replica(replica)) if replica.state != ReplicaState::Promoted => {
            let fix = "promote it first, or sync its source to the other host";
            refuse(format!("VM {} is a replica of {} on {}", vm.name, replica.vm, replica.source), fix)
        }
        _ => Ok(()),
    }
}
