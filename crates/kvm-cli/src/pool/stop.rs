//! `kvmctl pool stop`.

use kvm_core::Result;

use super::{Changed, One};
use crate::session::Session;

/// Arguments of `pool stop`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl pool stop images",
    after_long_help = "Library: kvm_core::Storage::stop_pool"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let pool = args.one.pool;
    session.host().await?.host.storage.stop_pool(&pool).await?;
    Ok(Changed { pool, action: "stopped" })
}
