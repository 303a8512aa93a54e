//! `kvmctl guest thaw`.

use kvm_core::Result;
use serde::Serialize;

use super::agent;
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `guest thaw`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest thaw web\n  kvmctl guest thaw lab/web",
    after_long_help = "Right at any time: file systems that do not stand still stay as they are.\n\n\
        Library: kvm_vm::guest::Agent::thaw"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Thawed {
    name: String,
    id: String,
    file_systems: u64,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Thawed> {
    let (agent, vm) = agent(&args.vm, session).await?;
    let file_systems = agent.thaw().await?;
    Ok(Thawed { id: vm.id.to_string(), name: vm.name.into(), file_systems })
}

impl Outcome for Thawed {
    fn text(&self, page: &mut Page<'_>) {
        match self.file_systems {
            0 => page.done(format_args!("no file system of {} stood still", self.name)),
            n => page.done(format_args!("file systems of {} go on ({n})", self.name)),
        }
    }
}
