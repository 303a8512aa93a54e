//! Whether the target can run the machine.

use super::draft::Draft;
use super::policy::Placement;
use super::told::{Reason, Refusal, RewriteError, Warning};
use crate::domain::{Cpu, CpuModeName, Domain};
use crate::domain_capabilities::{CpuMode, DomainCapabilities, EnumValues, Usable};
use crate::value::YesNo;

pub(super) fn placement(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    if draft.policy.placement == Placement::Trust {
        return Ok(());
    }
    if let (Some(known), Some(machine)) = (draft.facts.machines, machine(draft.source))
        && !known.iter().any(|known| known == machine)
    {
        return refuse(
            "os.type.machine",
            format!("the target has no machine type '{machine}'"),
            "choose one that it has",
        );
    }
    let Some(capabilities) = draft.facts.capabilities else {
        if draft.is_elsewhere() {
            draft.warnings.push(Warning::Unchecked { path: "cpu".into() });
        }
        return Ok(());
    };
    kind(draft.source, capabilities)?;
    if let Some(cpu) = &draft.source.cpu {
        processor(draft, cpu, capabilities)?;
    }
    firmware(draft, capabilities)?;
    if let (Some(target), Some(devices), true) =
        (&capabilities.path, &mut draft.domain.devices, draft.facts.place == super::Place::OtherHost)
        && let Some(emulator) = &mut devices.emulator
    {
        emulator.clone_from(target);
        draft.record(Reason::Target);
    }
    Ok(())
}

fn refuse<T>(field: &str, problem: String, fix: &str) -> Result<T, RewriteError> {
    Err(RewriteError::new(Refusal::Unsupported, field, problem, fix))
}

fn machine(domain: &Domain) -> Option<&str> {
    domain.os.as_ref()?.r#type.as_ref()?.machine.as_deref()
}

/// Hypervisor, architecture, number of virtual CPUs.
fn kind(domain: &Domain, target: &DomainCapabilities) -> Result<(), RewriteError> {
    if let (Some(needed), Some(has)) = (domain.r#type, &target.domain)
        && needed.as_str() != has
    {
        let fix = "enable it on the target, or change the type";
        return refuse("type", format!("the machine needs {needed}, and the target offers {has}"), fix);
    }
    let arch = domain.os.as_ref().and_then(|os| os.r#type.as_ref()?.arch);
    if let (Some(needed), Some(has)) = (arch, &target.arch)
        && needed.as_str() != has
    {
        let problem = format!("the machine is {needed}, and the target runs {has}");
        return refuse("os.type.arch", problem, "choose a target with this architecture");
    }
    let most = target.vcpu.as_ref().and_then(|vcpu| vcpu.max);
    let needed = domain.vcpu.as_ref().and_then(|vcpu| vcpu.value).map(u32::from);
    match (needed, most) {
        (Some(needed), Some(most)) if needed > most => refuse(
            "vcpu.value",
            format!("{needed} virtual CPUs are more than the target's {most}"),
            "give the machine fewer",
        ),
        _ => Ok(()),
    }
}

fn processor(draft: &mut Draft<'_, '_>, cpu: &Cpu, target: &DomainCapabilities) -> Result<(), RewriteError> {
    let Some(modes) = target.cpu.as_ref().map(|cpu| &cpu.mode).filter(|modes| !modes.is_empty()) else { return Ok(()) };
    let name = match cpu.mode {
        Some(name) => name,
        None if cpu.model.is_some() => CpuModeName::Custom,
        None => return Ok(()),
    };
    let mode = modes.iter().find(|mode| mode.name == Some(name) && mode.supported != Some(YesNo::No));
    let Some(mode) = mode else {
        return refuse("cpu.mode", format!("the target does not support the CPU mode '{name}'"), "choose another mode");
    };
    match name {
        CpuModeName::Custom => model(cpu, mode),
        CpuModeName::HostPassthrough | CpuModeName::HostModel | CpuModeName::Maximum => {
            if draft.is_elsewhere() {
                draft.warnings.push(Warning::HostCpu { path: "cpu.mode".into() });
            }
            Ok(())
        }
    }
}

fn model(cpu: &Cpu, mode: &CpuMode) -> Result<(), RewriteError> {
    let Some(needed) = cpu.model.as_ref().and_then(|model| model.value.as_deref()) else { return Ok(()) };
    let fix = "choose a model that the target can run";
    let Some(known) = mode.model.iter().find(|model| model.value.as_deref() == Some(needed)) else {
        return refuse("cpu.model.value", format!("the target does not know the CPU model '{needed}'"), fix);
    };
    if known.usable != Some(Usable::No) {
        return Ok(());
    }
    let blockers = mode.blockers.iter().filter(|blockers| blockers.model.as_deref() == Some(needed));
    let missing: Vec<&str> =
        blockers.flat_map(|blockers| &blockers.feature).filter_map(|feature| feature.name.as_deref()).collect();
    let missing = if missing.is_empty() { String::new() } else { format!(" (it has not {})", missing.join(", ")) };
    refuse("cpu.model.value", format!("the target cannot run the CPU model '{needed}'{missing}"), fix)
}

/// The firmware, which libvirt can choose itself when the document says what kind it shall be.
fn firmware(draft: &mut Draft<'_, '_>, target: &DomainCapabilities) -> Result<(), RewriteError> {
    let (Some(os), Some(offered)) = (&mut draft.domain.os, &target.os) else { return Ok(()) };
    let chosen = os.firmware.is_some();
    if let (Some(firmware), Some(kinds)) = (os.firmware, values(&offered.r#enum, "firmware"))
        && !kinds.iter().any(|kind| kind == firmware.as_str())
    {
        let fix = "install it there, or name a loader";
        return refuse("os.firmware", format!("the target has no firmware of the kind '{firmware}'"), fix);
    }
    let (Some(loader), Some(images)) = (&mut os.loader, &offered.loader) else { return Ok(()) };
    if let (Some(kind), Some(kinds)) = (loader.r#type, values(&images.r#enum, "type"))
        && !kinds.iter().any(|known| known == kind.as_str())
    {
        return refuse("os.loader.type", format!("the target cannot load firmware by {kind}"), "choose another loader");
    }
    if let (Some(YesNo::Yes), Some(kinds)) = (loader.secure, values(&images.r#enum, "secure"))
        && !kinds.iter().any(|known| known == "yes")
    {
        return refuse("os.loader.secure", "the target has no secure boot".into(), "install such a firmware there");
    }
    let Some(image) = loader.value.clone() else { return Ok(()) };
    if images.value.contains(&image) || (draft.facts.file_exists)(&image) {
        return Ok(());
    }
    if !chosen {
        let fix = "install it there, or let libvirt choose with firmware='efi'";
        return refuse("os.loader.value", format!("the target has no firmware {image}"), fix);
    }
    loader.value = None;
    if let Some(nvram) = &mut os.nvram {
        nvram.template = None;
    }
    draft.record(Reason::Target);
    Ok(())
}

fn values<'a>(lists: &'a [EnumValues], name: &str) -> Option<&'a [String]> {
    lists.iter().find(|list| list.name.as_deref() == Some(name)).map(|list| list.value.as_slice())
}
