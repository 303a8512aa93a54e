//! What the machine is, and whether the destination can be its host.

use kvm_core::{Bytes, Capabilities, CpuFit, ErrorKind, Feature, Host, MigrationMode, Result, VmRef, VmState};
use kvm_xml::domain::{CpuModeName, OsFirmware, TpmBackendType};

use super::finding::{Check, Finding};
use super::{Subject, facet};

pub(super) async fn check(subject: &Subject<'_>) -> Result<Vec<Finding>> {
    let mut findings = vec![hosts(subject), state(subject), name(subject).await?, version(subject)];
    findings.push(machine_type(subject));
    findings.push(cpu(subject).await?);
    findings.extend(memory(subject));
    findings.extend(firmware(subject));
    findings.extend(tpm(subject));
    findings.extend(devices(subject));
    findings.extend(records(subject).await?);
    Ok(findings)
}

fn hosts(subject: &Subject<'_>) -> Finding {
    let (here, there) = (subject.here, subject.there);
    if here.host_key() == there.host_key() {
        return Finding::refusal(Check::Hosts, "source and destination are the same host").fix("name another one");
    }
    if here.driver != there.driver || here.arch != there.arch {
        let told = |host: &Capabilities| format!("{} on {}", host.driver, host.arch.as_deref().unwrap_or("?"));
        return Finding::refusal(Check::Hosts, format!("{} does not become {}", told(here), told(there)))
            .fix("clone it there instead");
    }
    Finding::ok(Check::Hosts, format!("from {} to {}", here.host_name, there.host_name))
}

fn state(subject: &Subject<'_>) -> Finding {
    let state = subject.vm.state;
    match (subject.mode, state) {
        (MigrationMode::Live, VmState::Running | VmState::Paused) | (MigrationMode::Offline, VmState::Off) => {
            Finding::ok(Check::State, format!("it is {state}"))
        }
        (MigrationMode::Live, VmState::Off) => {
            Finding::refusal(Check::State, "it is off").fix("start it first, or move it --offline")
        }
        (MigrationMode::Offline, VmState::Saved) => Finding::refusal(Check::State, "it is saved")
            .why("the saved state is a file of this host")
            .fix("start it, and move it while it runs"),
        (MigrationMode::Offline, _) => {
            Finding::refusal(Check::State, format!("it is {state}")).fix("shut it down first, or move it --live")
        }
        (MigrationMode::Live, _) => {
            Finding::refusal(Check::State, format!("it is {state}")).fix("have it run, or shut it down first")
        }
    }
}

async fn name(subject: &Subject<'_>) -> Result<Finding> {
    let vm = subject.vm;
    for (what, pointer) in [("uuid", VmRef::Id(vm.id)), ("name", VmRef::Name(vm.name.clone()))] {
        match subject.destination.hypervisor.find(&pointer).await {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
            Ok(other) => {
                return Ok(Finding::refusal(Check::Name, format!("VM {} there has the same {what}", other.name))
                    .fix("rename or delete one of the two"));
            }
        }
    }
    Ok(Finding::ok(Check::Name, "name and uuid are free there"))
}

fn version(subject: &Subject<'_>) -> Finding {
    let versions = [subject.here, subject.there].map(|host| host.hypervisor_version.clone());
    match versions {
        [Some(here), Some(there)] => {
            let what = format!("{} {here} here, {there} there", subject.here.driver);
            if numbers(&there) < numbers(&here) && subject.mode == MigrationMode::Live {
                return Finding::warning(Check::Version, what)
                    .why("an older one may not read what a newer one sends")
                    .fix("update the destination first");
            }
            Finding::ok(Check::Version, what)
        }
        _ => Finding::unknown(Check::Version, "not both hosts say their version"),
    }
}

