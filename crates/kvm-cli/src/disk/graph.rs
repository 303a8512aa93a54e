//! `kvmctl disk graph`.

use kvm_core::{PoolName, Result};
use kvm_image::graph::Graph;
use serde::Serialize;

use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::{VmArg, find};

/// Arguments of `disk graph`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk graph\n  kvmctl disk graph web\n  kvmctl disk graph --dot | dot -Tsvg > disks.svg",
    after_long_help = "An image stands above what it lies upon, with everybody who uses it: disks, snapshots, checkpoints, copies \
        under way, and definitions that name it elsewhere. With a VM, only what is connected with its images.\n\n\
        Headers of images are read where the host's files can be read; else what its pools say counts.\n\n\
        Library: kvm_vm::disk_graph, kvm_image::graph"
)]
pub struct Args {
    /// Name or uuid of a VM; HOST/NAME for a VM of another host.
    #[arg(value_name = "NAME", add = clap_complete::engine::ArgValueCandidates::new(crate::completion::vm_names))]
    vm: Option<VmArg>,
    /// Print it in the language of Graphviz.
    #[arg(long)]
    dot: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    graph: Graph,
    inactive_pools: Vec<PoolName>,
    #[serde(skip)]
    dot: bool,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Shown> {
    let (connection, vm) = match &args.vm {
        Some(vm) => {
            let (connection, vm) = find(session, vm).await?;
            (connection, Some(vm))
        }
        None => (session.host().await?, None),
    };
    let found = kvm_vm::disk_graph(&connection.host).await?;
    let graph = match vm {
        Some(vm) => found.graph().around(vm.name.as_str()),
        None => found.graph().clone(),
    };
    let inactive_pools = found.inactive().iter().map(|pool| pool.name.clone()).collect();
    Ok(Shown { graph, inactive_pools, dot: args.dot })
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        if self.dot {
            page.block(self.graph.to_dot());
            return;
        }
        match self.graph.images().is_empty() {
            true => page.line("no images"),
            false => page.block(self.graph.to_text()),
        }
        for pool in &self.inactive_pools {
            page.line(format_args!("pool {pool} is not active: its volumes are not shown"));
        }
    }
}
