//! What the simulated host says that it is.

use std::collections::BTreeSet;

use kvm_core::{Bytes, Capabilities, Feature, GuestKind, NumaNode};

use crate::world::HostFacts;

/// Everything that this backend does.
const FEATURES: [Feature; 15] = [
    Feature::Autostart,
    Feature::ManagedSave,
    Feature::Reset,
    Feature::Statistics,
    Feature::LeaseAddresses,
    Feature::AgentAddresses,
    Feature::ArpAddresses,
    Feature::SerialConsole,
    Feature::Screenshot,
    Feature::Snapshots,
    Feature::Checkpoints,
    Feature::BlockJobs,
    Feature::Uefi,
    Feature::Tpm,
    Feature::AgentCommands,
];

/// Kinds of virtualisation that the host has.
const VIRT_TYPES: [&str; 2] = ["kvm", "qemu"];
/// The architecture of the host and of its guests.
pub(crate) const ARCH: &str = "x86_64";
/// Machine types, aliases among them, with the most virtual CPUs that each takes.
const MACHINES: [(&str, u32); 4] = [("pc-i440fx-10.0", 255), ("pc", 255), ("pc-q35-10.0", 288), ("q35", 288)];

/// The most virtual CPUs that this machine type takes; of the default one when none is named. `None` when there is no
/// such machine type.
pub(crate) fn max_vcpus(machine: Option<&str>) -> Option<u32> {
    let wanted = machine.unwrap_or("pc");
    MACHINES.iter().find(|(name, _)| *name == wanted).map(|(_, max)| *max)
}

/// Whether the host has this kind of virtualisation.
pub(crate) fn has_virt_type(name: &str) -> bool {
    VIRT_TYPES.contains(&name)
}

pub(crate) fn capabilities(target: &str, host: &HostFacts) -> Capabilities {
    let kind = |virt_type: &str| GuestKind {
        os_type: "hvm".into(),
        arch: ARCH.into(),
        virt_type: virt_type.into(),
        emulator: Some("/usr/bin/qemu-system-x86_64".into()),
        machines: MACHINES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        max_vcpus: MACHINES.iter().map(|(_, max)| *max).max(),
    };
    Capabilities {
        target: target.to_owned(),
        host_uuid: None,
        host_name: host.name.clone(),
        driver: "mock".into(),
        hypervisor_version: Some(env!("CARGO_PKG_VERSION").into()),
        library_version: None,
        arch: Some(ARCH.into()),
        cpus: Some(host.cpus),
        memory: Some(host.memory),
        guests: VIRT_TYPES.into_iter().map(kind).collect(),
        numa: numa(host),
        runs_as: None,
        features: BTreeSet::from(FEATURES),
    }
}

/// The host's NUMA nodes, with equal parts of its CPUs and memory.
pub(crate) fn numa(host: &HostFacts) -> Vec<NumaNode> {
    let count = u32::from(host.numa_nodes.max(1));
    // The last ones have what cannot be shared out.
    let first = |number: u32| if number == count { host.cpus } else { host.cpus / count * number };
    let node = |number| NumaNode {
        number,
        memory: Some(Bytes::new(host.memory.get() / u64::from(count))),
        cpus: (first(number)..first(number + 1)).collect(),
        distances: (0..count).map(|other| (other, if other == number { 10 } else { 21 })).collect(),
    };
    (0..count).map(node).collect()
}
