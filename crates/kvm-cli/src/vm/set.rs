//! `kvmctl vm set`.

use std::time::Duration;

use kvm_core::{Bytes, Impact, Result, VcpuCount};
use kvm_vm::{DETACH_TIMEOUT, Resources};
use serde::Serialize;

use crate::device::{Reach, when};
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm set`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm set web --vcpus 4\n  kvmctl vm set web --memory 6G --only live",
    after_long_help = "Both stay within what the definition has at most: that changes with vm edit, at the next start. A running guest \
        is waited for when it has to give up a virtual CPU; memory goes through its balloon, which takes its time.\n\n\
        Library: kvm_vm::set_resources"
)]
#[group(required = true, multiple = true, args = ["vcpus", "memory"])]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Virtual CPUs that are plugged in.
    #[arg(long, value_name = "N", value_parser = VcpuCount::parse)]
    vcpus: Option<VcpuCount>,
    /// Memory; without a unit in MiB.
    #[arg(short, long, value_name = "SIZE", value_parser = kvm_core::parse_memory)]
    memory: Option<Bytes>,
    #[command(flatten)]
    reach: Reach,
    /// How long a running guest has to change its virtual CPUs, such as 90s or 5m [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
}

#[derive(Debug, Serialize)]
pub(super) struct Set {
    name: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcpus: Option<VcpuCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<Bytes>,
    documents: Impact,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Set> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = Resources { vcpus: args.vcpus, memory: args.memory };
    let (impact, timeout) = (args.reach.impact(), args.timeout.unwrap_or(DETACH_TIMEOUT));
    let documents = kvm_vm::set_resources(&connection.host, &vm, wanted, impact, timeout, &*session.clock).await?;
    let id = vm.id.to_string();
    Ok(Set { name: vm.name.into(), id, vcpus: args.vcpus, memory_bytes: args.memory, documents })
}

impl Outcome for Set {
    fn text(&self, page: &mut Page<'_>) {
        let vcpus = self.vcpus.map(|vcpus| match vcpus.get() {
            1 => "1 virtual CPU".to_owned(),
            n => format!("{n} virtual CPUs"),
        });
        let memory = self.memory_bytes.map(|memory| format!("{memory} of memory"));
        let what: Vec<_> = [vcpus, memory].into_iter().flatten().collect();
        page.done(format_args!("{} has {}{}", self.name, what.join(" and "), when(self.documents)));
    }
}
