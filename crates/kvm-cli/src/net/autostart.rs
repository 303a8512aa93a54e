//! `kvmctl net autostart`.

use kvm_core::{Autostart, Result};

use super::{Changed, One};
use crate::session::Session;

/// Arguments of `net autostart`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net autostart default\n  kvmctl net autostart lab --off",
    after_long_help = "Library: kvm_core::Networks::set_autostart"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
    /// Do not start it any more.
    #[arg(long)]
    off: bool,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let network = args.one.network;
    let autostart = if args.off { Autostart::Off } else { Autostart::On };
    session.host().await?.host.networks.set_autostart(&network, autostart).await?;
    Ok(Changed { network, action: crate::text::autostart(autostart) })
}
