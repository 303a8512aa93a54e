//! `kvmctl vm sysprep`.

use std::time::Duration;

use kvm_clone::{Part, plan_sysprep};
use kvm_core::{DnsName, ErrorKind, Result, VmId};
use serde::Serialize;

use crate::operation::{DoneForm, PlanView, agree};
use crate::printer::{Failure, Outcome, Page, Printer};
use crate::session::Session;
use crate::sysprep::{Prepared, prepare, spec};
use crate::vms::One;

/// Arguments of `vm sysprep`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm sysprep web2 --dry-run\n  kvmctl vm sysprep web2 --hostname web2.example.com --yes\n  \
        kvmctl vm sysprep web2 --keep logs --keep history --yes -o json",
    after_long_help = "Makes a VM that is off, a clone as a rule, another one inside its guest as well. The parts:\n  \
        machine-id  becomes the VM's uuid\n  \
        host-name   /etc/hostname, and where /etc/hosts has the old name\n  \
        ssh-keys    SSH host keys, made anew by the guest's ssh-keygen; they stay where it has none\n  \
        dhcp        leases and client identifiers, deleted\n  \
        net-rules   names of network devices that udev keeps by their addresses, deleted\n  \
        logs        /var/log: emptied; journals and rotated ones deleted\n  \
        history     of shells, below /root and /home, deleted\n\
        Users, passwords, authorized keys, certificates and data stay as they are.\n\
        The guest is started once on its own images: as a transient VM of another name, without link on its network devices, devices of the \
        host or TPM. Its agent does the work with the guest's own programs, and the guest shuts down. It needs a Linux guest whose agent may \
        run programs; what cannot be changed is said part by part, and the exit code is 10 then.\n\
        What was changed inside cannot be taken back. Cut short, it may be changed in part: done again, the rest is changed as well.\n\n\
        Library: kvm_clone::plan_sysprep, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// What it calls itself inside; its name as a VM if left out.
    #[arg(long, value_name = "NAME")]
    hostname: Option<DnsName>,
    /// Leave this inside as it is; may be repeated.
    #[arg(long, value_name = "PART")]
    keep: Vec<Part>,
    /// How long its agent may take to answer; 5m if left out.
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let spec = spec(args.hostname.as_ref(), &args.keep, args.timeout);
    let planned = plan_sysprep(&connection.host, &vm, &spec, &session.plan_context()).await?;
    if args.dry_run {
        return printer.show(&PlanView::of(&planned.plan));
    }
    agree(&planned.plan, session, printer).await?;
    let (prepared, done) = prepare(planned, &connection, &vm, session).await?;
    let name = vm.name.as_str().to_owned();
    printer.show(&Changed { name, id: vm.id, prepared, done: DoneForm::of(&done) })
}

/// A VM that is another one inside.
#[derive(Serialize)]
struct Changed {
    name: String,
    id: VmId,
    #[serde(flatten)]
    prepared: Prepared,
    #[serde(flatten)]
    done: DoneForm,
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        self.prepared.text(page);
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        self.prepared.failures()
    }
}
