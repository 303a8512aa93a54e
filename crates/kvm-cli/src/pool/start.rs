//! `kvmctl pool start`.

use kvm_core::Result;

use super::{Changed, One};
use crate::session::Session;

/// Arguments of `pool start`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl pool start images",
    after_long_help = "Library: kvm_core::Storage::start_pool"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let pool = args.one.pool;
    session.host().await?.host.storage.start_pool(&pool).await?;
    Ok(Changed { pool, action: "started" })
}
