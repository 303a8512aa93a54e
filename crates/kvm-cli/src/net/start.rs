//! `kvmctl net start`.

use kvm_core::{NetworkName, Result};
use kvm_vm::Unplugged;
use serde::Serialize;

use super::One;
use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `net start`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl net start default",
    after_long_help = "Guests that ran on while the network was stopped are plugged in again. Where the host's own network devices are not \
        reached (a target that is no SSH login), what they need is said.\n\n\
        Library: kvm_vm::start_network"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

/// A network that was started, and the guests that had lost their link.
#[derive(Debug, Serialize)]
pub(super) struct Started {
    network: NetworkName,
    action: &'static str,
    guests: Vec<Unplugged>,
}

impl Outcome for Started {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("network {} {}", self.network, self.action));
        for Unplugged { vm, device, trouble, .. } in &self.guests {
            match trouble {
                None => page.line(format_args!("  {vm}: {device} is plugged in again")),
                Some(why) => {
                    page.line(format_args!("  {vm}: {device} has no link until the VM is power-cycled: {why}"))
                }
            }
        }
    }
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Started> {
    let network = args.one.network;
    let guests = kvm_vm::start_network(&session.host().await?.host, &network).await?;
    Ok(Started { network, action: "started", guests })
}
