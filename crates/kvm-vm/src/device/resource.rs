//! Virtual CPUs and memory of machines that are there already.

use std::time::Duration;

use kvm_core::{
    Bytes, Clock, CpuLimits, Error, ErrorKind, Host, Impact, MemoryPlacement, Resource, Result, VcpuCount, View,
    VmSummary, VmThread, Which,
};
use kvm_xml::Domain;
use kvm_xml::value::CpuSet;

use super::{Subject, cell, facet};
use crate::spec::NumaCell;

/// How often a guest that was asked for a virtual CPU is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What a machine is to have. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Virtual CPUs that are plugged in.
    pub vcpus: Option<VcpuCount>,
    /// Memory, through the balloon while it runs.
    pub memory: Option<Bytes>,
    /// On which of the host's CPUs which thread may run.
    pub pins: Vec<(VmThread, CpuSet)>,
    /// What it may use of the host's CPU time.
    pub limits: CpuLimits,
    /// From which of the host's NUMA nodes its memory comes.
    pub placement: MemoryPlacement,
    /// NUMA cells in place of those that it has, from its next start.
    pub cells: Vec<NumaCell>,
}

/// Sets virtual CPUs and memory of a machine, and what its threads may use; gives the documents that changed.
///
/// All are checked against what the machine and its host have before any changes (`InvalidInput`). A running guest is
/// waited for when it has to give up a virtual CPU: `Timeout` when it has not done so in time, and it may still obey. The
/// balloon takes its time, and is not waited for. `InvalidState` when a document that is to change is not there, and for
/// what of NUMA cannot change while the machine runs.
pub async fn set_resources(
    host: &Host,
    vm: &VmSummary,
    wanted: &Resources,
    impact: Option<Impact>,
    timeout: Duration,
    clock: &dyn Clock,
) -> Result<Impact> {
    let subject = Subject::read(host, vm, impact).await?;
    for which in subject.impact.documents() {
        subject.reached(*which).map_or(Ok(()), |document| check(document, wanted))?;
    }
    if !wanted.pins.is_empty() {
        let host_cpus = host.hypervisor.capabilities().await?.cpus.unwrap_or(u32::MAX);
        let documents = subject.impact.documents().iter().filter_map(|which| subject.reached(*which));
        for document in documents {
            wanted.pins.iter().try_for_each(|(thread, cpus)| thread.check_pin(document, cpus, host_cpus))?;
        }
    }
    if !wanted.placement.is_empty() {
        let nodes = host.hypervisor.capabilities().await?.numa;
        for which in subject.impact.documents() {
            let Some(document) = subject.reached(*which) else { continue };
            wanted.placement.check(document, *which, &nodes).map_err(|e| about(vm, e))?;
        }
    }
    let (devices, impact) = (facet(host)?, subject.impact);
    // What else changes is changed in the document that has the cells.
    if !wanted.cells.is_empty() {
        cell::set(host, vm, &wanted.cells, impact).await?;
    }
    if !wanted.placement.is_empty() {
        devices.place_memory(&vm.id, &wanted.placement, impact).await?;
    }
    if wanted.limits != CpuLimits::default() {
        devices.limit_cpu(&vm.id, &wanted.limits, impact).await?;
    }
    for (thread, cpus) in &wanted.pins {
        devices.pin(&vm.id, *thread, cpus, impact).await?;
    }
    if let Some(memory) = wanted.memory {
        devices.set_memory(&vm.id, memory, impact).await?;
    }
    if let Some(vcpus) = wanted.vcpus {
        devices.set_vcpus(&vm.id, vcpus, impact).await?;
        if impact.reaches(Which::Live) {
            until_plugged(host, vm, vcpus, timeout, clock).await?;
        }
    }
    Ok(impact)
}

/// An error about a running machine, as one that its configuration does not have.
fn about(vm: &VmSummary, e: Error) -> Error {
    match e.kind() {
        ErrorKind::InvalidState => e.on(Resource::Vm(vm.name.as_str().to_owned())).during("plug-live"),
        _ => e,
    }
}

fn check(document: &Domain, wanted: &Resources) -> Result<()> {
    let most = document.vcpu.as_ref().and_then(|vcpu| vcpu.value).map(u32::from);
    if let (Some(vcpus), Some(most)) = (wanted.vcpus, most)
        && vcpus.get() > most
    {
        return Err(Error::invalid("vcpus", format!("the VM has {most} virtual CPUs at most"))
            .with_detail("the most it can have is part of its definition, and changes at its next start"));
    }
    let most = document.memory.as_ref().and_then(|memory| memory.bytes()).map(Bytes::new);
    if let (Some(memory), Some(most)) = (wanted.memory, most)
        && memory > most
    {
        return Err(Error::invalid("memory", format!("the VM has {most} at most"))
            .with_detail("the most it can have is part of its definition, and changes at its next start"));
    }
    Ok(())
}

/// Waits until a running machine has so many virtual CPUs. There is no event for it.
async fn until_plugged(
    host: &Host,
    vm: &VmSummary,
    wanted: VcpuCount,
    timeout: Duration,
    clock: &dyn Clock,
) -> Result<()> {
    let deadline = clock.sleep(timeout);
    let wait = async {
        loop {
            let document = host.hypervisor.definition(&vm.id, View::LIVE).await?;
            let vcpu = document.vcpu.as_ref();
            let plugged = vcpu.and_then(|vcpu| vcpu.current.or(vcpu.value)).map(u32::from);
            if plugged.is_none_or(|plugged| plugged == wanted.get()) {
                return Ok(());
            }
            clock.sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        done = wait => done,
        () = deadline => {
            Err(Error::new(ErrorKind::Timeout, format!("the guest has not changed to {wanted} virtual CPUs in time"))
                .on(Resource::Vm(vm.name.as_str().to_owned()))
                .with_detail(format!("waited {} s; it was asked and may still obey", timeout.as_secs())))
        }
    }
}
