//! `kvmctl pool autostart`.

use kvm_core::{Autostart, Result};

use super::{Changed, One};
use crate::session::Session;

/// Arguments of `pool autostart`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl pool autostart default\n  kvmctl pool autostart scratch --off",
    after_long_help = "Library: kvm_core::Storage::set_pool_autostart"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
    /// Do not start it any more.
    #[arg(long)]
    off: bool,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let pool = args.one.pool;
    let autostart = if args.off { Autostart::Off } else { Autostart::On };
    session.host().await?.host.storage.set_pool_autostart(&pool, autostart).await?;
    Ok(Changed { pool, action: crate::text::autostart(autostart) })
}
