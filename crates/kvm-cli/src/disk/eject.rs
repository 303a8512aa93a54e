//! `kvmctl disk eject`.

use kvm_core::Result;
use kvm_xml::value::DiskName;

use super::insert::Changed;
use crate::device::Reach;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk eject`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk eject web\n  kvmctl disk eject web --target sdb --only live",
    after_long_help = "Library: kvm_vm::eject"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The drive, such as sda; not needed when there is one only.
    #[arg(long, value_name = "NAME")]
    target: Option<DiskName>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let (connection, vm) = args.vm.find(session).await?;
    let change = kvm_vm::eject(&connection.host, &vm, args.target.as_ref(), args.reach.impact()).await?;
    Ok(Changed::of(vm, change))
}
