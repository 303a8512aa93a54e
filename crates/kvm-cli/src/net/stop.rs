//! `kvmctl net stop`.

use kvm_core::Result;

use super::{Changed, One};
use crate::session::Session;

/// Arguments of `net stop`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  kvmctl net stop default", after_long_help = "Library: kvm_core::Networks::stop")]
pub struct Args {
    #[command(flatten)]
    one: One,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let network = args.one.network;
    session.host().await?.host.networks.stop(&network).await?;
    Ok(Changed { network, action: "stopped" })
}
