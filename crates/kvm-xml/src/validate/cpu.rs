//! Virtual CPUs, NUMA cells, pinning and I/O threads.

use super::ProblemKind::{Conflict, Duplicate, Ignored, OutOfRange, Undefined};
use super::Problems;
use super::look::{self, Owners};
use crate::domain::{Cputune, Domain, NumaCell};
use crate::value::CpuSet;
use std::ops::RangeInclusive;

pub(super) fn check(domain: &Domain, problems: &mut Problems) {
    let most = domain.vcpu.as_ref().and_then(|vcpu| vcpu.value).unwrap_or(1);
    if let Some(current) = domain.vcpu.as_ref().and_then(|vcpu| vcpu.current)
        && current > most
    {
        let message = format!("more than the {most} that the machine can have; lower it, or raise vcpu");
        problems.error("vcpu.current", OutOfRange, message);
    }
    for state in domain.vcpus.iter().flat_map(|vcpus| &vcpus.vcpu) {
        if let Some(id) = state.id.filter(|id| *id >= u32::from(most)) {
            problems.error(format!("vcpus.vcpu[{id}]"), OutOfRange, beyond(most));
        }
    }
    topology(domain, most, problems);
    features(domain, problems);
    numa(domain, most, problems);
    iothreads(domain, problems);
    if let Some(tune) = &domain.cputune {
        pinning(tune, most, problems);
        iothread_pinning(domain, tune, problems);
    }
}

fn beyond(most: u16) -> String {
    format!("the machine's CPUs are 0 to {}; take it out, or raise vcpu", most - 1)
}

fn topology(domain: &Domain, most: u16, problems: &mut Problems) {
    let Some(topology) = domain.cpu.as_ref().and_then(|cpu| cpu.topology.as_ref()) else { return };
    let parts = [topology.sockets, topology.dies, topology.clusters, topology.cores, topology.threads];
    let product = parts.iter().fold(1_u64, |product, part| product.saturating_mul(part.unwrap_or(1).into()));
    if product != u64::from(most) {
        let message = format!("it has {product} CPUs, the machine {most}; make them equal");
        problems.error("cpu.topology", Conflict, message);
    }
}

fn features(domain: &Domain, problems: &mut Problems) {
    let mut owners = Owners::new();
    for name in domain.cpu.iter().flat_map(|cpu| &cpu.feature).filter_map(|feature| feature.name.as_deref()) {
        let path = format!("cpu.feature[{name}]");
        if owners.take(name, &path).is_some() {
            problems.error(path, Duplicate, "it is there twice; keep one");
        }
    }
}

fn numa(domain: &Domain, most: u16, problems: &mut Problems) {
    let cells: &[NumaCell] =
        domain.cpu.as_ref().and_then(|cpu| cpu.numa.as_ref()).map_or(&[], |numa| numa.cell.as_slice());
    let mut ids = Owners::new();
    let mut sets = Vec::new();
    for (position, cell) in cells.iter().enumerate() {
        let id = cell.id.unwrap_or(u32::try_from(position).unwrap_or(u32::MAX));
        let path = format!("cpu.numa.cell[{id}]");
        if ids.take(id, &path).is_some() {
            problems.error(&path, Duplicate, "another cell has this id; number them from 0");
        } else if usize::try_from(id).is_ok_and(|id| id >= cells.len()) {
            problems.error(&path, OutOfRange, "the ids of cells have no gaps; number them from 0");
        }
        sets.extend(cell.cpus.as_ref().map(|cpus| (format!("{path}.cpus"), cpus)));
    }
    for (path, cpu, owner) in overlaps(&sets) {
        problems.error(path, Duplicate, format!("CPU {cpu} is in {owner} too; leave it in one"));
    }
    let ranges = || sets.iter().flat_map(|(_, set)| set.ranges());
    let inside: u64 = ranges().map(|range| u64::from(*range.end()) + 1 - u64::from(*range.start())).sum();
    if ranges().any(|range| *range.end() >= u32::from(most)) {
        problems.error("cpu.numa", OutOfRange, beyond(most));
    } else if inside < u64::from(most) && !cells.is_empty() {
        let message = format!("{} of the machine's CPUs are in no cell; give them one", u64::from(most) - inside);
        problems.warning("cpu.numa", OutOfRange, message);
    }
    for node in domain.numatune.iter().flat_map(|tune| &tune.memnode) {
        if let Some(id) = node.cellid.filter(|id| usize::try_from(*id).is_ok_and(|id| id >= cells.len())) {
            problems.error(format!("numatune.memnode[{id}]"), Undefined, format!("there is no NUMA cell {id}; add it"));
        }
    }
    for (position, module) in domain.devices.iter().flat_map(|devices| &devices.memory).enumerate() {
        let node = module.target.as_ref().and_then(|target| target.node);
        if let Some(id) = node.filter(|id| usize::try_from(*id).is_ok_and(|id| id >= cells.len())) {
            let path = format!("devices.memory[{position}].target.node");
            problems.error(path, Undefined, format!("there is no NUMA cell {id}; add it"));
        }
    }
}

