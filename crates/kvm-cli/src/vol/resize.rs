//! `kvmctl vol resize`.

use kvm_core::{Bytes, Resize, Result};
use kvm_vm::VolumeRef;
use serde::Serialize;

use crate::operation::confirm;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `vol resize`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol resize default/data.qcow2 40G\n  kvmctl vol resize default/data.raw 40G --allocate\n  \
        kvmctl vol resize default/data.raw 10G --shrink",
    after_long_help = "While a VM runs on the volume, its disk grows by: kvmctl disk resize VM TARGET SIZE.\n\n\
        Library: kvm_vm::resize_volume"
)]
pub struct Args {
    /// Pool and name.
    #[arg(value_name = "POOL/VOLUME")]
    volume: VolumeRef,
    /// The new size that a guest sees.
    #[arg(value_name = "SIZE", value_parser = kvm_core::parse_size)]
    size: Bytes,
    /// Take all new space at once.
    #[arg(long, conflicts_with = "shrink")]
    allocate: bool,
    /// Make it smaller; what lies beyond the new end is lost.
    #[arg(long)]
    shrink: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Resized {
    volume: String,
    old_capacity_bytes: Bytes,
    capacity_bytes: Bytes,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Resized> {
    let how = match (args.shrink, args.allocate) {
        (true, _) => Resize::Shrink,
        (_, true) => Resize::Allocate,
        _ => Resize::Grow,
    };
    let connection = session.host().await?;
    if how == Resize::Shrink {
        let about = connection.host.storage.find_volume(&args.volume.pool, &args.volume.volume).await?;
        if !session.yes {
            printer.preview(&format!(
                "shrink volume {} on {}\n  lose  data  what lies beyond {}, of {}",
                args.volume,
                connection.label(),
                args.size,
                about.capacity
            ));
        }
        confirm(session, printer, "Type the volume's name to shrink it: ", about.name.as_str()).await?;
    }
    let before = kvm_vm::resize_volume(&connection.host, &args.volume, args.size, how).await?;
    Ok(Resized { volume: args.volume.as_text(), old_capacity_bytes: before, capacity_bytes: args.size })
}

impl Outcome for Resized {
    fn text(&self, page: &mut Page<'_>) {
        let Self { volume, old_capacity_bytes: before, capacity_bytes: after } = self;
        page.done(format_args!("volume {volume} has {after}, before {before}"));
    }
}
