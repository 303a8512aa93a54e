//! `kvmctl vol show`.

use kvm_core::Result;
use kvm_vm::{Below, VolumeDetails, VolumeRef};
use serde::Serialize;

use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `vol show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl vol show default/web.qcow2",
    after_long_help = "Library: kvm_vm::volume_details"
)]
pub struct Args {
    /// Pool and name.
    #[arg(value_name = "POOL/VOLUME")]
    volume: VolumeRef,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown(VolumeDetails);

pub(super) async fn run(args: Args, session: &Session) -> Result<Shown> {
    let connection = session.host().await?;
    kvm_vm::volume_details(&connection.host, &args.volume).await.map(Shown)
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let VolumeDetails { volume, chain, .. } = &self.0;
        let place = if volume.path.is_none() { "address" } else { "path" };
        let mut fields = vec![
            ("name", Some(volume.name.as_str().to_owned())),
            ("pool", Some(volume.pool.as_str().to_owned())),
            (place, volume.place().map(str::to_owned)),
            ("format", volume.format.clone()),
            ("capacity", Some(volume.capacity.to_string())),
            ("on disk", Some(volume.allocation.to_string())),
        ];
        let features = (!self.0.features.is_empty()).then(|| self.0.features.join(", "));
        let cluster_size = self.0.cluster_size.map(|size| size.to_string());
        let known = [
            ("version", self.0.compat.clone()),
            ("cluster size", cluster_size),
            ("features", features),
            ("encryption", self.0.encryption.clone()),
            ("secret", self.0.secret.map(|secret| secret.to_string())),
        ];
        fields.extend(known.into_iter().filter(|(_, value)| value.is_some()));
        let below = (!chain.is_empty()).then(|| chain.iter().map(line).collect::<Vec<_>>().join("\n"));
        fields.push(("lies upon", below));
        page.fields(&fields);
    }
}

/// An image of the chain: `default/base.qcow2 (qcow2, 20 GiB)`.
fn line(below: &Below) -> String {
    let name = below.volume.as_deref().unwrap_or(below.path.as_str());
    let known: Vec<_> = below.format.clone().into_iter().chain(below.capacity.map(|size| size.to_string())).collect();
    match known.is_empty() {
        true => format!("{name} (in no active pool)"),
        false => format!("{name} ({})", known.join(", ")),
    }
}