fn pinning(tune: &Cputune, most: u16, problems: &mut Problems) {
    let mut owners = Owners::new();
    for vcpu in tune.vcpupin.iter().filter_map(|pin| pin.vcpu) {
        let path = format!("cputune.vcpupin[{vcpu}]");
        if vcpu >= most {
            problems.warning(path, Ignored, beyond(most));
        } else if owners.take(vcpu, &path).is_some() {
            problems.error(path, Duplicate, "this CPU is pinned twice; keep one");
        }
    }
    let scheduled = tune.vcpusched.iter().filter_map(|sched| sched.vcpus.as_ref());
    schedulers("vcpusched", scheduled, |cpus| *cpus.end() < u32::from(most), &beyond(most), problems);
}

fn iothreads(domain: &Domain, problems: &mut Problems) {
    let mut owners = Owners::new();
    for id in domain.iothreadids.iter().flat_map(|ids| &ids.iothread).filter_map(|thread| thread.id) {
        let path = format!("iothreadids.iothread[{id}]");
        if id == 0 {
            problems.error(path, OutOfRange, "I/O threads are numbered from 1; choose another number");
        } else if owners.take(id, &path).is_some() {
            problems.error(path, Duplicate, format!("another has this number; {} is free", domain.free_iothread()));
        }
    }
    let disks = domain.disks().iter().enumerate().filter_map(|(position, disk)| {
        let driver = disk.driver.as_ref()?;
        Some((look::path("disk", disk, position), driver.iothread, &driver.iothreads))
    });
    let controllers = domain.devices.iter().flat_map(|devices| &devices.controller).enumerate();
    let controllers = controllers.filter_map(|(position, controller)| {
        let driver = controller.driver.as_ref()?;
        Some((look::path("controller", controller, position), driver.iothread, &driver.iothreads))
    });
    for (path, one, several) in disks.chain(controllers) {
        let several = several.iter().flat_map(|threads| &threads.iothread).filter_map(|thread| thread.id);
        for id in one.into_iter().chain(several).filter(|id| !domain.has_iothread(*id)) {
            let message = format!("there is no I/O thread {id}; add it to iothreads");
            problems.error(format!("{path}.driver.iothread"), Undefined, message);
        }
    }
}

fn iothread_pinning(domain: &Domain, tune: &Cputune, problems: &mut Problems) {
    let mut owners = Owners::new();
    for id in tune.iothreadpin.iter().filter_map(|pin| pin.iothread) {
        let path = format!("cputune.iothreadpin[{id}]");
        if !domain.has_iothread(id) {
            problems.error(path, Undefined, format!("there is no I/O thread {id}; add it to iothreads"));
        } else if owners.take(id, &path).is_some() {
            problems.error(path, Duplicate, "this I/O thread is pinned twice; keep one");
        }
    }
    let scheduled = tune.iothreadsched.iter().filter_map(|sched| sched.iothreads.as_ref());
    let message = "the machine has not all of these I/O threads; add them to iothreads, or take them out";
    // All threads below the lowest free number are there.
    let free = domain.free_iothread();
    let are_there = |ids: &RangeInclusive<u32>| {
        let mut above = free.max(*ids.start())..=*ids.end();
        *ids.start() > 0 && above.all(|id| domain.has_iothread(id))
    };
    schedulers("iothreadsched", scheduled, are_there, message, problems);
}

/// Checks sets of which each number may be in one only.
fn schedulers<'a>(
    name: &str,
    sets: impl Iterator<Item = &'a CpuSet>,
    are_there: impl Fn(&RangeInclusive<u32>) -> bool,
    absent: &str,
    problems: &mut Problems,
) {
    let sets: Vec<_> = sets.map(|set| (format!("cputune.{name}[{set}]"), set)).collect();
    for (path, set) in &sets {
        if !set.ranges().iter().all(&are_there) {
            problems.error(path, Undefined, absent);
        }
    }
    for (path, number, owner) in overlaps(&sets) {
        problems.error(path, Duplicate, format!("{number} is in {owner} too; leave it in one"));
    }
}

/// Sets that have a number in common with one before: the path, the number, the path of the other.
fn overlaps<'a>(sets: &'a [(String, &CpuSet)]) -> Vec<(&'a str, u32, &'a str)> {
    let ranges = sets.iter().enumerate();
    let mut ranges: Vec<_> = ranges
        .flat_map(|(set, (path, cpus))| {
            cpus.ranges().into_iter().map(move |range| (*range.start(), *range.end(), set, path.as_str()))
        })
        .collect();
    ranges.sort_unstable();
    let mut found = Vec::new();
    let mut last: Option<(u32, u32, usize, &str)> = None;
    for range in ranges {
        if let Some(other) = last.filter(|other| other.1 >= range.0) {
            let (first, second) = if other.2 < range.2 { (other.3, range.3) } else { (range.3, other.3) };
            found.push((second, range.0, first));
        }
        last = last.filter(|other| other.1 >= range.1).or(Some(range));
    }
    found
}
