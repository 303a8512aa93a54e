//! What a machine's document says about replicas, as steps read and write it.

use kvm_core::{
    Error, ErrorKind, Host, Replica, ReplicaState, Replication, Resource, Result, View, VmId, VmNotes, VmRef,
};
use uuid::Uuid;

/// What is noted of a machine.
pub(crate) async fn read(host: &Host, id: &VmId) -> Result<Option<Replication>> {
    Ok(VmNotes::of(&host.hypervisor.definition(id, View::CONFIG).await?).replication)
}

/// Notes it in place of what is noted.
pub(crate) async fn write(host: &Host, id: &VmId, replication: Option<Replication>) -> Result<()> {
    let notes = VmNotes::of(&host.hypervisor.definition(id, View::CONFIG).await?);
    host.hypervisor.set_notes(id, &VmNotes { replication, ..notes }).await
}

/// The replica, if this sync is the one that brought it there, or is applied to it now.
pub(crate) async fn of_sync(host: &Host, id: &VmId, sync: Uuid) -> Result<Option<Replica>> {
    Ok(match read(host, id).await? {
        Some(Replication::Replica(replica)) if replica.sync == sync && is_reached(replica.state) => Some(replica),
        _ => None,
    })
}

/// Whether all of a sync has arrived.
fn is_reached(state: ReplicaState) -> bool {
    matches!(state, ReplicaState::Applying | ReplicaState::Current)
}

/// `InvalidState` when what is noted is not what the plan was made with, or the machine is not off.
pub(crate) async fn check_unchanged(host: &Host, id: &VmId, before: Option<&Replication>) -> Result<()> {
    let vm = host.hypervisor.find(&VmRef::Id(*id)).await?;
    let refuse = |what: String| {
        Err(Error::new(ErrorKind::InvalidState, what)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail("nothing was done to the replica; look at it, and sync again"))
    };
    if vm.state.is_active() || vm.has_saved_state {
        return refuse(format!("the replica {} is {} by now", vm.name, vm.state));
    }
    match read(host, id).await?.as_ref() == before {
        true => Ok(()),
        false => refuse(format!("the replica {} was changed by somebody else meanwhile", vm.name)),
    }
}
