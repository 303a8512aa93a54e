//! `kvmctl device attach`.

use kvm_core::{ErrorKind, Result};
use kvm_vm::{DeviceAttach, DeviceSpec};

use crate::device::{Deed, Reach};
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `device attach`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl device attach web share=/srv/data,tag=data,readonly\n  kvmctl device attach web \
        watchdog=i6300esb,action=poweroff\n  kvmctl device attach web sound --only config",
    after_long_help = "What it can be:\n  \
        rng[=urandom|builtin]                random numbers\n  \
        vsock[=CID]                          a socket to the host; a free address without CID\n  \
        watchdog[=MODEL][,action=ACTION]     i6300esb, itco, ib700 or diag288; reset, poweroff, pause, dump, none…\n  \
        share=DIR,tag=TAG[,readonly]         a directory by virtiofs, below one of the configuration's allowed_paths; the \
        guest mounts it by its tag: mount -t virtiofs TAG /mnt\n  \
        sound[=MODEL]                        ich9, ich6, ac97, usb, virtio…\n  \
        dimm=SIZE[,node=N]                   a memory module, for a VM made with --memory-slots\n  \
        pci=ADDRESS[,group]                  a PCI device of the host, with `group` all of its IOMMU group\n  \
        usb=VENDOR:PRODUCT, usb=BUS-DEVICE   a USB device of the host\n  \
        mdev=UUID                            a mediated device of the host\n  \
        redirect                             a port for a USB device of a SPICE viewer\n  \
        clipboard                            shared with the viewer, over SPICE or VNC\n  \
        controller=BUS[,model=MODEL]         scsi, usb, virtio-serial or sata\n\n\
        A running VM gets the device at once and keeps it over a restart. Sound, a clipboard over VNC, watchdogs other than i6300esb \
        and controllers other than scsi need --only config. A shared directory needs memory that the host's processes share; the plan \
        says when the configuration has to change for it.\n\n\
        Devices of the host are listed by kvmctl host devices. One that the host needs itself or another VM has is refused, and so is \
        one of an IOMMU group in which others are at work on the host.\n\n\
        Library: kvm_vm::plan_device_attach, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// What it is: rng, vsock, watchdog, share=DIR,tag=TAG, sound, redirect, clipboard, controller=BUS, dimm=SIZE,
    /// pci=ADDRESS, usb=ID, mdev=UUID.
    #[arg(value_name = "SPEC")]
    device: DeviceSpec,
    #[command(flatten)]
    reach: Reach,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = DeviceAttach { device: args.device, impact: args.reach.impact() };
    let attach = kvm_vm::plan_device_attach(&connection.host, &vm, &wanted, &session.plan_context()).await?;
    let what = format!("{} attached to {}", attach.device, vm.name);
    let device = attach.device.to_string();
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(attach.plan, session, printer).await
}
