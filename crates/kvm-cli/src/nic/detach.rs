//! `kvmctl nic detach`.

use std::time::Duration;

use kvm_core::{ErrorKind, MacAddr, Result};
use kvm_vm::{DETACH_TIMEOUT, NicDetach};

use crate::device::{Deed, Reach};
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `nic detach`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl nic detach web 52:54:00:12:34:56",
    after_long_help = "A running guest is asked for the device and waited for. One that does not give it up in time keeps it, in its \
        configuration as well; --only config takes it out of that alone.\n\n\
        Library: kvm_vm::plan_nic_detach, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Its hardware address.
    #[arg(value_name = "MAC", value_parser = MacAddr::parse)]
    mac: MacAddr,
    #[command(flatten)]
    reach: Reach,
    /// How long a running guest has, such as 90s or 5m [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let (impact, timeout) = (args.reach.impact(), args.timeout.unwrap_or(DETACH_TIMEOUT));
    let wanted = NicDetach { mac: args.mac, impact, timeout };
    let plan = kvm_vm::plan_nic_detach(&connection.host, &vm, &wanted).await?;
    let what = format!("network device {} detached from {}", args.mac, vm.name);
    let device = args.mac.to_string();
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(plan, session, printer).await
}
