//! Whether the IOMMU is on, without which no PCI device can be given to a guest.

use std::collections::BTreeSet;

use kvm_core::Host;

use super::system::System;
use super::{Check, Finding, Status};
use crate::host_device;

/// The tables by which the firmware tells the kernel of an IOMMU.
const INTEL_TABLE: &str = "/sys/firmware/acpi/tables/DMAR";
const AMD_TABLE: &str = "/sys/firmware/acpi/tables/IVRS";

pub(super) async fn finding(host: Option<&Host>, system: Option<&System<'_>>) -> Finding {
    let devices = match host {
        Some(host) => documents(host).await,
        None => None,
    };
    if let Some(groups) = devices.as_ref().map(|devices| devices.groups).filter(|groups| *groups > 0) {
        return Finding::ok(
            Check::Iommu,
            format!("the IOMMU is on: {groups} groups of devices (kvmctl host devices --iommu)"),
        );
    }
    match (devices, system) {
        (_, Some(system)) => look(system).await,
        (Some(Devices { pci: 0, .. }), None) => Finding::skipped(Check::Iommu, "the host tells of no PCI devices"),
        (Some(_), None) => off().fix("see the kernel's messages on the host: dmesg | grep -i -e dmar -e iommu"),
        (None, None) => Finding::skipped(Check::Iommu, "the host does not tell of its devices"),
    }
}

/// What the host's own list says.
struct Devices {
    /// Devices on the PCI bus.
    pci: usize,
    /// Different IOMMU groups.
    groups: usize,
}

async fn documents(host: &Host) -> Option<Devices> {
    let documents = host_device::facet(host).ok()?.list().await.ok()?;
    let capabilities = || documents.iter().flat_map(|device| &device.capability);
    let groups: BTreeSet<_> = capabilities().filter_map(|what| what.iommu_group.as_ref()?.number).collect();
    let pci = capabilities().filter(|what| what.r#type == Some(kvm_xml::node_device::CapabilityType::Pci)).count();
    Some(Devices { pci, groups: groups.len() })
}

fn off() -> Finding {
    Finding::new(Check::Iommu, Status::Warn, "the IOMMU is off")
        .why("no PCI device of the host can be given to a guest; guests without one do not need it")
}

/// Asks the kernel, and finds out who has switched it off.
async fn look(system: &System<'_>) -> Finding {
    match system.exists("/sys/kernel/iommu_groups/0").await {
        Ok(true) => return Finding::ok(Check::Iommu, "the IOMMU is on"),
        Ok(false) => {}
        Err(e) => return Finding::skipped(Check::Iommu, e.to_string()),
    }
    let line = system.read("/proc/cmdline").await.unwrap_or_default();
    if let Some(parameter) = switched_off(&line) {
        return off().fix(format!("take {parameter} out of the kernel's parameters ({GRUB})"));
    }
    let exists = async |path| system.exists(path).await.unwrap_or(false);
    let (intel, amd) = (exists(INTEL_TABLE).await, exists(AMD_TABLE).await);
    if intel {
        return off().fix(format!("add intel_iommu=on iommu=pt to the kernel's parameters ({GRUB})"));
    }
    if amd {
        return off()
            .fix("the firmware offers one, and the kernel did not take it: see dmesg | grep -i -e amd-vi -e iommu");
    }
    let is_guest = system.read("/proc/cpuinfo").await.is_some_and(|text| is_guest(&text));
    off().fix(match is_guest {
        true => "this host is a virtual machine: give it a virtual IOMMU outside (of QEMU: -device intel-iommu, of libvirt: <iommu/>)",
        false => "switch VT-d (Intel), AMD-Vi or SMMU on in the firmware; with Intel add intel_iommu=on iommu=pt to the kernel's parameters, too",
    })
}

/// Where kernel parameters are written on most hosts.
const GRUB: &str = "GRUB_CMDLINE_LINUX in /etc/default/grub, then sudo update-grub and reboot";

/// The parameter that keeps the kernel from using an IOMMU.
fn switched_off(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| matches!(*word, "iommu=off" | "intel_iommu=off" | "amd_iommu=off"))
}

/// Whether the CPU says that there is another system below.
fn is_guest(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.is_some_and(|(_, flags)| flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_switches_it_off_is_named() {
        assert_eq!(switched_off("quiet intel_iommu=off splash"), Some("intel_iommu=off"));
        assert_eq!(switched_off("quiet intel_iommu=on iommu=pt"), None);
    }

    #[test]
    fn a_guest_is_known_by_its_cpu() {
        assert!(is_guest("flags\t\t: fpu hypervisor sse\n"));
        assert!(!is_guest("flags\t\t: fpu sse\n"));
    }
}