/// `10.0.2` as something to compare.
fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn machine_type(subject: &Subject<'_>) -> Finding {
    let os = subject.document.os.as_ref().and_then(|os| os.r#type.as_ref());
    let arch = os.and_then(|os| os.arch).map(|arch| arch.to_string()).or_else(|| subject.here.arch.clone());
    let virt_type = subject.document.r#type.map(|kind| kind.as_str()).unwrap_or_default();
    let kinds = subject.there.guests.iter().filter(|guest| Some(&guest.arch) == arch.as_ref());
    let Some(kind) = kinds.clone().find(|guest| guest.virt_type == virt_type) else {
        let fix = if virt_type == "kvm" { "switch virtualisation on there: kvmctl doctor" } else { "install it there" };
        let arch = arch.unwrap_or_default();
        return Finding::refusal(Check::MachineType, format!("the destination runs no {virt_type} guests for {arch}"))
            .fix(fix);
    };
    match os.and_then(|os| os.machine.as_deref()) {
        Some(machine) if !kind.machines.iter().any(|known| known == machine) => {
            Finding::refusal(Check::MachineType, format!("the destination has no machine type {machine}"))
                .fix("update its QEMU, or have the VM use a type that both have (a new start)")
        }
        Some(machine) => Finding::ok(Check::MachineType, format!("{virt_type} with {machine}")),
        None => Finding::ok(Check::MachineType, virt_type),
    }
}

async fn cpu(subject: &Subject<'_>) -> Result<Finding> {
    let mode = subject.document.cpu.as_ref().and_then(|cpu| cpu.mode);
    Ok(match facet(subject.destination)?.compare_cpu(subject.document).await? {
        CpuFit::Fits => Finding::ok(Check::Cpu, "the destination can give it its CPU"),
        CpuFit::Lacks if subject.mode == MigrationMode::Offline => {
            Finding::warning(Check::Cpu, "the destination lacks something of its CPU")
                .fix("give it a CPU model that both hosts have")
        }
        CpuFit::Lacks => Finding::refusal(Check::Cpu, "the destination lacks something of its CPU")
            .fix("give it a CPU model that both hosts have, and start it anew"),
        CpuFit::Unknown => match mode {
            Some(CpuModeName::HostPassthrough) => {
                Finding::unknown(Check::Cpu, "it has whatever CPU its host has (host-passthrough)")
                    .why("only on equal CPUs it runs on safely")
            }
            _ => Finding::unknown(Check::Cpu, "nobody can compare its CPU with that of the destination"),
        },
    })
}

fn memory(subject: &Subject<'_>) -> Option<Finding> {
    let (wanted, all) = (subject.vm.max_memory?, subject.there.memory?);
    Some(match wanted > all {
        true => Finding::refusal(Check::Memory, format!("it may have {wanted}, the destination has {all} in all"))
            .fix("give it less memory"),
        false => Finding::ok(Check::Memory, format!("{wanted} of {all}")),
    })
}

fn firmware(subject: &Subject<'_>) -> Option<Finding> {
    let os = subject.document.os.as_ref()?;
    let is_uefi = os.firmware == Some(OsFirmware::Efi) || os.nvram.is_some();
    if !is_uefi {
        return None;
    }
    Some(if !subject.there.features.contains(&Feature::Uefi) {
        Finding::refusal(Check::Firmware, "the destination has no UEFI firmware").fix("install it there: ovmf")
    } else if subject.mode == MigrationMode::Offline && os.nvram.is_some() {
        Finding::warning(Check::Firmware, "its UEFI variables stay on this host")
            .why("boot entries and enrolled keys are lost, unless that file is on shared storage")
            .fix("move it while it runs")
    } else {
        Finding::ok(Check::Firmware, "UEFI is there; its variables move with it")
    })
}

fn tpm(subject: &Subject<'_>) -> Option<Finding> {
    let mut tpms = subject.document.devices.iter().flat_map(|devices| &devices.tpm);
    let is_emulated = |kind: Option<TpmBackendType>| kind == Some(TpmBackendType::Emulator);
    let tpm = tpms.next()?;
    Some(if !is_emulated(tpm.backend.as_ref().and_then(|backend| backend.r#type)) {
        Finding::refusal(Check::Tpm, "its TPM is the host's own").fix("detach it first")
    } else if !subject.there.features.contains(&Feature::Tpm) {
        Finding::refusal(Check::Tpm, "the destination has no TPM emulator").fix("install it there: swtpm")
    } else if subject.mode == MigrationMode::Offline {
        Finding::refusal(Check::Tpm, "the state of its TPM stays on this host")
            .why("what the guest sealed with it would be lost")
            .fix("move it while it runs")
    } else {
        Finding::ok(Check::Tpm, "a TPM emulator is there; its state moves with it")
    })
}

fn devices(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(devices) = &subject.document.devices else { return Vec::new() };
    let mut findings = Vec::new();
    if !devices.hostdev.is_empty() {
        let what = format!("it has {} of the host's own devices", devices.hostdev.len());
        findings.push(match subject.mode {
            MigrationMode::Live => Finding::refusal(Check::Devices, what).fix("detach them first"),
            MigrationMode::Offline => {
                Finding::warning(Check::Devices, what).why("the same addresses may be other devices there")
            }
        });
    }
    if !devices.filesystem.is_empty() {
        findings.push(
            Finding::unknown(Check::Devices, "it shares directories of this host")
                .why("nobody can see whether the destination has the same"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(Check::Devices, "none of its devices belongs to this host"));
    }
    findings
}

async fn records(subject: &Subject<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let (snapshots, checkpoints) = counts(subject.source, subject).await?;
    for (what, count, fix) in [
        ("snapshot", snapshots, "delete them first"),
        ("checkpoint", checkpoints, "delete them first; the next backup is a full one"),
    ] {
        if count > 0 {
            let s = if count == 1 { "" } else { "s" };
            let what = format!("it has {count} {what}{s}, which would be lost");
            findings.push(Finding::refusal(Check::Records, what).fix(fix));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(Check::Records, "there is nothing beside it that would be lost"));
    }
    Ok(findings)
}

async fn counts(host: &Host, subject: &Subject<'_>) -> Result<(usize, usize)> {
    let vm = &subject.vm.id;
    let snapshots = match host.hypervisor.snapshots() {
        Some(snapshots) => snapshots.list(vm).await?.len(),
        None => 0,
    };
    let checkpoints = match host.hypervisor.checkpoints() {
        Some(checkpoints) => checkpoints.list(vm).await?.len(),
        None => 0,
    };
    Ok((snapshots, checkpoints))
}

/// Room that a pool has, in words.
pub(super) fn free(bytes: Option<Bytes>) -> String {
    bytes.map_or_else(|| "an unknown amount".to_owned(), |bytes| bytes.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("9.2.10") < numbers("10.0.2"));
        assert!(numbers("10.0.2") < numbers("10.0.10"));
        assert_eq!(numbers("10.0"), numbers("10.0"));
    }
}
