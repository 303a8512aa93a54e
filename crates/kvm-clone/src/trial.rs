//! Starts of a machine that is off, as another one that is gone when it is over and reaches nobody.

mod document;
mod forget;
mod variables;
mod watch;

use kvm_core::{Error, ErrorKind, Host, PowerAction, Resource, Result, VmId, VmName, VmRef, VmSummary};
use kvm_xml::Domain;
use kvm_xml::domain::DiskDevice;

use crate::survey::has;
pub(crate) use document::{Instead, TrialDocument, Written, has_agent, trial};
pub(crate) use forget::ForgetTrial;
pub(crate) use variables::Variables;
pub(crate) use watch::{Watched, watch};

/// A name that nobody else gives; `what` says what the trial is for: `proof`.
pub(crate) fn trial_name(vm: &VmName, what: &str, id: VmId) -> Result<VmName> {
    let id = id.to_string();
    let part = &id[..8];
    VmName::parse(&format!("{vm}-{what}-{part}")).or_else(|_| VmName::parse(&format!("{what}-{part}")))
}

/// `InvalidState` with the fix when a machine is not off.
pub(crate) fn check_off(vm: &VmSummary, done: &str, fix: &str) -> Result<()> {
    if vm.persistent && !vm.state.is_active() && !vm.has_saved_state {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {}: only one that is off is {done}", vm.name, vm.state))
        .on(Resource::Vm(vm.name.as_str().to_owned()))
        .with_detail(fix.to_owned()))
}

/// `InvalidState` when somebody has started a machine since the plan was made.
pub(crate) async fn check_still_off(host: &Host, id: &VmId) -> Result<()> {
    let vm = host.hypervisor.find(&VmRef::Id(*id)).await?;
    match vm.state.is_active() || vm.has_saved_state {
        true => Err(refused(&vm.name, format!("VM {} is {} by now", vm.name, vm.state))),
        false => Ok(()),
    }
}

/// Why a trial did not begin.
pub(crate) fn refused(vm: &VmName, what: String) -> Error {
    Error::new(ErrorKind::InvalidState, what)
        .on(Resource::Vm(vm.as_str().to_owned()))
        .with_detail("nothing was tried; look at it, and try again")
}

/// Media in the machine's drives that the host has.
pub(crate) async fn media(host: &Host, machine: &Domain) -> Result<Vec<String>> {
    let drives = machine.devices.iter().flat_map(|devices| &devices.disk);
    let drives = drives.filter(|disk| disk.device == Some(DiskDevice::Cdrom));
    let files = drives.filter_map(|disk| disk.source.as_ref()?.file.clone());
    let mut media = Vec::new();
    for file in files {
        // What cannot be seen is not there for a trial.
        if has(host, &file).await.unwrap_or(false) {
            media.push(file);
        }
    }
    Ok(media)
}

/// Ends a trial, if it runs. `fix` says what to do should somebody have made a machine of its own of it.
pub(crate) async fn end(host: &Host, trial: &VmId, fix: &str) -> Result<()> {
    match host.hypervisor.find(&VmRef::Id(*trial)).await {
        Ok(vm) if vm.persistent => Err(Error::new(
            ErrorKind::InvalidState,
            format!("somebody has stored the trial {} as a VM of its own", vm.name),
        )
        .on(Resource::Vm(vm.name.as_str().to_owned()))
        .with_detail(fix.to_owned())),
        Ok(_) => match host.hypervisor.power(trial, PowerAction::PowerOff).await {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidState) => Ok(()),
            ended => ended,
        },
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}
