//! `kvmctl net start`.

use kvm_core::Result;

use super::{Changed, One};
use crate::session::Session;

/// Arguments of `net start`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  kvmctl net start default", after_long_help = "Library: kvm_core::Networks::start")]
pub struct Args {
    #[command(flatten)]
    one: One,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let network = args.one.network;
    session.host().await?.host.networks.start(&network).await?;
    Ok(Changed { network, action: "started" })
}
