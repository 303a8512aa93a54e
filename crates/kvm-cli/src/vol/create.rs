//! `kvmctl vol create`.

use kvm_core::{Bytes, Result, VolumeInfo};
use kvm_vm::{VolumeFormat, VolumeRef};
use kvm_xml::value::{Size, Unit};
use kvm_xml::volume::{VolumeFormatType, VolumeTarget};
use kvm_xml::{StorageVolume, volume};
use serde::Serialize;

use crate::args::one_of;
use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `vol create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol create default/data.qcow2 20G\n  kvmctl vol create fast/data.raw 20G --format raw",
    after_long_help = "Library: kvm_core::Storage::create_volume"
)]
pub struct Args {
    /// Pool and name.
    #[arg(value_name = "POOL/VOLUME")]
    volume: VolumeRef,
    /// Size that a guest sees.
    #[arg(value_name = "SIZE", value_parser = kvm_core::parse_size)]
    size: Bytes,
    /// Format.
    #[arg(long, default_value = "qcow2", value_parser = one_of!(VolumeFormat))]
    format: VolumeFormat,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Created(VolumeInfo);

pub(super) async fn run(args: Args, session: &Session) -> Result<Created> {
    let format = match args.format {
        VolumeFormat::Qcow2 => VolumeFormatType::Qcow2,
        VolumeFormat::Raw => VolumeFormatType::Raw,
    };
    let document = StorageVolume {
        name: Some(args.volume.volume.as_str().to_owned()),
        capacity: Some(Size::new(args.size.get(), Unit::Bytes)),
        // It grows as it is written.
        allocation: Some(Size::new(0, Unit::Bytes)),
        target: Some(VolumeTarget {
            format: Some(volume::VolumeFormat { r#type: Some(format), ..Default::default() }),
            ..VolumeTarget::default()
        }),
        ..StorageVolume::default()
    };
    let connection = session.host().await?;
    connection.host.storage.create_volume(&args.volume.pool, &document).await.map(Created)
}

impl Outcome for Created {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("volume {}/{} created, {}", self.0.pool, self.0.name, self.0.capacity));
    }
}
