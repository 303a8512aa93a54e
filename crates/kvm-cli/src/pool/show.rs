//! `kvmctl pool show`.

use kvm_core::{PoolInfo, Result};
use serde::Serialize;

use super::One;
use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `pool show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl pool show images",
    after_long_help = "Library: kvm_core::Storage::find_pool, ::volumes"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    pool: PoolInfo,
    /// Not known while the pool is stopped.
    volumes: Option<usize>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Shown> {
    let connection = session.host().await?;
    let storage = &connection.host.storage;
    let pool = storage.find_pool(&args.one.pool).await?;
    let volumes = if pool.active { Some(storage.volumes(&pool.name).await?.len()) } else { None };
    Ok(Shown { pool, volumes })
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let pool = &self.pool;
        let yes_no = |is: bool| Some(if is { "yes" } else { "no" }.to_owned());
        page.fields(&[
            ("name", Some(pool.name.as_str().to_owned())),
            ("state", Some(super::list::state(pool.active).to_owned())),
            ("type", Some(pool.kind.clone())),
            ("target", pool.target.as_ref().map(|t| t.as_str().to_owned())),
            ("capacity", pool.capacity.map(|b| b.to_string())),
            ("used", pool.allocation.map(|b| b.to_string())),
            ("free", pool.available.map(|b| b.to_string())),
            ("volumes", self.volumes.map(|n| n.to_string())),
            ("autostart", yes_no(pool.autostart)),
            ("persistent", yes_no(pool.persistent)),
        ]);
    }
}
