//! The machine as a whole: what it is called, what it must have, how much memory it has.

use super::ProblemKind::{Ignored, Name, OutOfRange};
use super::Problems;
use crate::domain::{Domain, DomainMemory, MaxMemory, MemoryDeviceModel};
use crate::value::{Memory, Unit};

pub(super) fn check(domain: &Domain, problems: &mut Problems) {
    if domain.r#type.is_none() {
        problems.missing("type", "a domain has a type; kvm where the host has it, else qemu");
    }
    match domain.name.as_deref() {
        Some("." | "..") => {
            let message = "libvirt keeps files under this name, which cannot be a folder; choose another";
            problems.error("name", Name, message);
        }
        other => name(other, "machine", problems),
    }
    if domain.os.as_ref().is_none_or(|os| os.r#type.as_ref().is_none_or(|kind| kind.value.is_none())) {
        problems.missing("os.type", "it has to be said what kind of guest this is; mostly hvm");
    }
    memory(domain, problems);
}

/// Names that libvirt refuses, or stumbles over.
pub(super) fn name(name: Option<&str>, what: &str, problems: &mut Problems) {
    let mut error = |message: &str| problems.error("name", Name, message);
    match name {
        None | Some("") => problems.missing("name", format!("a {what} has a name")),
        Some(name) if name.contains('/') => error("libvirt allows no '/' in a name; leave it out"),
        Some(name) if name.contains('\n') => error("libvirt allows no line end in a name; leave it out"),
        Some(name) if name.chars().any(char::is_control) => {
            problems.warning("name", Name, "a control character in a name cannot be seen or typed; leave it out");
        }
        Some(name) if name.trim().is_empty() => {
            problems.warning("name", Name, "a name of white space cannot be seen; choose another");
        }
        Some(_) => {}
    }
}

fn memory(domain: &Domain, problems: &mut Problems) {
    let cells = domain.cpu.iter().filter_map(|cpu| cpu.numa.as_ref()).flat_map(|numa| &numa.cell);
    let cells = cells
        .filter_map(|cell| Some(cell.memory?.saturating_mul(cell.unit.unwrap_or(Memory::DEFAULT_UNIT).bytes())))
        .fold(0_u64, u64::saturating_add);
    let modules: Vec<_> = domain.devices.iter().flat_map(|devices| &devices.memory).collect();
    let in_modules = modules
        .iter()
        .filter_map(|module| module.target.as_ref()?.size.as_ref()?.bytes())
        .fold(0_u64, u64::saturating_add);
    let stated = domain.memory.as_ref().and_then(DomainMemory::bytes).filter(|bytes| *bytes > 0);
    // Where there are cells, libvirt counts them and the modules; else memory is all of it.
    let total = match (cells, stated) {
        (0, None) => return problems.missing("memory", "a machine has memory; say how much"),
        (0, Some(stated)) => stated,
        (cells, _) => cells.saturating_add(in_modules),
    };
    if cells > 0 && stated.is_some_and(|stated| stated != cells && stated != total) {
        let message = format!("the NUMA cells have {} in all, and they count; make them equal", kib(cells));
        problems.warning("memory", Ignored, message);
    }
    if domain.current_memory.as_ref().and_then(Memory::bytes).is_some_and(|current| current > total) {
        let message = format!("more than the {} that there are; libvirt makes it as much", kib(total));
        problems.warning("current_memory", OutOfRange, message);
    }
    if domain.max_memory.as_ref().and_then(MaxMemory::bytes).is_some_and(|most| most < total) {
        let message = format!("less than the {} that the machine begins with; raise it", kib(total));
        problems.error("max_memory", OutOfRange, message);
    }
    let in_slots = |model| matches!(model, Some(MemoryDeviceModel::Dimm | MemoryDeviceModel::Nvdimm));
    let slotted = modules.iter().filter(|module| in_slots(module.model)).count();
    match &domain.max_memory {
        None if slotted > 0 => {
            problems.missing("max_memory", "memory modules need maxMemory with slots for them; add it");
        }
        Some(MaxMemory { slots: Some(slots), .. }) if u64::try_from(slotted).is_ok_and(|n| n > u64::from(*slots)) => {
            problems.error("max_memory.slots", OutOfRange, format!("there are {slotted} memory modules; raise it"));
        }
        _ => {}
    }
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes / Unit::KiB.bytes())
}
