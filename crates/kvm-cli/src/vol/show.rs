//! `kvmctl vol show`.

use kvm_core::{Result, VolumeInfo};
use kvm_vm::VolumeRef;
use serde::Serialize;

use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `vol show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl vol show default/web.qcow2",
    after_long_help = "Library: kvm_core::Storage::find_volume"
)]
pub struct Args {
    /// Pool and name.
    #[arg(value_name = "POOL/VOLUME")]
    volume: VolumeRef,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown(VolumeInfo);

pub(super) async fn run(args: Args, session: &Session) -> Result<Shown> {
    let connection = session.host().await?;
    connection.host.storage.find_volume(&args.volume.pool, &args.volume.volume).await.map(Shown)
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let volume = &self.0;
        page.fields(&[
            ("name", Some(volume.name.as_str().to_owned())),
            ("pool", Some(volume.pool.as_str().to_owned())),
            ("path", Some(volume.path.as_str().to_owned())),
            ("format", volume.format.clone()),
            ("capacity", Some(volume.capacity.to_string())),
            ("on disk", Some(volume.allocation.to_string())),
            ("backing file", volume.backing.as_ref().map(|b| b.as_str().to_owned())),
        ]);
    }
}
