//! `kvmctl vm set`.

use std::time::Duration;

use kvm_core::{
    Bytes, CpuLimits, CpuPeriod, CpuQuota, CpuShares, Error, Impact, MemoryPlacement, Result, VcpuCount, VmThread,
};
use kvm_vm::{DETACH_TIMEOUT, NumaCell, NumaMode, NumaNodes, Resources};
use kvm_xml::value::CpuSet;
use serde::Serialize;

use crate::args::one_of;
use crate::device::{Reach, when};
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm set`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm set web --vcpus 4\n  kvmctl vm set web --memory 6G --only live\n  \
        kvmctl vm set db --vcpu-pin 0=2-3 --vcpu-pin 1=2-3 --emulator-pin 0\n  kvmctl vm set ci --cpu-shares 256 --cpu-quota 50ms\n  \
        kvmctl vm set db --numa-nodes 0-1 --numa-mode interleave --only config",
    after_long_help = "Virtual CPUs and memory stay within what the definition has at most: that changes with vm edit, at the next start. A \
        running guest is waited for when it has to give up a virtual CPU; memory goes through its balloon, which takes its time.\n\n\
        CPUS are CPUs of the host, such as 0-3, 8 or 0-7,^2. Shares are a weight against other VMs. The quota is what each virtual CPU \
        may use in each period: with a period of 100ms, a quota of 50ms is half a CPU.\n\n\
        The nodes are NUMA nodes of the host (kvmctl host show). While the VM runs, they change where its memory is restrictive, and the mode \
        and the cells of the VM with --only config, from its next start. Cells have every virtual CPU once and all memory together.\n\n\
        Library: kvm_vm::set_resources"
)]
#[group(
    required = true,
    multiple = true,
    args = ["vcpus", "memory", "vcpu_pin", "emulator_pin", "iothread_pin", "cpu_shares", "cpu_period", "cpu_quota", "numa", "numa_nodes", "numa_mode"]
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Virtual CPUs that are plugged in.
    #[arg(long, value_name = "N", value_parser = VcpuCount::parse)]
    vcpus: Option<VcpuCount>,
    /// Memory; without a unit in MiB.
    #[arg(short, long, value_name = "SIZE", value_parser = kvm_core::parse_memory)]
    memory: Option<Bytes>,
    /// CPUs of the host that a virtual CPU may run on; may be repeated.
    #[arg(long, value_name = "N=CPUS", value_parser = numbered)]
    vcpu_pin: Vec<(u32, CpuSet)>,
    /// CPUs of the host that the hypervisor's own threads may run on.
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    emulator_pin: Option<CpuSet>,
    /// CPUs of the host that an I/O thread may run on; may be repeated.
    #[arg(long, value_name = "N=CPUS", value_parser = numbered)]
    iothread_pin: Vec<(u32, CpuSet)>,
    /// Weight against other VMs, 1 to 262144.
    #[arg(long, value_name = "N", value_parser = CpuShares::parse)]
    cpu_shares: Option<CpuShares>,
    /// Over which time the quota counts, 1ms to 1s.
    #[arg(long, value_name = "TIME", value_parser = CpuPeriod::parse)]
    cpu_period: Option<CpuPeriod>,
    /// What each virtual CPU may use in each period, such as 50ms; or none.
    #[arg(long, value_name = "TIME", value_parser = CpuQuota::parse)]
    cpu_quota: Option<CpuQuota>,
    /// A NUMA cell of the VM, in place of those that it has: cpus=0-3,memory=4G; may be repeated.
    #[arg(long, value_name = "CELL")]
    numa: Vec<NumaCell>,
    /// NUMA nodes of the host that memory comes from, such as 0-1.
    #[arg(long, value_name = "NODES")]
    numa_nodes: Option<NumaNodes>,
    /// How strictly memory comes from these nodes.
    #[arg(long, value_parser = one_of!(NumaMode))]
    numa_mode: Option<NumaMode>,
    #[command(flatten)]
    reach: Reach,
    /// How long a running guest has to change its virtual CPUs, such as 90s or 5m [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
}

fn cpus(text: &str) -> Result<CpuSet> {
    text.parse().map_err(|_| Error::invalid("cpus", "CPUs are written as 0-3, 8 or 0-7,^2"))
}

fn numbered(text: &str) -> Result<(u32, CpuSet)> {
    let parts = text.split_once('=').and_then(|(number, set)| Some((number.parse().ok()?, set)));
    let (number, set) = parts.ok_or_else(|| Error::invalid("pin", "is written as N=CPUS, such as 0=2-3"))?;
    Ok((number, cpus(set)?))
}

#[derive(Debug, Serialize)]
pub(super) struct Set {
    name: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcpus: Option<VcpuCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<Bytes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pins: Vec<Pin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_shares: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_period: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_quota: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    numa: Vec<Cell>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numa_nodes: Option<NumaNodes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numa_mode: Option<NumaMode>,
    documents: Impact,
}

#[derive(Debug, Serialize)]
struct Cell {
    cpus: String,
    memory_bytes: Bytes,
}

#[derive(Debug, Serialize)]
struct Pin {
    thread: VmThread,
    cpus: String,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Set> {
    let (connection, vm) = args.vm.find(session).await?;
    let vcpus = args.vcpu_pin.into_iter().map(|(number, set)| (VmThread::Vcpu(number), set));
    let emulator = args.emulator_pin.map(|set| (VmThread::Emulator, set));
    let iothreads = args.iothread_pin.into_iter().map(|(number, set)| (VmThread::IoThread(number), set));
    let limits = CpuLimits { shares: args.cpu_shares, period: args.cpu_period, quota: args.cpu_quota };
    let pins = vcpus.chain(emulator).chain(iothreads).collect();
    let placement = MemoryPlacement {
        nodes: args.numa_nodes.as_ref().map(|nodes| nodes.as_set().clone()),
        mode: args.numa_mode.map(Into::into),
    };
    let wanted = Resources { vcpus: args.vcpus, memory: args.memory, pins, limits, placement, cells: args.numa };
    let (impact, timeout) = (args.reach.impact(), args.timeout.unwrap_or(DETACH_TIMEOUT));
    let documents = kvm_vm::set_resources(&connection.host, &vm, &wanted, impact, timeout, &*session.clock).await?;
    Ok(Set {
        id: vm.id.to_string(),
        name: vm.name.into(),
        vcpus: wanted.vcpus,
        memory_bytes: wanted.memory,
        pins: wanted.pins.iter().map(|(thread, set)| Pin { thread: *thread, cpus: set.as_str().to_owned() }).collect(),
        cpu_shares: limits.shares.map(CpuShares::get),
        cpu_period: limits.period.map(|period| period.to_string()),
        cpu_quota: limits.quota.map(|quota| quota.to_string()),
        numa: wanted.cells.iter().map(|c| Cell { cpus: c.cpus.as_str().to_owned(), memory_bytes: c.memory }).collect(),
        numa_nodes: args.numa_nodes,
        numa_mode: args.numa_mode,
        documents,
    })
}

impl Outcome for Set {
    fn text(&self, page: &mut Page<'_>) {
        let when = when(self.documents);
        let vcpus = self.vcpus.map(|vcpus| match vcpus.get() {
            1 => "1 virtual CPU".to_owned(),
            n => format!("{n} virtual CPUs"),
        });
        let memory = self.memory_bytes.map(|memory| format!("{memory} of memory"));
        let what: Vec<_> = [vcpus, memory].into_iter().flatten().collect();
        if !what.is_empty() {
            page.done(format_args!("{} has {}{when}", self.name, what.join(" and ")));
        }
        for Pin { thread, cpus } in &self.pins {
            page.done(format_args!("{thread} of {} runs on CPUs {cpus}{when}", self.name));
        }
        let shares = self.cpu_shares.map(|shares| format!("{shares} shares"));
        let period = self.cpu_period.as_ref().map(|period| format!("a period of {period}"));
        let quota = self.cpu_quota.as_ref().map(|quota| match quota.as_str() {
            "none" => "no quota".to_owned(),
            quota => format!("a quota of {quota}"),
        });
        let limits: Vec<_> = [shares, period, quota].into_iter().flatten().collect();
        if !limits.is_empty() {
            page.done(format_args!("CPU time of {}: {}{when}", self.name, limits.join(", ")));
        }
        let cells: Vec<_> = self.numa.iter().map(|c| format!("CPUs {} with {}", c.cpus, c.memory_bytes)).collect();
        if !cells.is_empty() {
            page.done(format_args!("NUMA cells of {}: {}{when}", self.name, cells.join(", ")));
        }
        let nodes = self.numa_nodes.as_ref().map(|nodes| format!("nodes {nodes}"));
        let placed: Vec<_> = nodes.into_iter().chain(self.numa_mode.map(|mode| mode.to_string())).collect();
        if !placed.is_empty() {
            page.done(format_args!("memory of {}: {}{when}", self.name, placed.join(", ")));
        }
    }
}
