//! `kvmctl device detach`.

use std::time::Duration;

use kvm_core::{Error, ErrorKind, PeripheralRef, Result};
use kvm_vm::{DETACH_TIMEOUT, DeviceDetach, DeviceSpec};

use crate::device::{Deed, Reach};
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `device detach`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl device detach web share:data\n  kvmctl device detach web watchdog\n  \
        kvmctl device detach web sound --only config",
    after_long_help = "A running guest is asked for the device and waited for. One that does not give it up in time keeps it, in its \
        configuration as well; --only config takes it out of that alone.\n\n\
        Library: kvm_vm::plan_device_detach, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The device as `device list` shows it, without its name the only one of its kind; or pci=ADDRESS, usb=ID, mdev=UUID.
    #[arg(value_name = "DEVICE", value_parser = parse)]
    device: PeripheralRef,
    #[command(flatten)]
    reach: Reach,
    /// How long a running guest has, such as 90s or 5m [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Devices of the host can be named as they were attached.
fn parse(text: &str) -> Result<PeripheralRef> {
    match text.contains('=') {
        true => {
            let none = || Error::invalid("device", "only devices of the host are named by pci=, usb= and mdev=");
            text.parse::<DeviceSpec>()?.host_key().ok_or_else(none)
        }
        false => PeripheralRef::parse(text),
    }
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let (impact, timeout) = (args.reach.impact(), args.timeout.unwrap_or(DETACH_TIMEOUT));
    let wanted = DeviceDetach { device: args.device, impact, timeout };
    let detach = kvm_vm::plan_device_detach(&connection.host, &vm, &wanted).await?;
    let device = detach.device.to_string();
    let what = format!("{device} detached from {}", vm.name);
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(detach.plan, session, printer).await
}
