//! `kvmctl disk attach`.

use kvm_core::{ErrorKind, Result};
use kvm_vm::{DiskAttach, DiskSpec, PlanContext};
use kvm_xml::value::DiskName;

use crate::device::{Deed, Reach};
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk attach`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk attach web 20G\n  kvmctl disk attach web volume=default/data.qcow2 --only config\n  \
        kvmctl disk attach web 20G,pool=fast,cache=none --dry-run",
    after_long_help = "A running VM gets the disk at once and keeps it over a restart. On the virtio bus unless bus= says otherwise; \
        sata and ide need --only config.\n\nFurther: serial=TEXT, io=threads|native|io_uring, discard=unmap|ignore, iothread=N (virtio; the VM gets the thread if it has none of this number), \
        boot=N, and each second total_bytes=, read_bytes=, write_bytes=RATE, total_iops=, read_iops=, write_iops=N.\n\n\
        Library: kvm_vm::plan_disk_attach, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// SIZE[,pool=…][,name=…][,format=qcow2|raw][,encrypt], volume=POOL/NAME, or path=FILE; each with bus= and cache=.
    #[arg(value_name = "DISK")]
    disk: DiskSpec,
    /// What it is called, such as vdb; the first free name if left out.
    #[arg(long, value_name = "NAME")]
    target: Option<DiskName>,
    #[command(flatten)]
    reach: Reach,
    /// Let a new volume promise more than its pool has.
    #[arg(long)]
    allow_overcommit: bool,
    /// Take an existing image whose header is risky: encrypted, damaged, or naming other files.
    #[arg(long)]
    accept_image: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let wanted = DiskAttach {
        disk: args.disk,
        target: args.target,
        impact: args.reach.impact(),
        allow_overcommit: args.allow_overcommit,
    };
    let policy = session.policy(args.accept_image);
    let cx = PlanContext { policy: &policy, ..session.plan_context() };
    let attach = kvm_vm::plan_disk_attach(&connection.host, &vm, &wanted, &cx).await?;
    let what = format!("{} attached to {}", attach.device, vm.name);
    let device = super::target(&attach.device);
    let deed = Deed { connection: &connection, vm: &vm, device, what, dry_run: args.dry_run };
    deed.carry_out(attach.plan, session, printer).await
}
