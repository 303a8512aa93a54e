//! `kvmctl disk resize`.

use kvm_core::{Bytes, Result};
use kvm_xml::value::DiskName;
use serde::Serialize;

use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk resize`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl disk resize web vda 40G",
    after_long_help = "Disks only grow, also while the VM runs; the guest then grows its partitions and file systems itself. To \
        make one smaller: kvmctl vol resize --shrink.\n\n\
        Library: kvm_vm::resize_disk"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The disk's target, such as vda.
    #[arg(value_name = "TARGET")]
    target: DiskName,
    /// The new size.
    #[arg(value_name = "SIZE", value_parser = kvm_core::parse_size)]
    size: Bytes,
}

#[derive(Debug, Serialize)]
pub(super) struct Resized {
    vm: String,
    target: String,
    old_capacity_bytes: Option<Bytes>,
    capacity_bytes: Bytes,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Resized> {
    let (connection, vm) = args.vm.find(session).await?;
    let before = kvm_vm::resize_disk(&connection.host, &vm, &args.target, args.size).await?;
    let target = args.target.to_string();
    Ok(Resized { vm: vm.name.into(), target, old_capacity_bytes: before, capacity_bytes: args.size })
}

impl Outcome for Resized {
    fn text(&self, page: &mut Page<'_>) {
        let Self { vm, target, capacity_bytes, .. } = self;
        match self.old_capacity_bytes {
            Some(before) => page.done(format_args!("disk {target} of {vm} has {capacity_bytes}, before {before}")),
            None => page.done(format_args!("disk {target} of {vm} has {capacity_bytes}")),
        }
    }
}
