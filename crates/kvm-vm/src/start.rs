//! Whether a machine may be started where it is.

use kvm_core::{Error, ErrorKind, Host, ReplicaState, Replication, Resource, Result, View, VmNotes, VmSummary, Way};

/// Refuses to start what another host may have as well, as far as the machine's own document says so: a replica that
/// was not promoted, and a machine in the middle of a move.
///
/// `InvalidState` with the way out; `NotFound`.
pub async fn check_start(host: &Host, vm: &VmSummary) -> Result<()> {
    if !vm.persistent {
        return Ok(());
    }
    let notes = VmNotes::of(&host.hypervisor.definition(&vm.id, View::CONFIG).await?);
    let refuse = |message: String, fix: &str| {
        Err(Error::new(ErrorKind::InvalidState, message)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail(fix.to_owned()))
    };
    match (&notes.moving, &notes.replication) {
        (Some(moving), _) => {
            let way = match moving.way {
                Way::Leaving => "on its way to",
                Way::Arriving => "arriving from",
            };
            let fix = "finish or take back the move where it was begun: kvmctl op list --open; \
                       if nobody can, and the other host has it not: --force";
            refuse(format!("VM {} is {way} {}", vm.name, moving.other), fix)
        }
        (None, Some(Replication::Replica(replica))) if replica.state != ReplicaState::Promoted => {
            let fix = "make it a machine of its own: kvmctl replica promote; with --force it starts as it is, and the next \
                       sync overwrites what it writes";
            refuse(format!("VM {} is a replica of {} on {}", vm.name, replica.vm, replica.source), fix)
        }
        _ => Ok(()),
    }
}

/// Ends, on this host, a move that nobody finishes any more: the machine is this host's. Nothing for one that is in no
/// move. Should the operation go on all the same, it leaves the machine alone.
///
/// `NotFound`.
pub async fn claim(host: &Host, vm: &VmSummary) -> Result<()> {
    if !vm.persistent {
        return Ok(());
    }
    let notes = VmNotes::of(&host.hypervisor.definition(&vm.id, View::CONFIG).await?);
    match notes.moving {
        Some(_) => host.hypervisor.set_notes(&vm.id, &VmNotes { moving: None, ..notes }).await,
        None => Ok(()),
    }
}
