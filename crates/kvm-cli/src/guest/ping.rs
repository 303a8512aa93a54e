//! `kvmctl guest ping`.

use kvm_core::Result;
use serde::Serialize;

use super::agent;
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `guest ping`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest ping web\n  kvmctl guest ping lab/web && echo up",
    after_long_help = "Library: kvm_vm::guest::Agent::ping"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Answers {
    name: String,
    id: String,
    answers: bool,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Answers> {
    let (agent, vm) = agent(&args.vm, session).await?;
    agent.ping().await?;
    Ok(Answers { id: vm.id.to_string(), name: vm.name.into(), answers: true })
}

impl Outcome for Answers {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("the guest agent of {} answers", self.name));
    }
}
