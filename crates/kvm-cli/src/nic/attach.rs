//! `kvmctl nic attach`.

use kvm_core::{DeviceRef, ErrorKind, Result};
use kvm_vm::{NicAttach, NicSpec};

use crate::device::{Deed, Reach};
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `nic attach`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl nic attach web default\n  kvmctl nic attach web bridge=br0,model=e1000e\n  \
        kvmctl nic attach web dmz,portgroup=web,filter=clean-traffic,in=10MiB --only config",
    after_long_help = "A running VM gets the device at once and keeps it over a restart. Of the model of its first one, else virtio, \
        unless model= says otherwise. Further: portgroup=NAME of a network, vlan=TAG[+TAG…], in=RATE and out=RATE (what the guest \
        receives and sends), filter=NAME, and of user forward=tcp:8080:80[+udp:53], which needs passt on the host.\n\n\
        Library: kvm_vm::plan_nic_attach, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// NETWORK, bridge=NAME, ovs=NAME, interface=NAME[,mode=…] or user; each with [,model=…][,mac=…].
    #[arg(value_name = "NIC")]
    nic: NicSpec,
    #[command(flatten)]
    reach: Reach,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = NicAttach { nic: args.nic, impact: args.reach.impact() };
    let attach = kvm_vm::plan_nic_attach(&connection.host, &vm, &wanted, &session.plan_context()).await?;
    let what = format!("{} attached to {}", attach.device, vm.name);
    let device = match &attach.device {
        DeviceRef::Nic(mac) => mac.to_string(),
        other => other.to_string(),
    };
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(attach.plan, session, printer).await
}
