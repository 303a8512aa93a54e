//! `kvmctl pool refresh`.

use kvm_core::Result;

use super::{Changed, One};
use crate::session::Session;

/// Arguments of `pool refresh`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl pool refresh images",
    after_long_help = "Library: kvm_core::Storage::refresh_pool"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let pool = args.one.pool;
    session.host().await?.host.storage.refresh_pool(&pool).await?;
    Ok(Changed { pool, action: "refreshed" })
}
