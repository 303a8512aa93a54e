//! Checkpoints of machines that are there.

use kvm_core::{
    CheckpointInfo, CheckpointSpec, Checkpoints, Error, ErrorKind, Host, Resource, Result, SnapshotName, VmSummary,
};

/// What was under way when a machine did not have the checkpoint that was meant, so that a surface can say where to look.
const FIND_CHECKPOINT: &str = "find-checkpoint";

/// The host's family of checkpoints. `Unsupported` when it has none.
pub fn checkpoints(host: &Host) -> Result<&dyn Checkpoints> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host makes no checkpoints");
    host.hypervisor.checkpoints().ok_or_else(missing)
}

/// A checkpoint of a machine. `NotFound` says which there are.
pub async fn find_checkpoint(host: &Host, vm: &VmSummary, name: &SnapshotName) -> Result<CheckpointInfo> {
    let all = checkpoints(host)?.list(&vm.id).await?;
    let names: Vec<_> = all.iter().map(|checkpoint| checkpoint.name.to_string()).collect();
    all.into_iter().find(|checkpoint| checkpoint.name == *name).ok_or_else(|| {
        let detail = if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
        Error::new(ErrorKind::NotFound, format!("VM {} has no checkpoint {name}", vm.name))
            .on(Resource::Checkpoint(format!("{}/{}", vm.name.as_str(), name.as_str())))
            .during(FIND_CHECKPOINT)
            .with_detail(detail)
    })
}

/// Makes a checkpoint. `InvalidState` when the machine is off: only a running one has its images remember; else as
/// [`Checkpoints::create`].
pub async fn create_checkpoint(host: &Host, vm: &VmSummary, spec: &CheckpointSpec) -> Result<()> {
    if !vm.state.is_active() {
        return Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {}", vm.name, vm.state))
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail("only a running VM has its images remember; start it first"));
    }
    checkpoints(host)?.create(&vm.id, spec).await
}
